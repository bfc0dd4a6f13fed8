"""Random cameras and head poses: near and far, turned heads, faces anywhere in a photo."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry.alignment import UPRIGHT

_YAW_DEG, _PITCH_DEG, _ROLL_DEG = 75.0, 35.0, 30.0
_LARGEST_YAW_DEG = 88.0
_DISTANCE_MM = (300.0, 3000.0)
_ARM_MM = 500.0
# Most that a face stands off the axis, as a share of the largest tangent of a 20 mm lens.
_OFF_AXIS = 0.45
_CENTER = np.array([0.0, 0.0, 45.0])  # Centre of the head, in its frame, mm.
# Crop half side in mm at the face, over which a head of usual size is seen.
HALF_SIDE_MM = 125.0


class View(NamedTuple):
    """How a head is seen; the camera looks along +z, x right, y down, focal length 1.

    Attributes:
        rotation: [3, 3] head frame to camera.
        translation: [3] mm.
        center: [2] the crop's middle on the image plane z = 1.
        half: half of the crop's side on that plane.
    """

    rotation: np.ndarray
    translation: np.ndarray
    center: np.ndarray
    half: float

    def place(self, points, size):
        """Returns the places [N, 2] of points [N, 3] mm in a crop of `size` pixels."""
        seen = points @ self.rotation.T + self.translation
        plane = seen[:, :2] / seen[:, 2:]
        return (plane - self.center) / self.half * (size / 2) + (size / 2)


def sample(rng, *, jitter=0.2, plain=False):
    """Draws a View.

    Args:
        rng: numpy Generator.
        jitter: how far the crop is off, of its half side; its size likewise.
        plain: as people take photos: no profile, no tilt, an arm's length away or more.
    """
    if rng.random() < 0.45:
        yaw, pitch = rng.normal(0, 22), rng.normal(0, 10)
    else:
        yaw, pitch = rng.uniform(-_YAW_DEG, _YAW_DEG), rng.uniform(-_PITCH_DEG, _PITCH_DEG)
        if rng.random() < 0.1:
            yaw = rng.choice([-1, 1]) * rng.uniform(60, _LARGEST_YAW_DEG)
    roll = (
        np.clip(rng.normal(0, 12), -_ROLL_DEG, _ROLL_DEG)
        if rng.random() < 0.8
        else rng.uniform(-40, 40)
    )
    distance = np.exp(rng.uniform(*np.log(_DISTANCE_MM)))
    if plain:
        yaw, pitch, roll = rng.normal(0, 25), rng.normal(0, 8), rng.normal(0, 5)
        distance = max(distance, _ARM_MM)
    reach = _OFF_AXIS * rng.random() ** 2
    towards = rng.uniform(0, 2 * np.pi)
    axis = np.array([reach * np.cos(towards), reach * np.sin(towards), 1.0])
    # Yaw and pitch are told against the line of sight, as a detector of faces sees them.
    sight = Rotation.align_vectors([axis / np.linalg.norm(axis)], [[0, 0, 1.0]])[0].as_matrix()
    turn = Rotation.from_euler('ZXY', [roll, -pitch, yaw], degrees=True).as_matrix()
    rotation = sight @ UPRIGHT @ turn
    translation = axis * distance - rotation @ _CENTER
    half = HALF_SIDE_MM / distance * np.exp(rng.normal(0, jitter))
    center = axis[:2] + rng.normal(0, jitter * 0.75, 2) * half
    return View(rotation, translation, center, half)


def facing(yaw_deg, pitch_deg=0.0, distance_mm=1000.0):
    """Returns the View of a head in the picture's middle.

    Args:
        yaw_deg: by which the head is turned to its left.
        pitch_deg: down.
        distance_mm: from the camera.
    """
    turn = Rotation.from_euler('XY', [-pitch_deg, yaw_deg], degrees=True).as_matrix()
    rotation = UPRIGHT @ turn
    translation = np.array([0.0, 0.0, distance_mm]) - rotation @ _CENTER
    return View(rotation, translation, np.zeros(2), HALF_SIDE_MM / distance_mm)
