import types

import numpy as np
import pytest

from data_prep.hard_pictures import picture, shards, solids, still_life, things
from data_prep.hard_pictures.template_model import NUM_SKIN
from seqface_jax.data import pictures

_POINTS = 6


@pytest.fixture(name='world')
def _world(monkeypatch):
    """A world of one ball of NUM_SKIN vertices that stands for every head."""
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((NUM_SKIN, 3))
    ball *= 90 / np.linalg.norm(ball, axis=1, keepdims=True)
    model = types.SimpleNamespace(
        mean=ball.astype(np.float32), expression_names=('jawOpen',), with_inside=lambda skin: skin
    )
    shape = things.ellipsoid(np.zeros(3), [90.0] * 3, rng)
    scene = still_life._scene([solids.painted(*shape, rng)])
    monkeypatch.setattr(still_life.people, 'sample', lambda kinds, rng: ('ball', model.mean))
    monkeypatch.setattr(picture, 'dressed', lambda *args, **options: (scene, model.mean / 90))
    kinds = types.SimpleNamespace(model=model)
    return picture.World(kinds, None, np.arange(_POINTS))


@pytest.mark.parametrize('kind', sorted(set(solids.KINDS), key=lambda kind: kind.__name__))
def test_solids_are_whole_and_have_colours(kind):
    for seed in range(6):
        for part in kind(np.random.default_rng(seed)):
            assert np.isfinite(part.vertices).all() and part.vertices.dtype == np.float32
            assert part.triangles.min() >= 0 and part.triangles.max() < len(part.vertices)
            assert len(part.albedo) == len(part.gloss) == len(part.vertices)
            assert part.albedo.min() >= 0 and part.albedo.max() <= 1


def test_three_spots_never_stand_like_eyes_and_mouth():
    vertices, _ = things.ellipsoid(np.zeros(3), [50.0, 60.0, 50.0], np.random.default_rng(0))
    drawn = [solids.spots(vertices, np.random.default_rng(seed)) for seed in range(100)]
    threes = [centers for centers in drawn if len(centers) == 3]
    assert len(threes) > 20
    for a, b, c in threes:
        angles = [
            np.degrees(np.arccos((p @ q) / (np.linalg.norm(p) * np.linalg.norm(q))))
            for p, q in ((b - a, c - a), (a - b, c - b), (a - c, b - c))
        ]
        assert max(angles) > 119.0


def test_pictures_show_no_face_and_are_drawn_alike_for_a_seed(world):
    drawn = [still_life.make(world, np.random.default_rng(seed), size=40) for seed in range(12)]
    again = still_life.make(world, np.random.default_rng(3), size=40)
    np.testing.assert_array_equal(drawn[3].image, again.image)
    for one in drawn:
        assert one.image.shape == (40, 40, 3) and one.image.dtype == np.uint8
        assert not one.is_face and not one.seen.any()
        assert np.isfinite(one.places).all()
    assert np.mean([one.image.std() > 5 for one in drawn]) > 0.7  # Not empty.


def test_a_table_is_seen_from_above():
    for seed in range(40):
        view = still_life._view(np.zeros(3), 50.0, True, np.random.default_rng(seed))
        assert (-view.rotation.T @ view.translation)[1] > 0


def test_the_part_of_a_head_lies_before_the_camera_and_the_face_outside(world):
    for seed in range(60):
        _, view = still_life._part_of_a_head(world, np.random.default_rng(seed))
        camera_at = -view.rotation.T @ view.translation
        skin = world.kinds.model.mean
        shown = skin[np.linalg.norm(view.place(skin, 1) - 0.5, axis=1).argsort()[:40]]
        nearest = shown[np.linalg.norm(shown - camera_at, axis=1).argmin()]
        assert nearest @ (camera_at - nearest) > 0  # Seen from outside.
        face = view.place(still_life._FACE[None], 1)[0]
        behind = (view.rotation @ still_life._FACE + view.translation)[2] > view.translation[2]
        assert behind or ((face < 0) | (face > 1)).any()


def test_a_shard_is_read_beside_others_and_leaves_the_mean_layout(world, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, 'SHARD', 4)
    faces = np.random.default_rng(0).uniform(60, 100, (4, _POINTS, 2)).astype(np.float32)
    np.savez(
        shards.path_of(tmp_path, 0), images=np.zeros((4, 160, 160, 3), np.uint8), places=faces,
        seen=np.ones((4, _POINTS), bool), is_face=np.ones(4, bool), person=np.arange(4),
        plain=np.zeros(4, bool),
    )  # fmt: skip
    before = pictures.mean_layout(pictures.Pictures(tmp_path))
    shards.write(world, tmp_path, 1, 0, no_face=True)
    both = pictures.Pictures(tmp_path)
    np.testing.assert_array_equal(pictures.mean_layout(both), before)
    assert len(both) == 8 and not both.is_face[4:].any() and not both.seen[4:].any()
    assert both.plain[4:].tolist() == [True, False, True, False]
    assert (both.person[4:] < 0).all() and len(set(both.person)) == 8
