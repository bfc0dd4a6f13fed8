import functools
import glob
import json
import os
import shutil
import sys
import types

import jax
import numpy as np
import pytest

from benchmarks.torture import flip
from configs import cpu
from seqface_jax import checkpoints
from seqface_jax.errors import UserError
from tests.helpers import toy_model


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    toy_model.install(monkeypatch.setattr)


@pytest.fixture
def config():
    return toy_model.get_config('data')


@pytest.fixture
def variables(config):
    model = toy_model.create(config.model, config.data.image_size)
    return jax.device_get(checkpoints.init_variables(model, config.data.image_size, 3))


@pytest.fixture
def workdir(tmp_path, config, variables):
    checkpoints.write_config(str(tmp_path), config)
    checkpoints.save(str(tmp_path), 'best_validation', variables, {'step': 7, 'note': 'by hand'})
    return str(tmp_path)


def test_what_is_saved_is_loaded_bit_for_bit(workdir, config, variables):
    loaded_config, model, loaded = checkpoints.load(workdir, 'best_validation')
    assert loaded_config == config
    assert model == toy_model.create(config.model, config.data.image_size)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    meta = checkpoints.read_meta(workdir, 'best_validation')
    assert (meta['step'], meta['note'], meta['format']) == (7, 'by hand', checkpoints.FORMAT)


def test_a_newer_checkpoint_takes_the_place_of_the_older(workdir, variables):
    for step in (9, 8):  # The second: a run went on from before the first.
        checkpoints.save(workdir, 'best_validation', variables, {'step': step})
        assert checkpoints.read_meta(workdir, 'best_validation')['step'] == step
        assert [name for name in os.listdir(f'{workdir}/checkpoints/best_validation')] == [
            str(step)
        ]


def test_what_a_killed_run_left_half_written_is_cleared_away(workdir):
    leftover = f'{workdir}/checkpoints/latest/5.orbax-checkpoint-tmp'
    os.makedirs(leftover)
    with pytest.raises(UserError):
        checkpoints.load(workdir, 'latest')
    assert os.path.exists(leftover)  # Who reads does not know whether a process is saving.
    checkpoints.Store(workdir).close()
    assert not os.path.exists(leftover)


def test_what_keeps_a_whole_checkpoint_unread_is_not_called_damage(workdir, monkeypatch):
    place = f'{workdir}/checkpoints/best_validation/7'
    for error, words in (
        (MemoryError(), 'was not read: memory ran out'),
        (RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes'), 'memory ran out'),
        (PermissionError(13, 'Permission denied'), r'cannot be read \(Permission denied\)'),
        (ValueError('PERMISSION_DENIED: Error opening file'), 'cannot be read'),
        (OSError(24, 'Too many open files'), 'cannot be read'),
    ):

        def fail(*args, error=error):
            raise error

        monkeypatch.setattr(checkpoints.Store, '_manager', fail)
        with pytest.raises(UserError, match=words) as told:
            checkpoints.load(workdir, 'best_validation')
        assert 'damaged' not in str(told.value)
    assert os.path.isdir(place)


def test_a_missing_device_is_not_a_damaged_checkpoint(workdir, monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda': no device")

    monkeypatch.setattr(jax, 'devices', devices)
    monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
    with pytest.raises(UserError, match='no device of the kind that JAX_PLATFORMS=cuda asks for'):
        checkpoints.load(workdir, 'best_validation')


def test_a_checkpoint_that_is_not_there_is_a_clear_error(workdir, tmp_path):
    with pytest.raises(UserError, match='no checkpoint latest yet: train first'):
        checkpoints.load(workdir, 'latest')
    with pytest.raises(UserError, match='not the workdir of a run'):
        checkpoints.load(str(tmp_path / 'nothing'), 'latest')
    with pytest.raises(ValueError, match='best_validation'):
        checkpoints.load(workdir, 'newest')


def test_looking_for_a_checkpoint_writes_nothing(workdir):
    with pytest.raises(UserError):
        checkpoints.load(workdir, 'latest')
    assert not os.path.exists(f'{workdir}/checkpoints/latest')


def test_a_truncated_checkpoint_is_a_clear_error(workdir):
    for folder, _, names in os.walk(f'{workdir}/checkpoints/best_validation/7/variables'):
        for name in names:
            os.truncate(os.path.join(folder, name), 10)
    with pytest.raises(UserError, match='best_validation/7 is damaged or foreign'):
        checkpoints.load(workdir, 'best_validation')


@pytest.mark.parametrize('missing', ['variables', 'meta'])
def test_a_checkpoint_without_one_of_its_parts_is_a_clear_error(workdir, missing):
    shutil.rmtree(f'{workdir}/checkpoints/best_validation/7/{missing}')
    with pytest.raises(UserError, match='best_validation/7 is damaged or foreign'):
        checkpoints.load(workdir, 'best_validation')


def test_a_checkpoint_of_another_network_is_a_clear_error(workdir, variables):
    variables['params']['hidden']['kernel'] = np.zeros((192, 9), np.float32)
    checkpoints.save(workdir, 'latest', variables, {'step': 1})
    with pytest.raises(UserError, match='does not fit the model'):
        checkpoints.load(workdir, 'latest')


def test_a_checkpoint_of_a_newer_format_is_a_clear_error(workdir, variables, monkeypatch):
    monkeypatch.setattr(checkpoints, 'FORMAT', 99)
    checkpoints.save(workdir, 'latest', variables, {})
    monkeypatch.undo()
    toy_model.install(monkeypatch.setattr)
    with pytest.raises(UserError, match='has format 99'):
        checkpoints.load(workdir, 'latest')


@pytest.mark.parametrize(
    'content, complaint',
    [('{"da', 'cannot be read'), ('[]', 'cannot be read'), ('{}', 'no section data')],
)
def test_a_config_that_cannot_be_read_is_a_clear_error(workdir, content, complaint):
    with open(f'{workdir}/config.json', 'w') as file:
        file.write(content)
    with pytest.raises(UserError, match=complaint):
        checkpoints.load(workdir, 'best_validation')


def test_a_config_of_an_older_program_is_completed_with_what_that_program_did(workdir, config):
    content = json.loads(config.to_json())
    del content['data']['on_bad_record'], content['data']['augmentation']['jpeg']
    del content['train']['loss_weights']
    content['train'] |= {'loss': 'masked_l1', 'uncertainty_weight': 0.0}
    with open(f'{workdir}/config.json', 'w') as file:
        json.dump(content, file)
    completed = checkpoints.read_config(workdir)
    assert completed.data.on_bad_record == 'fail' and completed.data.augmentation.jpeg == 0
    assert completed.train.loss_weights == config.train.loss_weights
    assert 'loss' not in completed.train
    checkpoints.write_config(workdir, config)  # That run may go on.


@pytest.mark.parametrize(
    'older, weights',
    [
        ({'loss': 'masked_l1', 'uncertainty_weight': 0.25}, {'masked_l1': 1, 'gaussian_nll': 0.25}),
        ({'loss': 'index_mse', 'uncertainty_weight': 0.0}, {'index_mse': 1}),
        ({'loss': 'rotated_views'}, {'image_mse': 1, 'rotated_views': 1e-3}),
        ({'loss': 'masked_l1', 'frame_weight': 2.0}, {'masked_l1': 1, 'frame_l1': 2}),
    ],
)
def test_the_loss_of_an_older_program_is_said_in_weights(workdir, config, older, weights):
    content = json.loads(config.to_json())
    del content['train']['loss_weights']
    content['train'] |= older
    with open(f'{workdir}/config.json', 'w') as file:
        json.dump(content, file)
    found = checkpoints.read_config(workdir).train.loss_weights
    assert {name: value for name, value in found.items() if value} == weights


@pytest.mark.parametrize(('is_keras', 'name'), [(False, 'adam'), (True, 'keras_adam')])
def test_the_adam_of_an_older_program_is_said_by_its_name(workdir, config, is_keras, name):
    _write_older(workdir, config, {'optimizer.keras_adam': is_keras})
    found = checkpoints.read_config(workdir).optimizer
    assert found.name == name and 'keras_adam' not in found


def test_an_older_run_of_the_flagship_is_completed_with_its_own_options_and_goes_on(tmp_path):
    config = cpu.get_config()
    content = json.loads(config.to_json())
    del content['train']['loss_weights']
    content['data']['normalization'] = 'unit'
    content['eval'] = {'num_frames': [1, 2], 'seed': 0}
    os.makedirs(tmp_path / 'checkpoints' / 'latest' / '250')
    (tmp_path / 'config.json').write_text(json.dumps(content))
    completed = checkpoints.read_config(str(tmp_path))
    assert completed.train.loss_weights.distance == 0.05
    assert completed.data == config.data
    assert completed.eval.num_frames == (1, 2) and completed.eval.data_name == ''
    checkpoints.write_config(str(tmp_path), config)


def test_another_package_named_configs_where_a_person_works_does_no_harm(workdir, monkeypatch):
    monkeypatch.setitem(sys.modules, 'configs', types.ModuleType('configs'))
    assert checkpoints.read_config(workdir).data.draw == 'sequences'


def _write_older(workdir, config, changes):
    """Writes the config.json of an older program, with other values at names such as 'a.b'."""
    content = json.loads(config.to_json())
    for place, value in changes.items():
        *sections, name = place.split('.')
        functools.reduce(lambda found, part: found[part], sections, content)[name] = value
    with open(f'{workdir}/config.json', 'w') as file:
        json.dump(content, file)


def test_a_run_with_options_that_are_gone_is_read_and_goes_on(workdir, config):
    gone = {'data.augmentation.deform_mm': 0.0, 'data.augmentation.per_frame': True}
    _write_older(workdir, config, gone | {'train.compute_dtype': 'float32'})
    assert 'deform_mm' not in checkpoints.load(workdir, 'best_validation')[0].data.augmentation
    checkpoints.write_config(workdir, config)


def test_a_run_trained_as_no_option_says_any_more_is_read_and_cannot_go_on(workdir, config):
    _write_older(workdir, config, {'data.augmentation.deform_mm': 3.0})
    checkpoints.load(workdir, 'best_validation')
    with pytest.raises(UserError, match=r'with data\.augmentation\.deform_mm=3\.0, which this'):
        checkpoints.write_config(workdir, config)


def test_a_list_of_one_layer_is_that_layer_and_learned_layers_are_refused(workdir, config):
    layer = {'kind': 'oriented_gradients', 'features': 4}
    _write_older(workdir, config, {'model.name': 'fusion', 'model.encoder': [layer]})
    assert checkpoints.read_config(workdir).model.encoder.to_dict() == layer
    _write_older(workdir, config, {'model.name': 'fusion', 'model.encoder': [layer, layer]})
    with pytest.raises(UserError, match='1 learned layers after the fixed gradients'):
        checkpoints.read_config(workdir)


def test_a_run_may_go_on_with_more_epochs_and_moved_data_only(workdir, config):
    config.train.num_epochs, config.data.dir, config.eval.seed = 99, 'elsewhere', 5
    checkpoints.write_config(workdir, config)
    assert checkpoints.read_config(workdir).train.num_epochs == 99
    config.data.num_frames, config.model.features = 5, 9
    with pytest.raises(UserError, match=r'\(data\.num_frames, model\.features differ\)'):
        checkpoints.write_config(workdir, config)


def test_a_workdir_without_checkpoints_takes_any_config(tmp_path, config):
    for seed in (1, 2):
        config.train.seed = seed
        checkpoints.write_config(str(tmp_path), config)
        assert checkpoints.read_config(str(tmp_path)).train.seed == seed


def test_a_workdir_that_is_a_file_is_a_clear_error(tmp_path):
    path = tmp_path / 'file'
    path.write_text('')
    with pytest.raises(UserError, match='choose another'):
        with checkpoints.lock(str(path)):
            pass


def test_a_workdir_can_be_locked_again_after_its_holder_is_done(tmp_path):
    for _ in range(2):
        with checkpoints.lock(str(tmp_path)):
            with pytest.raises(UserError, match='in use by another process'):
                with checkpoints.lock(str(tmp_path)):
                    pass


def foreign_file(folder):
    shutil.rmtree(folder)
    with open(folder, 'w') as file:
        file.write('weights')


def foreign_step(folder):
    shutil.rmtree(f'{folder}/7')
    os.makedirs(f'{folder}/7')
    with open(f'{folder}/7/model.pt', 'wb') as file:
        file.write(b'\x80\x02cos\nsystem\n')  # What a pickle of torch begins with.


def foreign_names(folder):
    os.rename(f'{folder}/7', f'{folder}/epoch-seven')


@pytest.mark.parametrize('make', [foreign_file, foreign_step, foreign_names])
def test_a_foreign_folder_is_a_clear_error(workdir, make):
    make(f'{workdir}/checkpoints/best_validation')
    with pytest.raises(UserError, match='damaged or foreign|no checkpoint best_validation'):
        checkpoints.load(workdir, 'best_validation')


_RUNS_CODE = ('import pickle', 'allow_pickle=True', ' eval(', ' exec(', 'marshal', 'yaml.load')


def test_nothing_here_can_run_code_from_a_file():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for folder in ('seqface_jax', 'data_prep'):
        for place, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                if name.endswith('.py'):
                    with open(os.path.join(place, name), encoding='utf-8') as file:
                        text = file.read()
                    for word in _RUNS_CODE:
                        assert word not in text, f'{word} in {name}'


def test_a_changed_byte_of_any_file_is_refused_or_has_no_effect(workdir):
    folder = f'{workdir}/checkpoints/best_validation/7'
    whole = {path: os.path.getsize(path) for path in flip.files_of(folder)}
    largest = max(whole, key=whole.get)

    def places(path):
        return np.linspace(0, whole[path] - 1, 8 if path == largest else 2, dtype=int).tolist()

    refused = {
        path: sentence
        for path, _, sentence in flip.changes(workdir, 'best_validation', places)
        if sentence
    }
    assert largest in refused
    assert all('best_validation/7 is damaged' in sentence for sentence in refused.values())


def test_changed_arrays_are_named(workdir, variables, monkeypatch):
    def of_arrays(tree):
        return of_arrays_of(jax.tree.map(lambda leaf: leaf + (leaf.ndim == 2), tree))

    of_arrays_of = checkpoints.checksums.of_arrays
    monkeypatch.setattr(checkpoints.checksums, 'of_arrays', of_arrays)
    with pytest.raises(UserError, match=r'damaged \(variables/params/.*/kernel.* not what was'):
        checkpoints.load(workdir, 'best_validation')


def test_changed_values_are_named(workdir):
    (path,) = glob.glob(f'{workdir}/checkpoints/best_validation/7/meta/metadata')
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(text.replace('by hand', 'by Hand'))
    with pytest.raises(UserError, match=r'damaged \(meta are not what was saved\)'):
        checkpoints.load(workdir, 'best_validation')


def test_a_checkpoint_without_checksums_is_read_as_it_is(workdir, variables, monkeypatch):
    monkeypatch.setattr(checkpoints, 'FORMAT', 1)
    monkeypatch.setattr(checkpoints.checksums, 'of_arrays', lambda tree: {})
    checkpoints.save(workdir, 'latest', variables, {})
    monkeypatch.undo()
    toy_model.install(monkeypatch.setattr)
    (path,) = glob.glob(f'{workdir}/checkpoints/latest/0/meta/metadata')
    with open(path) as file:
        meta = json.load(file)
    del meta['sha256']
    with open(path, 'w') as file:
        json.dump(meta, file)
    _, _, loaded = checkpoints.load(workdir, 'latest')
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
