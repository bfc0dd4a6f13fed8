"""The colours of a face in the template's texture, gathered photo by photo from known poses."""

import dataclasses

import numpy as np

from seqface_jax.geometry import rendering
from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos.pose_regression import Camera, Pose
from seqface_jax.reconstruction import texture

_GRID = 192  # Side of the grid of the texture's plane that carries the face's points.
_FLIP = np.diag([1.0, -1.0, -1.0])  # y down and z away, to y up and z towards the camera.
_GOOD_PX = 2.0  # Reprojection error of a photo, % of the face's width, that counts half.


class TemplatePainter:
    """Gathers the colours of one person's face; its memory does not grow with the photos.

    Attributes:
        paints: whether colours are gathered.
    """

    def __init__(self, uv, triangles, size=texture.SIZE, *, paints=True, delight=False):
        """Begins without a colour.

        Args:
            uv: [V, 2] in [0, 1], v up, of the template's vertices.
            triangles: [F, 3].
            size: of the texture, texels.
            paints: False tells the head's poses only.
            delight: whether the photos' light is divided out.
        """
        self.paints, self._delight = paints, delight
        self._seen = texture.empty(size)
        screen = np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * (_GRID - 1) + 0.5
        pixel, triangle, weights = rendering.fragments(screen, np.zeros(len(uv)), triangles, _GRID)
        self._corners, self._weights = triangles[triangle], weights
        self._mask = np.zeros(_GRID * _GRID, bool)
        self._mask[pixel] = True
        self._order = np.argsort(pixel)
        self._mask = self._mask.reshape(_GRID, _GRID)

    def add(self, photo, box, face):  # noqa: ARG002 - the face knows where it is.
        """Takes one more photo into account.

        Args:
            photo: [H, W, 3] uint8 RGB.
            box: unused.
            face: reconstruct.Face after this photo, whose `frame` says where it is.

        Returns:
            The Pose of the head.
        """
        frame = face.frame
        points = self._on_grid(frame.vertices)
        trust = self._on_grid(face.confidence[:, None])[self._mask][:, 0]
        transform = RigidTransform(_FLIP @ frame.rotation, _FLIP @ frame.translation)
        width = np.ptp(face.vertices[:, 0]) * frame.focal_px / frame.translation[2]
        off = 100 * frame.reprojection_px / width
        score = 1 / (1 + (off / _GOOD_PX) ** 2)
        pose = Pose(transform, Camera(frame.focal_px, np.asarray(frame.center_px)), score)
        if not self.paints:
            return pose
        self._seen = texture.add(self._seen, photo, pose, points, self._mask, trust)
        return pose

    @property
    def num_painted(self):
        """Photos whose colours were gathered."""
        return self._seen.num_photos

    def paint(self, face):
        """Returns the Face with its texture; as it is if no photo could be used."""
        if not self.num_painted:
            return face
        return dataclasses.replace(
            face,
            texture=texture.finish(self._seen, delight=self._delight),
            texture_light=texture.LIGHTS[self._delight],
        )

    def _on_grid(self, values):
        """Returns [_GRID, _GRID, C] of values [V, C], continued smoothly beyond the face."""
        at = np.einsum('pk,pkc->pc', self._weights, values[self._corners])
        grid = np.zeros((_GRID, _GRID, values.shape[1]), np.float32)
        grid[self._mask] = at[self._order]
        filled = texture.fill(grid, self._mask.astype(np.float32))
        filled[self._mask] = at[self._order]
        return filled
