import numpy as np
import pytest

from seqface_jax import models
from seqface_jax.errors import UserError
from seqface_jax.evaluation import streaming
from seqface_jax.geometry import voxels
from tests.helpers import bumpy_face


def test_a_draw_is_distinct_spread_over_sequences_and_the_start_of_a_larger_draw():
    sequences = np.repeat(['Angry', 'Fear', 'Happy'], [20, 5, 30])
    drawn = streaming.draw_frames(sequences, 12, seed=3)
    assert len(set(drawn)) == 12
    _, counts = np.unique(sequences[drawn], return_counts=True)
    np.testing.assert_array_equal(counts, 4)
    np.testing.assert_array_equal(streaming.draw_frames(sequences, 5, seed=3), drawn[:5])
    assert list(streaming.draw_frames(sequences, 12, seed=4)) != list(drawn)


def test_a_subject_with_few_frames_shows_them_all():
    drawn = streaming.draw_frames(np.array(['Angry', 'Happy', 'Happy']), 8, seed=0)
    np.testing.assert_array_equal(np.sort(drawn), [0, 1, 2])


def _counting_step(variables, state, frames):
    """A model whose answer is the sum of the frames' first bytes so far."""
    del variables
    total = frames[:, 0, 0, 0].astype(np.float32) + (0 if state is None else state)
    answer = np.broadcast_to(total[:, None, None, None], (len(frames), 4, 4, 3))
    return total, models.Prediction(answer, None)


def _frames(values):
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def test_streaming_answers_after_each_number_of_frames_and_after_the_last_if_there_are_fewer():
    frames = [_frames([1, 2, 4]), _frames([8])] + [_frames([0])] * 7  # More than one batch.
    predictions, seconds = streaming.stream(_counting_step, None, frames, (1, 2, 5))
    maps = np.stack([own.position_map for own in predictions])
    np.testing.assert_array_equal(maps[:, 0, 0, 0, 0], [1, 3, 7])
    np.testing.assert_array_equal(maps[:, 1, 0, 0, 0], [8, 8, 8])
    assert maps.shape == (3, 9, 4, 4, 3)
    assert (np.diff(seconds) >= 0).all()


def test_single_frames_are_averaged():
    frames = [_frames([1, 2, 6]), _frames([8, 4])]
    predictions, _ = streaming.stream(_counting_step, None, frames, (2, 3), single=True)
    maps = np.stack([own.position_map for own in predictions])
    np.testing.assert_allclose(maps[:, 0, 0, 0, 0], [1.5, 3])
    np.testing.assert_allclose(maps[:, 1, 0, 0, 0], [6, 6])


def test_shown_frames_are_read_one_at_a_time_in_their_order():
    read = []

    class Split:
        def frames(self, index, frames):
            read.append((index, list(frames)))
            return _frames([10 * number for number in frames])

    shown = streaming.ShownFrames(Split(), 4, [2, 0, 1])
    predictions, _ = streaming.stream(_counting_step, None, [shown], (1, 3))
    np.testing.assert_array_equal([own.position_map[0, 0, 0, 0] for own in predictions], [20, 30])
    assert all(index == 4 and len(frames) == 1 for index, frames in read)
    copies = shown.reordered([0, 0, 0, 0])
    assert len(copies) == 4 and list(copies.drawn) == [2, 2, 2, 2]


def test_answers_are_surfaces_and_keep_their_map_if_it_is_ordered():
    face = bumpy_face.position_map_of(0, 64)
    mask = bumpy_face.mask_of(bumpy_face.position_map_of(0))
    log_variance = np.zeros((1, 64, 64))
    condition = streaming.Condition('ours', None, 'test', 1)
    answers = streaming.Answers(
        condition, models.Prediction(face[None], log_variance), True, mask, None
    )
    answer = answers.of(0)
    np.testing.assert_array_equal(answer.vertices, face[mask[::2, ::2]])
    assert answer.position_map.shape == (64, 64, 3) and answer.log_variance.shape == (64, 64)
    unordered = answers._replace(ordered=False).of(0)
    assert len(unordered.vertices) == 64 * 64
    assert unordered.position_map is None and unordered.log_variance is None


def test_answers_with_a_number_that_is_not_finite_say_so():
    condition = streaming.Condition('ours', None, 'test', 1)
    maps = np.zeros((2, 4, 4, 3))
    mask = np.ones((4, 4), bool)
    answers = streaming.Answers(condition, models.Prediction(maps), True, mask, None)
    assert answers.is_finite()
    maps[1, 0, 0, 0] = np.nan
    assert not answers.is_finite()


def test_a_pair_is_the_first_frontal_frame_of_the_draw_and_the_first_from_the_side():
    yaw_deg = np.array([50, 3, -2, 80, 20, np.nan])
    order = np.array([5, 4, 3, 2, 1, 0])
    np.testing.assert_array_equal(streaming.draw_pair(order, yaw_deg, 10, 45), [2, 3])
    np.testing.assert_array_equal(streaming.draw_pair(order, yaw_deg, 1, 85), [2, 3])  # Next best.
    with pytest.raises(UserError, match='--frame_maps'):
        streaming.draw_pair(order, np.full(6, np.nan), 45, 45)


def test_a_model_is_shown_as_many_frames_as_it_can_use():
    assert streaming.usable_counts((1, 2, 8), None) == (1, 2, 8)
    assert streaming.usable_counts((1, 8), 2) == (1, 2)
    assert streaming.usable_counts((2, 4), 1) == (1,)


def test_voxels_become_the_surface_between_inside_and_outside():
    size, corner, cell = 16, np.full(3, -80.0, np.float32), np.float32(10)
    depth = 60 - np.linalg.norm(voxels.centres(corner, cell, size), axis=-1)
    cells = models.prediction.Voxels(depth / 5, corner, cell, np.float32(0.5))
    prediction = models.Prediction(np.zeros((8, 8, 3), np.float32), voxels=cells)
    answer = streaming.to_answer(prediction, ordered=True, mask=np.ones((128, 128), bool))
    np.testing.assert_allclose(np.linalg.norm(answer.vertices, axis=1), 60, atol=1)
    nothing = cells._replace(logits=np.full((size,) * 3, -9.0))
    answer = streaming.to_answer(
        prediction._replace(voxels=nothing), ordered=True, mask=np.ones((128, 128), bool)
    )
    assert len(answer.triangles)  # What the rays found: the origin.
