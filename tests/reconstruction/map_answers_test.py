import numpy as np

from seqface_jax.reconstruction import map_answers
from tests.helpers import grey_faces


def _photos(*levels):
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


def _scale(one, other):
    """Returns how much larger a position map is; at its rim rounding decides what rays meet."""
    return np.median(one / other)


def _stream(*rounds, says_frames=False):
    """Returns the Predictions about two people after each pair of photos."""
    step = map_answers.make_step(grey_faces.GreyReconstructor(), says_frames=says_frames)
    people, found = None, []
    for levels in rounds:
        people, prediction = step({}, people, _photos(*levels))
        found.append(prediction)
    return found


def test_before_a_frame_with_a_face_the_answer_is_the_mean_face():
    mean = map_answers.answer_of(grey_faces.GreyReconstructor().mean_face())
    first, second = _stream((11, 200), (100, 11))
    np.testing.assert_array_equal(first.position_map[0], mean.position_map)
    np.testing.assert_allclose(_scale(first.position_map[1], mean.position_map), 1.2, rtol=1e-5)
    np.testing.assert_allclose(_scale(second.position_map[0], mean.position_map), 1.1, rtol=1e-5)
    np.testing.assert_array_equal(second.position_map[1], first.position_map[1])


def test_the_share_of_frames_without_a_face_is_told():
    found = _stream((11, 200), (100, 11), (11, 200))
    np.testing.assert_allclose([own.unused[0] for own in found], [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose([own.unused[1] for own in found], [0, 1 / 2, 1 / 3])


def test_a_coordinate_has_a_third_of_the_stated_variance():
    (prediction,) = _stream((100, 100))
    np.testing.assert_allclose(
        np.exp(prediction.log_variance), grey_faces.DEVIATION_MM**2 / 3, rtol=1e-5
    )


def test_the_face_of_a_frame_is_beside_the_neutral_one_and_is_it_before_the_first():
    first, second = _stream((11, 200), (100, 100), says_frames=True)
    np.testing.assert_array_equal(first.frame_map[0], first.position_map[0])
    scale = _scale(second.frame_map[1], second.position_map[1])
    np.testing.assert_allclose(scale, 1.1 / 1.15, rtol=1e-5)
    assert _stream((100, 100))[0].frame_map is None
