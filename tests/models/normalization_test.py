import numpy as np
import pytest

from seqface_jax.models import normalization


def test_min_max_bgr_is_the_thesis_scaling_of_each_image():
    frames = np.array([[[10, 20, 30], [30, 40, 60]]], np.uint8)
    scaled = normalization.normalize_frames(frames, 'min_max_bgr')
    np.testing.assert_allclose(scaled[0, 0], [0.4, 0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(scaled[0, 1], [1.0, 0.6, 0.4], atol=1e-6)
    flat = normalization.normalize_frames(np.full((2, 2, 3), 7, np.uint8), 'min_max_bgr')
    np.testing.assert_array_equal(flat, 0)


def test_unit_scaling_divides_bytes_by_255():
    np.testing.assert_allclose(
        normalization.normalize_frames(np.array([0, 51, 255], np.uint8), 'unit'), [0, 0.2, 1]
    )
    with pytest.raises(ValueError, match='min_max_bgr'):
        normalization.normalize_frames(np.zeros((1, 1, 3)), 'other')
