"""Backgrounds, and what a camera and a file do to a picture: exposure, blur, noise, JPEG, grey."""

import cv2
import numpy as np

from data_prep.hard_pictures.looks import random_color

_EXPOSED = 0.28  # Linear level of a well exposed face's middle tone.


def background(size, rng):
    """Returns something behind the head, linear RGB [size, size, 3]: no faces."""
    picture = np.broadcast_to(random_color(rng), (size, size, 3)).astype(np.float32).copy()
    kind = rng.random()
    if kind < 0.15:
        return picture
    for cells in (2, 4, 9, 20, 60):  # Smooth noise of several sizes, or patches with edges.
        if rng.random() < 0.5:
            coarse = rng.normal(
                0, rng.uniform(0.05, 0.7), (cells, cells, 3 if rng.random() < 0.5 else 1)
            )
            how = cv2.INTER_CUBIC if rng.random() < 0.6 else cv2.INTER_NEAREST
            wave = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=how)
            picture *= np.exp(np.clip(wave.reshape(size, size, -1), -3, 2))
    for _ in range(rng.integers(0, 12)):
        color = tuple(float(c) for c in random_color(rng))
        a, b = rng.integers(-size // 3, size * 4 // 3, (2, 2)).tolist()
        shape = rng.integers(4)
        if shape == 0:
            cv2.rectangle(picture, a, b, color, -1)
        elif shape == 1:
            cv2.circle(picture, a, int(rng.integers(2, size // 3)), color, -1)
        elif shape == 2:
            cv2.line(picture, a, b, color, int(rng.integers(1, 12)))
        else:
            radii = rng.integers(4, size // 2, 2).tolist()
            cv2.ellipse(picture, a, radii, float(rng.uniform(0, 180)), 0, 360, color, -1)
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), float(np.exp(rng.uniform(-1, 2.3))))
    return picture


def expose(picture, face, rng):
    """Returns a linear picture [N, N, 3] as 8-bit-like values [0, 1]: exposure, gamma, colour.

    Args:
        face: [N, N] bool, the pixels that exposure is measured on.
    """
    level = np.median(picture[face]) if face.any() else np.median(picture)
    target = np.exp(rng.normal(np.log(0.2), 0.55))
    picture = (
        picture * (target / max(level, 1e-4)) * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    )
    if rng.random() < 0.5:  # A film's shoulder.
        picture = picture * (1 + picture / 4) / (1 + picture)
    picture = np.clip(picture, 0, 1) ** (1 / rng.uniform(1.8, 2.6))
    if rng.random() < 0.3:
        middle = picture.mean()
        picture = (picture - middle) * np.exp(rng.normal(0, 0.25)) + middle
    if rng.random() < 0.12:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2) * np.exp(rng.normal(0, 0.05, 3))
    elif rng.random() < 0.3:
        grey = picture.mean(2, keepdims=True)
        picture = grey + (picture - grey) * rng.uniform(0.3, 1.6)
    return np.clip(picture, 0, 1).astype(np.float32)


def develop(picture, face):
    """Returns a linear picture [N, N, 3] in [0, 1] as a camera shows it: the face is well exposed.

    Args:
        face: [N, N] bool, the pixels that exposure is measured on.
    """
    level = np.median(picture[face]) if face.any() else np.median(picture)
    picture = picture * (_EXPOSED / max(level, 1e-4))
    picture = picture * (1 + picture / 9) / (1 + picture)  # A film's shoulder; 3 is white.
    return (np.clip(picture, 0, 1) ** (1 / 2.2)).astype(np.float32)


def spoil(picture, rng):
    """Returns [N, N, 3] in [0, 1] as uint8 of the same size: small, blurred, noisy, compressed."""
    size = len(picture)
    if rng.random() < 0.35:  # A small face, or one out of focus.
        small = int(size * np.exp(rng.uniform(np.log(0.3), 0)))
        how = cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
        picture = cv2.resize(picture, (small, small), interpolation=how)
        picture = cv2.resize(
            picture, (size, size), interpolation=rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])
        )
    if rng.random() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 2.0)))
    if rng.random() < 0.1:  # Motion.
        length = int(rng.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        for t in np.linspace(-1, 1, 4 * length):
            x, y = (
                (length - 1) / 2 * (1 + t * np.cos(angle)),
                (length - 1) / 2 * (1 + t * np.sin(angle)),
            )
            kernel[round(y), round(x)] = 1
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    if rng.random() < 0.15:  # Sharpened by a phone.
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = picture + rng.uniform(0.3, 1.5) * (picture - soft)
    if rng.random() < 0.6:
        grain = rng.standard_normal(picture.shape[:2] + ((3,) if rng.random() < 0.6 else (1,)))
        picture = picture + (rng.exponential(0.02) * grain).astype(np.float32)
    picture = as_file(picture)
    if rng.random() < 0.5:
        quality = int(rng.uniform(15, 95))
        _, coded = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    return picture


def as_file(picture):
    """Returns a picture in [0, 1] as uint8."""
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
