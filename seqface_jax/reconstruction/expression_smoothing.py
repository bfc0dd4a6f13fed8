"""Blendshape weights over a video, freed of what jitters from frame to frame.

The neutral face needs none of it: it is of all frames together.
"""

from typing import NamedTuple

import numpy as np

WIDTH_S = 0.06  # Standard deviation of `offline`'s window: two frames of a usual video.
_REACH = 3.0  # Deviations beyond which a frame counts nothing.
# The One Euro filter: frequency of the low-pass at rest and for speeds, Hz, and how much a weight's
# speed, 1 / s, adds to it. A blink, which takes a tenth of a second, passes.
_REST_HZ, _SPEED_HZ, _PER_SPEED = 1.5, 1.0, 2.0


def offline(seconds, weights, width_s=WIDTH_S):
    """Returns weights smoothed both ways in time, [T, E]: Gaussian means (Nadaraya, 1964).

    Args:
        seconds: [T] of each frame, rising.
        weights: [T, E].
        width_s: standard deviation of the window; 0 changes nothing.
    """
    seconds, weights = np.asarray(seconds, np.float64), np.asarray(weights, np.float64)
    if width_s <= 0 or len(seconds) < 2:
        return weights
    total, summed = np.ones(len(seconds)), weights.copy()
    for lag in range(1, len(seconds)):
        apart = seconds[lag:] - seconds[:-lag]
        if apart.min() > _REACH * width_s:
            break
        share = np.exp(-0.5 * (apart / width_s) ** 2) * (apart <= _REACH * width_s)
        total[lag:] += share
        total[:-lag] += share
        summed[lag:] += share[:, None] * weights[:-lag]
        summed[:-lag] += share[:, None] * weights[lag:]
    return summed / total[:, None]


class Smoothed(NamedTuple):
    """What `causal` keeps of the frames so far.

    Attributes:
        seconds: of the last frame.
        weights: [E] as smoothed, speed: [E] of them, 1 / s.
    """

    seconds: float
    weights: np.ndarray
    speed: np.ndarray


def causal(state, seconds, weights):
    """Smooths the weights of a stream's next frame: the One Euro filter (Casiez et al., 2012).

    What moves fast is smoothed less, so that it does not lag.

    Args:
        state: Smoothed, or None before the first frame.
        seconds: of the frame, later than the last one's.
        weights: [E].

    Returns:
        Smoothed; its `weights` are the answer.
    """
    weights = np.asarray(weights, np.float64)
    if state is None:
        return Smoothed(seconds, weights, np.zeros_like(weights))
    step = max(seconds - state.seconds, 1e-6)
    speed = (weights - state.weights) / step
    speed = state.speed + _share(_SPEED_HZ, step) * (speed - state.speed)
    share = _share(_REST_HZ + _PER_SPEED * np.abs(speed), step)
    return Smoothed(seconds, state.weights + share * (weights - state.weights), speed)


def _share(frequency_hz, step_s):
    """Returns the weight of a new value in a low-pass of one pole."""
    rate = 2 * np.pi * frequency_hz * step_s
    return rate / (1 + rate)
