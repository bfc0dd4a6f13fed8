"""What every network returns."""

from typing import Any, NamedTuple


class Prediction(NamedTuple):
    """A face after each frame.

    Attributes:
        position_map: [B, T, S, S, 3] mm, canonical frame; without T from `step`.
        log_variance: [B, T, S, S], log of the variance in mm^2 of each coordinate, or None if the
            network does not say how sure it is.
    """

    position_map: Any
    log_variance: Any = None
