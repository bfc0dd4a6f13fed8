import jax
import numpy as np
import pytest

from benchmarks import made_up_videos, memory_arms, memory_scores, memory_sequences
from benchmarks.memory_arms import MEMORY, PLAIN, RESET
from benchmarks.memory_scores import MEASURES
from benchmarks.memory_sequences import NUM_FRAMES, Looks, Source
from data_prep.hard_pictures import camera
from seqface_jax.models.correspondence_memory import CorrespondenceMemory
from seqface_jax.models.correspondence_network import Correspondence

_POINTS = 10


def _source(count):
    """Returns a Source of pictures whose points are white dots; the last one shows no face."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.35, 0.65, (count, _POINTS, 2)).astype(np.float32)
    images = np.zeros((count, 80, 80, 3), np.uint8)
    for image, own in zip(images, (places * 80).astype(int), strict=True):
        for x, y in own:
            image[y - 1 : y + 2, x - 1 : x + 2] = 255
    is_face = np.arange(count) < count - 1
    return Source(images.__getitem__, places, np.ones((count, _POINTS), bool), is_face)


@pytest.mark.parametrize('is_video', [False, True])
def test_points_lie_in_the_crops_where_the_picture_shows_them(is_video):
    index = np.arange(NUM_FRAMES)[None]
    reference = np.random.default_rng(1).uniform(0.3, 0.7, (_POINTS, 2))
    rng = np.random.default_rng(2)
    found = memory_sequences.cut(_source(NUM_FRAMES), index, 64, reference, rng, is_video=is_video)
    assert found.is_face.tolist() == [[True] * (NUM_FRAMES - 1) + [False]]
    assert not found.frames[0, -1].any()
    for frame, places, seen in zip(
        found.frames[0, :-1], found.places[0], found.seen[0], strict=False
    ):
        assert seen.sum() > _POINTS / 2
        x, y = (places[(seen > 0) & (np.abs(places - 0.5).max(1) < 0.48)] * 64).astype(int).T
        assert frame[y, x].min() > 60


def test_people_are_whole_and_show_enough_faces():
    class Stored:
        person = np.repeat([3, 4, 5], [NUM_FRAMES, NUM_FRAMES, 4])
        is_face = np.ones(len(person), bool)
        is_face[[8, 9, 10, 11]] = False  # Four of the second person's.
        image = places = seen = None

    _, index = memory_sequences.of_shards(Stored)
    assert index.tolist() == [list(range(NUM_FRAMES))]


def _looks_of_told_people(count):
    """Returns Looks of people whose first frame tells where all of their points are."""
    rng = np.random.default_rng(3)
    sides = rng.choice([-1.0, 1.0], count)
    maps = np.zeros((count, NUM_FRAMES, 2, 2, 8), np.float16)
    maps[:, 0, 0] = sides[:, None, None]  # The rows differ: a norm takes away what cells share.
    shape = (count, NUM_FRAMES, _POINTS)
    guess = np.full((*shape, 2), 0.5, np.float32)
    factor = np.broadcast_to(np.float32(100 * np.eye(2)), (*shape, 2, 2))
    first = Correspondence(guess, factor, np.zeros(shape), np.zeros(shape[:2]))
    places = (guess + 0.02 * sides[:, None, None, None]).astype(np.float32)
    seen = np.ones(shape, np.float32)
    return Looks(maps, np.zeros(shape[:2]), first, places, seen, np.ones(shape[:2], bool))


def test_the_memory_learns_what_earlier_frames_told_and_a_reset_one_forgets_it(monkeypatch):
    monkeypatch.setattr(memory_arms, '_LEARNING_RATE', 2e-2)
    looks = _looks_of_told_people(24)
    layouts = np.full((1, _POINTS, 2), 0.02, np.float32)
    memory = CorrespondenceMemory(_POINTS, 1, features=4, squeezed=4, hidden=8, scan_unroll=1)
    weights = {'nll': 1.0, 'distance': 0.05, 'layout': 3.0}
    params, losses = memory_arms.train(memory, MEMORY, [looks], layouts, 60, weights)
    assert losses[-1] < 3.0  # 4.8 at the start; 3.9 at best where each frame knows itself alone.
    ask = jax.jit(memory_arms.answer, static_argnums=(0, 2))
    forgetful = ask(memory, params, RESET, looks, layouts)
    assert np.abs(forgetful.places - looks.places)[:, -1].mean() > 0.015


def test_the_gain_is_the_share_of_differences_that_is_shown():
    rng = np.random.default_rng(4)
    true, directions = rng.standard_normal((3, 9, 5)), rng.standard_normal((2, 5))
    found = {'true': true, 'shown': 0.3 * true + 7.0}
    np.testing.assert_allclose(memory_scores.gain(found, directions), 0.3)


def test_the_table_compares_the_arms_at_the_last_photo_of_each_person():
    def scores(level):
        values = np.full((6, NUM_FRAMES), level)
        values[:, 1:] = level / 2
        values[0, 4:] = np.nan
        shown = np.random.default_rng(5).standard_normal((1, 6, 3))
        return dict.fromkeys(MEASURES, values) | {'shown': shown, 'true': shown}

    table = memory_scores.lines({PLAIN: scores(2.0), MEMORY: scores(1.0)}, np.eye(3))
    assert len(table) == 2 + 2 * len(MEASURES)
    assert '| distance | network as it is | 2.000 | 1.000 | 1.000 | 1.000 | - | 1.000 |' in table
    assert '-50.0 % [-50.0, -50.0]' in table[3]


def test_the_head_of_a_video_turns_about_its_centre_in_small_steps():
    rng = np.random.default_rng(6)
    views = made_up_videos.views(camera.sample(rng, plain=True), rng, 8)
    middles = [view.rotation @ [0.0, 0.0, 45.0] + view.translation for view in views]
    np.testing.assert_allclose(middles, np.broadcast_to(middles[0], (8, 3)), atol=1e-6)
    steps = [one.rotation @ two.rotation.T for one, two in zip(views, views[1:], strict=False)]
    angles = np.degrees(np.arccos((np.trace(steps, axis1=1, axis2=2) - 1) / 2))
    assert 0 < angles.max() < 20
