import cv2
import numpy as np
import pytest

from seqface_jax.photos.sharpness import MIN_SHARPNESS, sharpness
from tests.helpers.small_raw_tree import draw_face


@pytest.fixture
def crop():
    return draw_face(256, 256, (128, 128), 90)


def test_a_flat_picture_has_no_sharpness():
    assert sharpness(np.full((64, 64, 3), 100, np.uint8)) == 0


def test_a_sharp_face_passes(crop):
    assert sharpness(crop) > 1.5 * MIN_SHARPNESS


@pytest.mark.parametrize('size', [64, 256, 512])
def test_a_blur_of_3_percent_of_the_crop_fails_at_any_size(crop, size):
    resized = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    assert sharpness(resized) > MIN_SHARPNESS
    assert sharpness(cv2.GaussianBlur(resized, (0, 0), 0.03 * size)) < MIN_SHARPNESS


def test_a_smear_in_one_direction_fails(crop):
    smear = np.ones((1, 41), np.float32) / 41
    for kernel in (smear, smear.T):
        assert sharpness(cv2.filter2D(crop, -1, kernel)) < MIN_SHARPNESS


def test_contrast_does_not_matter(crop):
    faint = (crop.astype(int) // 4 + 90).astype(np.uint8)
    np.testing.assert_allclose(sharpness(faint), sharpness(crop), atol=0.02)


def test_more_blur_is_less_sharp(crop):
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (0.5, 2, 4, 8)]
    assert (np.diff(values) < 0).all()


def test_noise_does_not_pass_for_sharpness(crop):
    blurred = cv2.GaussianBlur(crop, (0, 0), 8).astype(float)
    noisy = blurred + np.random.default_rng(0).normal(0, 1, crop.shape)
    assert sharpness(np.clip(noisy, 0, 255).astype(np.uint8)) < MIN_SHARPNESS
