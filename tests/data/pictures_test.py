import itertools

import cv2
import numpy as np
import pytest

from seqface_jax.data import pictures
from seqface_jax.data.pictures import Pictures
from seqface_jax.errors import UserError

_MIRROR = np.array([1, 0, 2, 3])  # Points 0 and 1 are each other's mirror images.


@pytest.fixture
def folder(tmp_path):
    """A shard of 20 pictures of 80 pixels with four dots; their places are known."""
    rng = np.random.default_rng(0)
    images = np.zeros((20, 80, 80, 3), np.uint8)
    places = rng.uniform(24, 56, (20, 4, 2)).round() + 0.5
    for image, points in zip(images, places, strict=True):
        for x, y in points.astype(int):
            cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    np.savez(
        tmp_path / 'pictures_00003.npz', images=images, places=places.astype(np.float32),
        seen=np.ones((20, 4), bool), is_face=np.arange(20) != 7, person=np.arange(20) // 2,
        plain=np.zeros(20, bool),
    )  # fmt: skip
    return tmp_path


def test_dots_are_where_the_places_of_a_crop_say(folder):
    data = Pictures(folder)
    faces = np.flatnonzero(data.is_face)
    rng = np.random.default_rng(1)
    reference = pictures.mean_layout(data)
    batch = pictures.make_batch(data, faces, 64, _MIRROR, rng, augment=True, reference=reference)
    bright = []
    for frame, places, seen in zip(batch['frames'], batch['places'], batch['seen'], strict=True):
        inside = seen > 0
        columns, rows = (places[inside] * 64).astype(int).T
        bright += frame[rows, columns, 0].tolist()
    assert np.mean(np.array(bright) > 60) > 0.9


def test_half_of_the_crops_are_mirrored_and_their_points_trade_places(folder):
    data = Pictures(folder)
    data.seen[:, 1] = False
    indices = np.zeros(200, int)
    batch = pictures.make_batch(data, indices, 32, _MIRROR, np.random.default_rng(2), augment=True)
    traded = batch['seen'][:, 1].mean()
    assert 0.3 < traded < 0.7
    assert (batch['seen'][:, 0] + batch['seen'][:, 1]).max() == 1


def test_a_stated_share_of_a_batch_is_plain(folder):
    with np.load(folder / 'pictures_00003.npz') as file:
        np.savez(folder / 'pictures_00004.npz', **(dict(file) | {'plain': np.ones(20, bool)}))
    data = Pictures(folder)
    drawn = pictures.draw_indices(data, np.random.default_rng(0), 2000, 0.3)
    assert 0.25 < data.plain[drawn].mean() < 0.35
    hard = Pictures(folder, 3, 4)
    assert len(np.unique(pictures.draw_indices(hard, np.random.default_rng(0), 500, 0.3))) == 20


def test_batches_depend_on_seed_and_step_alone():
    def make(rng):
        return rng.random()

    whole = list(itertools.islice(pictures.ahead(make, 5, 0), 6))
    resumed = list(itertools.islice(pictures.ahead(make, 5, 4), 2))
    assert whole[4:] == resumed


def test_principal_layouts_span_the_crops_places(folder):
    data = Pictures(folder)
    reference = pictures.mean_layout(data)
    layouts = pictures.layouts(data, 32, _MIRROR, 8, reference)
    flat = layouts.reshape(8, -1)
    np.testing.assert_allclose(flat @ flat.T, np.diag((flat**2).sum(1)), atol=1e-6)


def test_a_folder_without_pictures_says_how_to_draw_some(tmp_path):
    with pytest.raises(UserError, match='hard_pictures'):
        Pictures(tmp_path)
