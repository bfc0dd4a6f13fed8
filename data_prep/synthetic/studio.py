"""The photo camera: a portrait lens in front of the person, as in a scanning studio."""

import dataclasses

import numpy as np

FULL_HEIGHT = 1392  # Pixels of BU-4DFE's portrait photos, 1040 wide.
_DISTANCE_MM = 1300.0
_SEEN_HEIGHT_MM = 342.0  # At the head's distance; the face fills 55-60 % of the width.


@dataclasses.dataclass(frozen=True)
class PhotoCamera:
    """A pinhole camera that looks along -z of the room's frame.

    Attributes:
        width, height: pixels.
        center: [3] mm, in the room's frame.
        focal: pixels.
    """

    width: int
    height: int
    center: np.ndarray
    focal: float

    def project(self, points):
        """Returns image positions of points in the room, [N, 2] pixels from the upper left."""
        ray = points - self.center
        scale = self.focal / -ray[:, 2]
        return np.stack(
            [self.width / 2 + ray[:, 0] * scale, self.height / 2 - ray[:, 1] * scale], axis=1
        )

    def rays(self):
        """Returns one ray per pixel, [height, width, 6] float32: origin and direction."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        y = -(np.arange(self.height) + 0.5 - self.height / 2) / self.focal
        rays = np.empty((self.height, self.width, 6), np.float32)
        rays[..., :3] = self.center
        rays[..., 3] = x[None, :]
        rays[..., 4] = y[:, None]
        rays[..., 5] = -1.0
        return rays


def studio_camera(photo_height, rng):
    """Returns a camera whose place varies a little from person to person.

    Args:
        photo_height: pixels; the width follows from BU-4DFE's 1040 x 1392.
        rng: numpy Generator.
    """
    width = round(photo_height * 1040 / FULL_HEIGHT)
    place = np.array([rng.normal(0.0, 4.0), 24.0 + rng.normal(0.0, 5.0), _DISTANCE_MM])
    seen = _SEEN_HEIGHT_MM * rng.uniform(0.96, 1.04)
    return PhotoCamera(width, photo_height, place, photo_height * _DISTANCE_MM / seen)
