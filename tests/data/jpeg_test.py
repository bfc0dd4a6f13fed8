import cv2
import jax
import numpy as np
import pytest

from seqface_jax.data import jpeg


def photos(size):
    """Two smooth pictures with some noise, [2, *size, 3] in [0, 1]."""
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 9, 9, 3), np.float32)
    smooth = np.stack([cv2.resize(image, size[::-1]) for image in coarse])
    return np.clip(smooth + rng.normal(0, 0.04, smooth.shape), 0, 1).astype(np.float32)


def by_libjpeg(image, quality):
    bgr = np.rint(255 * image[..., ::-1]).astype(np.uint8)
    data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1] / np.float32(255)


@pytest.mark.parametrize('size', [(64, 48), (37, 50)])
@pytest.mark.parametrize('qualities', [(10, 90), (30, 76)])
def test_frames_come_back_as_libjpeg_gives_them(size, qualities):
    frames = photos(size)
    found = np.asarray(jax.jit(jpeg.compress)(frames, np.float32(qualities)))
    for image, quality, ours in zip(frames, qualities, found, strict=True):
        theirs = by_libjpeg(image, quality)
        lost = np.sqrt(np.square(theirs - image).mean())
        # What is left is what it rounds between its stages.
        assert np.sqrt(np.square(ours - theirs).mean()) < 0.25 * lost
        luminance = np.array([0.299, 0.587, 0.114])
        assert np.abs((ours - theirs) @ luminance).mean() < 1.3 / 255


def test_less_quality_loses_more():
    frames = np.repeat(photos((32, 32))[:1], 4, axis=0)
    found = jax.jit(jpeg.compress)(frames, np.float32([20, 50, 80, 100]))
    lost = np.square(np.asarray(found) - frames).mean(axis=(1, 2, 3))
    assert (np.diff(lost) < 0).all()
