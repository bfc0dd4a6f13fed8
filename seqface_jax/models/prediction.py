"""What every network returns."""

from typing import Any, NamedTuple


class Prediction(NamedTuple):
    """A face after each frame; what a network does not say is None.

    Attributes:
        position_map: [B, T, S, S, 3] mm, canonical frame; without T from `step`.
        log_variance: [B, T, S, S], log of the variance in mm^2 of each coordinate.
        image_map: [B, T, M, M, 3], where the points lie in the image: x right and y down in units
            of its width, 0 to 1, z towards the camera in the same unit.
        voxel_logits: [B, T, N, N, N], log-odds that a cell is inside the face; axes x, y, z.
        views: dict of what a network that draws a second view made on its way, see
            models/rotate_render.py.
    """

    position_map: Any
    log_variance: Any = None
    image_map: Any = None
    voxel_logits: Any = None
    views: Any = None
