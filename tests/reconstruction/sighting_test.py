import itertools
import types

import numpy as np
import pytest
from skimage import data

from seqface_jax import checkpoints, models
from seqface_jax.photos import cascades
from seqface_jax.photos.turned_crops import Crop
from seqface_jax.reconstruction import sighting
from tests.helpers import small_pictures


class _Finder(sighting.FaceFinder):
    """Sees a face of a score in each Crop that a way of looking has; counts searches."""

    def __init__(self, detected, searched, small=()):
        self.scores = {10.0 + k: score for k, score in enumerate([*detected, *searched, *small])}
        sides = iter([Crop(np.full(2, 40.0 * k), side) for k, side in enumerate(self.scores)])
        self.detected, self.searched, self.small = (
            list(itertools.islice(sides, len(some))) for some in (detected, searched, small)
        )
        self.num_searches = 0

    def look(self, photo, crop, rounds=sighting.ROUNDS):
        return sighting.Sighting(crop, None, None, None, self.scores[crop.side])

    def _detected(self, photo):
        return self.detected

    def _searched(self, photo, kept=3):
        self.num_searches += 1
        return self.searched[:kept]

    def _detected_small(self, photo):
        return self.small


_PHOTO = np.zeros((200, 200, 3), np.uint8)


def test_the_whole_photo_is_searched_only_where_a_caller_is_not_convinced():
    finder = _Finder([1.0], [1.0, 1.0])
    ways = finder.ways(_PHOTO)
    assert len(next(ways)) == 1 and finder.num_searches == 0
    assert len(next(ways)) == 2 and finder.num_searches == 1
    assert next(ways, None) is None


def test_find_goes_on_to_the_search_where_no_box_is_vouched_for():
    finder = _Finder([0.5], [1.0])
    assert len(finder.find(_PHOTO)) == 1 and finder.num_searches == 1
    assert _Finder([0.5], [0.99]).find(_PHOTO) == []  # The search asks for more.


def test_small_faces_are_looked_for_last_or_where_everybody_is():
    assert len(_Finder([0.5], [0.5], [1.0, 0.99]).find(_PHOTO)) == 1
    assert len(list(_Finder([0.5], [1.0], [1.0]).ways(_PHOTO))) == 1
    assert len(_Finder([1.0], [0.5], [1.0, 1.0]).find_all(_PHOTO)) == 3


def test_a_face_of_a_twentieth_of_a_large_photo_is_among_the_small_ones_only():
    finder = object.__new__(sighting.FaceFinder)
    finder._cascades = [cascades.load(cascades.FRONTAL)]
    photo = np.full((1500, 3000, 3), 128, np.uint8)
    photo[800:1056, 1800:2056] = data.astronaut()[::2, ::2]
    middle = np.array([1800.0, 800.0]) + np.array([222.0, 115.0]) / 2
    assert finder._detected(photo) == []
    found = finder._detected_small(photo)
    assert min(np.linalg.norm(crop.center - middle) for crop in found) < 15


@pytest.mark.parametrize('score, searches', [(1.0, 0), (0.1, 1)])
def test_a_frame_of_a_video_is_searched_only_where_nothing_else_is_found(score, searches):
    finder = _Finder([score], [1.0])
    previous = finder.look(_PHOTO, finder.detected[0])
    assert list(finder.ways(_PHOTO, previous)) and finder.num_searches == searches


@pytest.mark.parametrize('shape', [(20, 3000), (30_000, 1)])
def test_the_search_of_a_long_strip_ends_soon(shape):
    finder, looks = object.__new__(sighting.FaceFinder), []

    def look(variables, frames):
        looks.extend(frames)
        return types.SimpleNamespace(face=np.zeros(len(frames)))

    finder._size, finder._look, finder._variables = 8, look, None
    finder._searched(np.zeros((*shape, 3), np.uint8))
    assert len(looks) <= 2816


def _sighting(error_px, seen, side=100.0):
    # The error is that of both axes together.
    factor = np.eye(2) / np.array(error_px)[:, None, None] * np.sqrt(2)
    return sighting.Sighting(Crop(np.zeros(2), side), None, factor, np.array(seen), 1.0)


def test_the_expected_error_is_of_the_points_seen_in_sides_of_the_crop():
    assert _sighting([3.0, 4.0], [1.0, 1.0]).expected_error == pytest.approx(0.125**0.5 / 10)
    assert _sighting([3.0, 40.0], [1.0, 0.0]).expected_error == pytest.approx(0.03, rel=1e-2)


def test_a_photo_is_half_believed_at_an_expected_error_of_a_twentieth_and_less_beyond():
    values = [_sighting([error], [1.0]).confidence for error in (0.1, 2.0, 5.0, 20.0)]
    assert values[0] > 0.99 and values[2] == pytest.approx(0.5)
    assert values == sorted(values, reverse=True) and values[3] < 0.1


def test_the_mirror_image_of_a_photo_gives_the_mirror_image_of_the_points():
    model = models.create(small_pictures.config('').model, 32)
    variables = checkpoints.draw_variables(model, 32, 0)
    rng = np.random.default_rng(0)
    mirror = np.array([1, 0, 3, 2, 4, 5, 9, 7, 8, 6])
    variables['constants'] = {
        'layout_mean': rng.uniform(0.3, 0.7, (10, 2)).astype(np.float32),
        'layouts': 0.1 * rng.normal(size=(4, 10, 2)).astype(np.float32),
    }
    finder = sighting.FaceFinder(model, variables, mirror)
    photo = rng.integers(0, 256, (48, 60, 3), np.uint8)
    crop = Crop(np.array([30.0, 24.0]), 40.0)
    one = finder.look(photo, crop, rounds=1)
    two = finder.look(photo[:, ::-1].copy(), crop, rounds=1)
    np.testing.assert_allclose(two.places, one.places[mirror] * [-1, 1] + [60, 0], atol=1e-2)
    np.testing.assert_allclose(two.seen, one.seen[mirror], atol=1e-4)
    precision = np.swapaxes(one.factor, 1, 2) @ one.factor
    mirrored = precision[mirror] * np.array([[1, -1], [-1, 1]])
    np.testing.assert_allclose(
        np.swapaxes(two.factor, 1, 2) @ two.factor, mirrored, rtol=1e-3, atol=1e-4
    )
    plain = sighting.FaceFinder(model, variables).look(photo, crop, rounds=1)
    assert np.abs(plain.places - one.places).max() > 0.1
