import functools

import numpy as np

from configs import tiny
from seqface_jax import checkpoints, models, train
from seqface_jax.data import input_pipeline
from seqface_jax.evaluation import calibration
from seqface_jax.geometry import map_grid
from seqface_jax.training import steps, validation
from seqface_jax.training.devices import Devices


def _stated(sigma, shape=(64, 64)):
    return np.full(shape, 2 * np.log(sigma))


def test_a_coordinate_is_inside_up_to_1_645_sigma():
    true = np.zeros((2, 2, 3))
    predicted = true + [0, 3.28, 3.30]  # The sigma is 2 mm: 1.64 and 1.65 of it.
    mask = np.ones((2, 2), bool)
    found = calibration.coverage_90(predicted, _stated(2, (2, 2)), true, mask)
    np.testing.assert_allclose(found, 2 / 3)
    assert calibration.coverage_90(predicted, _stated(2, (2, 2)), true, ~mask) is None


def test_what_is_as_wrong_as_it_says_holds_90_percent_and_its_two_sigmas_agree():
    rng = np.random.default_rng(0)
    true, mask = np.zeros((64, 64, 3)), np.ones((64, 64), bool)
    wrong = rng.normal(0, 1.5, true.shape)
    np.testing.assert_allclose(
        calibration.coverage_90(wrong, _stated(1.5), true, mask), 0.9, atol=0.01
    )
    assert calibration.coverage_90(wrong, _stated(0.75), true, mask) < 0.65
    assert calibration.coverage_90(wrong, _stated(3), true, mask) > 0.99
    stated = calibration.sigma_mm(_stated(1.5), mask)
    found = calibration.coordinate_rms_mm(wrong, true, mask)
    np.testing.assert_allclose([stated, found], 1.5, rtol=0.02)


def test_errors_along_the_rays_are_judged_alike():
    rng = np.random.default_rng(0)
    true, mask = np.zeros((64, 64, 3)), np.ones((64, 64), bool)
    along = rng.normal(0, 1.5, (64, 64, 1)) * map_grid.ray_directions(64)
    stated = _stated(1.5 / np.sqrt(3))
    assert 0.87 < calibration.coverage_90(along, stated, true, mask) < 0.91
    np.testing.assert_allclose(
        calibration.coordinate_rms_mm(along, true, mask),
        calibration.sigma_mm(stated, mask),
        rtol=0.03,
    )


def test_the_best_checkpoint_states_the_variance_that_people_of_validation_have(
    tiny_records, tmp_path
):
    config = tiny.get_config()
    config.data.update(dir=str(tiny_records), name='tiny', num_threads=1)
    config.train.num_epochs = 1
    train.train_and_evaluate(config, tmp_path)
    _, model, variables = checkpoints.load(tmp_path, 'best_validation')
    assert not 0.99 < variables['constants'][models.VARIANCE_SCALE] < 1.01
    split = input_pipeline.open_dataset(config.data).split('validation')
    devices = Devices(config.data.batch_size)
    step = devices.map(
        functools.partial(steps.eval_step, config, model), num_outputs=1, donate=False
    )
    found = validation.mean_losses(config, functools.partial(step, variables), devices, split)
    np.testing.assert_allclose(found['variance'], found['squared_error'], rtol=1e-4)
    # What goes on from `latest` is what was trained.
    latest = checkpoints.load(tmp_path, 'latest')[2]
    assert latest['constants'][models.VARIANCE_SCALE] == 1
