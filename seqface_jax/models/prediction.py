"""What every network returns."""

from typing import Any, NamedTuple


class Voxels(NamedTuple):
    """Which cells of a box are inside the face; see seqface_jax/geometry/voxels.py.

    Attributes:
        logits: [B, T, N, N, N], log-odds that a cell is inside; axes x, y, z.
        corner_mm: [B, T, 3], the box's corner of smallest x, y and z, canonical frame.
        cell_mm: [B, T], side of a cell.
        level: [B, T], probability at the face's surface.
    """

    logits: Any
    corner_mm: Any
    cell_mm: Any
    level: Any


class Prediction(NamedTuple):
    """A face after each frame; what a network does not say is None.

    Attributes:
        position_map: [B, T, S, S, 3] mm, canonical frame; without T from `step`.
        log_variance: [B, T, S, S], log of the variance in mm^2 of each coordinate.
        image_map: [B, T, M, M, 3], where the points lie in the image: x right and y down in units
            of its width, 0 to 1, z towards the camera in the same unit.
        voxels: Voxels.
        views: dict of what a network that draws a second view made on its way, see
            models/rotate_render.py.
        frame_map: [B, T, S, S, 3] mm, the face with the expression of each frame, pixel by pixel
            beside position_map, which is neutral.
        unused: [B, T] share of the frames so far in which no face was found that could be used;
            of what is shown photos and finds the face itself.
    """

    position_map: Any
    log_variance: Any = None
    image_map: Any = None
    voxels: Any = None
    views: Any = None
    frame_map: Any = None
    unused: Any = None
