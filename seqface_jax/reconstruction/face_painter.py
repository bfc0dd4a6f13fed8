"""The colours of a face in its position map, where each photo's head pose has yet to be found."""

import numpy as np

from seqface_jax.geometry import map_grid
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import smooth_fill, texture
from seqface_jax.reconstruction.texture_painter import TexturePainter

_OWN_LOOKS_FROM = 3  # Photos: the looks of one, or of two, may be those of a wrong pose.


class FacePainter(TexturePainter):
    """Gathers the colours of one person's face; the head's pose is fitted to each photo."""

    def __init__(self, mask, size=texture.SIZE, *, paints=True, delight=False):
        """Begins without a colour.

        Args:
            mask: [S, S] bool, the position map's pixels that are the face's vertices, in order;
                `face_mask` of the Reconstructor.
            size, paints, delight: as of TexturePainter.
        """
        uv = map_grid.grid_uv(len(mask))[mask.ravel()]
        super().__init__(mask, uv, size, paints=paints, delight=delight)

    def _placed(self, photo, box, face):
        points = whole_map(face.vertices, self._mask)
        pose = pose_fitting.fit(photo, box, points, self._mask, looks=self._looks())
        return pose, points, face.confidence

    def _looks(self):
        """Returns what photos are compared with: the mean face first, then this very face."""
        if self.num_painted < _OWN_LOOKS_FROM:
            return None
        return texture.looks(self._seen, len(self._mask))


def whole_map(vertices, mask):
    """Returns the whole position map of a face's vertices, continued smoothly beyond the mask.

    Args:
        vertices: [V, 3] mm, in the order of the mask's pixels.
        mask: [S, S] bool.
    """
    directions = map_grid.strided_ray_directions(len(mask))
    radius = np.zeros(mask.shape, np.float32)
    radius[mask] = (np.asarray(vertices) * directions[mask]).sum(-1)
    points = smooth_fill.fill(radius[..., None], mask.astype(np.float32)) * directions
    points[mask] = vertices
    return points
