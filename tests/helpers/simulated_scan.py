"""Scans of the embedded face for the tests of registration and unwrapping."""

import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.registration import ray_casting, scan_motion
from data_prep.scans import cleaning
from data_prep.scans.scan import Scan
from data_prep.synthetic.embedded_face import face_model


def true_face(seed):
    """Returns the whole neutral head of a random person, in the head's frame."""
    model = face_model()
    vertices = model.neutral(model.sample_identity(np.random.default_rng(seed)))
    return Scan(vertices.astype(np.float32), model.triangles.astype(np.int32))


def scan_of(face, rng, *, side=150, hair=False, collar=False, holes=0, noise_mm=0.15):
    """Returns a raw scan: new vertices in random order, noise, and what is asked for.

    Hair is 12 mm thick from the upper forehead and the temples outwards, with a wavy rim; the
    collar stands 40 mm off under the chin; holes are discs of 3 to 9 mm radius.
    """
    step = np.radians(170.0) / side
    azimuth, elevation = (
        np.meshgrid(np.linspace(-1.48, 1.48, side), np.linspace(1.36, -1.36, side))
        + rng.uniform(-0.4, 0.4, (2, side, side)) * step
    )
    directions = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ],
        axis=-1,
    )
    radius = ray_casting.cast_radius(face, directions)
    if hair:
        above = np.degrees(elevation) + 5 * np.sin(5 * azimuth) - 42
        beside = np.abs(np.degrees(azimuth)) - 64
        radius = radius + 12 * np.clip(np.maximum(above, beside) / 4, 0, 1)
    if collar:
        radius = radius + 40 * np.clip((-np.degrees(elevation) - 47) / 4, 0, 1)
    points = radius[..., None] * directions
    kept = np.isfinite(radius).ravel()
    for _ in range(holes):
        middle = points[tuple(rng.integers(side // 4, 3 * side // 4, 2))]
        away = np.linalg.norm(points - middle, axis=-1).ravel()
        kept &= ~(away < rng.uniform(3, 9))
    points = np.nan_to_num(points + rng.normal(0, noise_mm, points.shape)).reshape(-1, 3)
    index = np.arange(side * side).reshape(side, side)
    a, b, c = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, b + 1], 1)])
    corners = points[triangles]
    length = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    triangles = triangles[kept[triangles].all(axis=1) & (length < 12)]
    order = rng.permutation(len(points))
    shuffled = rng.permutation(np.argsort(order)[triangles])
    return cleaning.clean(Scan(points[order].astype(np.float32), shuffled.astype(np.int32)))


def random_motion(rng):
    """Returns a rigid motion of up to 25 degrees and 100 mm."""
    axis, shift = rng.normal(size=(2, 3))
    axis *= np.radians(rng.uniform(0, 25)) / np.linalg.norm(axis)
    shift *= rng.uniform(0, 100) / np.linalg.norm(shift)
    return scan_motion.ScanMotion(Rotation.from_rotvec(axis).as_matrix(), shift)
