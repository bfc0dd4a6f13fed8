import numpy as np

from seqface_jax.photos import people_tracking
from seqface_jax.photos.face_detection import DetectedFace
from seqface_jax.photos.people_tracking import People
from seqface_jax.reconstruct import State

RNG = np.random.default_rng(0)
LOOKS = [RNG.integers(0, 255, (48, 48), np.uint8) for _ in range(2)]


class Detector:
    """Answers with what it was given."""

    def __init__(self, followed, new):
        self._answer = followed, new

    def find_all(self, photo, previous):
        assert len(previous) == len(self._answer[0])
        return self._answer


def _face(x, looks=0):
    return DetectedFace(np.array([x, 0, x + 100, 100], np.float32), LOOKS[looks], 'frontal')


def _group(detections, lost=()):
    everyone = dict(detections) | dict(lost)
    states = {person: State({}, face, 1) for person, face in everyone.items()}
    return People(states, dict(detections))


def test_the_first_faces_are_numbered_from_left_to_right():
    found = people_tracking.find(Detector([], [_face(0), _face(300)]), People({}, {}), None)
    assert {person: face.box[0] for person, face in found.items()} == {0: 0, 1: 300}


def test_a_followed_face_keeps_its_number_and_a_new_one_gets_the_next():
    detector = Detector([_face(10)], [_face(500)])
    found = people_tracking.find(detector, _group({3: _face(0)}), None)
    assert {person: face.box[0] for person, face in found.items()} == {3: 10, 4: 500}


def test_a_lost_face_that_comes_back_to_its_place_keeps_its_number():
    group = _group({}, lost={0: _face(0)})
    assert list(people_tracking.find(Detector([], [_face(20)]), group, None)) == [0]


def test_somebody_else_in_the_place_of_a_lost_face_is_a_new_person():
    group = _group({}, lost={0: _face(0)})
    assert list(people_tracking.find(Detector([], [_face(20, looks=1)]), group, None)) == [1]


def test_a_face_elsewhere_is_a_new_person():
    group = _group({}, lost={0: _face(0)})
    assert list(people_tracking.find(Detector([], [_face(90)]), group, None)) == [1]


def test_one_lost_face_is_found_again_once():
    group = _group({}, lost={0: _face(0)})
    assert sorted(people_tracking.find(Detector([], [_face(0), _face(40)]), group, None)) == [0, 1]


def test_who_is_not_on_the_photo_is_none():
    assert people_tracking.find(Detector([None], []), _group({0: _face(0)}), None) == {0: None}
