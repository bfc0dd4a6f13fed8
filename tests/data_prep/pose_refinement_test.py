"""Tests of how the pose of a face is refined, and of how that is learnt."""

import functools

import jax
import numpy as np
import pytest

from data_prep.package_files import pose_refinement
from seqface_jax.models.layers import unwrapping
from seqface_jax.photos import pose_regression
from tests.helpers.compiling import quick_jit
from tests.helpers.posed_photo import pose_at
from tests.photos.pose_regression_test import mean_looking

_SQUARE = np.array([28.0, -12.0, 292.0, 252.0])


@pytest.fixture(scope='module')
def turned():
    """Returns crops [N, 64, 64, 3] of the mean face turned about, and what to say of them."""
    rng = np.random.default_rng(0)
    poses = [
        pose_at(*rng.uniform(-1, 1, 3) * (0.6, 0.2, 0.1), (*rng.normal(0, 4, 2), -1000.0))
        for _ in range(60)
    ]
    crops = [pose_regression.crop_of(mean_looking(pose), _SQUARE) for pose in poses]
    return np.array(crops), np.array([pose_regression.answer_of(p, _SQUARE) for p in poses])


def _errors(crops, answers, refinements):
    known = unwrapping.regressions(refinements)
    small = np.float32(crops).mean(axis=-1) / 255
    find_pose = quick_jit(functools.partial(unwrapping.find_pose, refinements=refinements))
    return np.abs(find_pose(small, known) - answers)


def test_the_package_s_refinements_find_the_turn_of_a_face_better(turned):
    first, refined = (np.median(_errors(*turned, count)[:, 1]) for count in (0, 3))
    assert refined < 0.7 * first


def test_a_person_s_photos_give_crops_and_what_to_say_of_them():
    crops, answers = pose_refinement.examples(0, 3, None)
    assert crops.shape[1:] == (64, 64, 3) and answers.shape == (len(crops), 6)
    assert len(crops) >= 4  # Two of each photo; the detector may miss one.
    assert np.abs(answers[:, 3:5]).max() < 0.1 and np.abs(answers[:, 1]).max() > 0.05


def test_a_mirrored_face_is_turned_the_other_way(turned):
    crops, answers = turned
    known = unwrapping.regressions()
    gray = np.float32(crops[:8]).mean(axis=-1) / 255
    regress = jax.jit(unwrapping.regress)
    found, mirrored = (
        regress(image, known['pose_weights'], known['pose_bias'])
        for image in (gray, gray[:, :, ::-1])
    )
    # As far as the regression, which was not told so, is right about both.
    np.testing.assert_allclose(mirrored, found * pose_refinement._MIRRORED, atol=0.35)
    assert np.sign(answers[:8, 1]).tolist() == np.sign(found[:, 1]).tolist()


def test_each_regression_learns_what_those_before_it_leave(turned):
    crops, answers = turned
    arrays, lines = pose_refinement.learn(crops, answers, np.arange(60) >= 50, 2)
    assert arrays['weights'].shape == (2, 2048, 6) and arrays['bias'].shape == (2, 6)
    assert np.isfinite(arrays['weights']).all() and np.abs(arrays['weights'][1]).max() > 0
    yaw = [float(line.split(': ')[1].split(', ')[1]) for line in lines]
    assert len(yaw) == 3 and yaw[2] < yaw[0]
