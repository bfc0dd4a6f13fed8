import jax
import numpy as np
import pytest

from benchmarks import ablation
from seqface_jax import checkpoints, models
from seqface_jax.data import input_pipeline
from seqface_jax.evaluation import metrics
from tests.helpers import small_run

VARIANTS = [(family, name) for family, names in ablation.FAMILIES.items() for name in names]


@pytest.mark.parametrize(('family', 'name'), VARIANTS)
def test_every_variant_differs_from_the_first_of_its_family(family, name):
    first = next(iter(ablation.FAMILIES[family]))
    config = ablation.variant_config(family, name)
    assert (config == ablation.variant_config(family, first)) == (name == first)


@pytest.mark.parametrize('name', ablation.FAMILIES['memory'])
def test_variants_of_the_memory_answer_with_maps_of_one_size(name):
    config = ablation.variant_config('memory', name)
    model = models.create(config.model, config.data.image_size)
    frames = jax.ShapeDtypeStruct((1, 2, 128, 128, 3), np.float32)

    def run(frames):
        variables = checkpoints.init_variables(model, 128, 0)
        return model.apply(variables, frames, train=False, last_only=False).position_map

    assert jax.eval_shape(run, frames).shape == (1, 2, 64, 64, 3)


def test_a_shorter_training_decays_the_faster():
    config = ablation.variant_config('flagship', 'fusion_cpu.py')
    every, epochs = config.optimizer.decay_every_epochs, config.train.num_epochs
    ablation.shorten(config, epochs // 2)
    assert config.train.num_epochs == epochs // 2
    assert config.optimizer.decay_every_epochs == every // 2


def test_people_of_validation_are_scored_after_every_number_of_frames(tiny_records):
    config, model, variables = small_run.make()
    config = config.copy_and_resolve_references()
    config.data.update(dir=str(tiny_records), name='tiny')
    found = ablation.errors_mm(config, model, variables, [1, 3])
    assert found.shape == (2, 2) and (found > 0.1).all()
    truth = input_pipeline.open_dataset(config.data).split('validation').subjects
    zeros = jax.tree.map(np.zeros_like, variables['params'])  # Evidence for nothing: the mean face.
    mean_map = variables['constants']['mean_map']
    mean = ablation.errors_mm(config, model, {**variables, 'params': zeros}, [1])
    expected = [
        metrics.vertex_mm(mean_map, own, mask.astype(bool))
        for own, mask in zip(truth['true_position_map'], truth['true_mask'], strict=True)
    ]
    np.testing.assert_allclose(mean, [expected], rtol=1e-4)


def test_the_table_compares_with_the_first_person_by_person():
    people = np.linspace(1, 2, 40)
    results = {
        'first': {'errors_mm': [people + 1, people], 'seconds': 9.6, 'parameters': 1000},
        'other': {'errors_mm': [people, people + 0.15], 'seconds': 20, 'parameters': 2_000_000},
    }
    first, other = ablation.table(results, [1, 8]).splitlines()[2:]
    assert first == '| first | 2.50 | 1.50 | - | 1,000 | 10 |'
    assert other == '| other | 1.50 | 1.65 | +10.0 % [+10.0, +10.0] | 2,000,000 | 20 |'
