"""The colours of a face in the template's texture, from the poses that its frames have."""

import numpy as np

from seqface_jax.geometry import rendering
from seqface_jax.geometry.alignment import UPRIGHT, RigidTransform
from seqface_jax.photos.pose_regression import Camera, Pose
from seqface_jax.reconstruction import eye_texture, lip_texture, smooth_fill, texture
from seqface_jax.reconstruction.mouth import darkened
from seqface_jax.reconstruction.texture_painter import TexturePainter

_GRID = 192  # Side of the grid of the texture's plane that carries the face's points.
_OPEN_MM = 3.0  # A mouth is open whose lips are so much farther apart than at rest.
_GOOD_PX = 2.0  # Reprojection error of a photo, % of the face's width, that counts half.


class TemplatePainter(TexturePainter):
    """Gathers the colours of one person's face, whose `frame` says where it is on the photo."""

    def __init__(
        self,
        uv,
        triangles,
        size=texture.SIZE,
        *,
        eye_rims=None,
        mouth=None,
        paints=True,
        delight=False,
    ):
        """Begins without a colour.

        Args:
            uv: [V, 2] in [0, 1], v up, of the template's vertices.
            triangles: [F, 3].
            eye_rims: [2, R] vertices around the eyes' openings, if the face has eyeballs.
            mouth: mouth.Mouth, if the face has one.
            size, paints, delight: as of TexturePainter.
        """
        screen = np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * (_GRID - 1) + 0.5
        pixel, triangle, weights = rendering.fragments(screen, np.zeros(len(uv)), triangles, _GRID)
        mask = np.zeros(_GRID * _GRID, bool)
        mask[pixel] = True
        self._corners, self._weights = triangles[triangle], weights
        self._order = np.argsort(pixel)
        self._eye_rims, self._mouth = eye_rims, mouth
        self._lips = None if mouth is None else lip_texture.LipTexels(uv, mouth, _GRID)
        mask = mask.reshape(_GRID, _GRID)
        super().__init__(mask, uv, size, paints=paints, delight=delight)

    def _placed(self, photo, box, face):  # noqa: ARG002 - the face knows where it is.
        frame = face.frame
        transform = RigidTransform(UPRIGHT @ frame.rotation, UPRIGHT @ frame.translation)
        width = np.ptp(face.vertices[:, 0]) * frame.focal_px / frame.translation[2]
        off = 100 * frame.reprojection_px / width
        score = 1 / (1 + (off / _GOOD_PX) ** 2)
        pose = Pose(transform, Camera(frame.focal_px, np.asarray(frame.center_px)), score)
        trust = self._on_grid(face.confidence[:, None])[..., 0]
        points = self._on_grid(frame.vertices)
        if self._eye_rims is not None:
            trust[eye_texture.unseen(pose, points, frame.vertices[self._eye_rims])] = 0
        if self._mouth is not None:
            region, opening = self._lips.region, self._mouth.opening
            is_open = opening(frame.vertices) > opening(face.vertices) + _OPEN_MM
            place = pose.project(points[region])
            trust[region][self._lips.hidden(photo, place, is_open=is_open)] = 0
        return pose, points, trust[self._mask]

    def _picture(self):
        picture = super()._picture()
        if self._eye_rims is not None:
            picture = eye_texture.fill(picture, self._seen.weights)
        if self._mouth is not None:
            picture = darkened(picture, self._uv[self._mouth.loop])
        return picture

    def _on_grid(self, values):
        """Returns [_GRID, _GRID, C] of values [V, C], continued smoothly beyond the face."""
        at = np.einsum('pk,pkc->pc', self._weights, values[self._corners])
        grid = np.zeros((_GRID, _GRID, values.shape[1]), np.float32)
        grid[self._mask] = at[self._order]
        filled = smooth_fill.fill(grid, self._mask.astype(np.float32))
        filled[self._mask] = at[self._order]
        return filled
