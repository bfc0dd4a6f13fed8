import dataclasses

import numpy as np
import pytest

from seqface_jax.reconstruction.face import Face


def test_a_confidence_that_is_given_as_a_function_is_computed_once_and_only_when_it_is_read():
    calls = []

    def confidence():
        calls.append(1)
        return np.ones(3)

    face = Face(np.zeros((3, 3)), np.array([[0, 1, 2]]), confidence)
    assert not calls
    np.testing.assert_array_equal(face.confidence, 1)
    assert dataclasses.replace(face, uv=np.zeros((3, 2))).confidence is face.confidence
    assert len(calls) == 1


def test_a_face_needs_a_confidence_and_cannot_be_changed():
    with pytest.raises(TypeError, match='confidence'):
        Face(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    face = Face(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.ones(3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.confidence = np.zeros(3)
