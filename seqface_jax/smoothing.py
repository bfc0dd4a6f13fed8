"""Steadier motion: what jitter is, and how to take it out while frames come or afterwards."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

# Of the causal filter, in cycles per frame: a still face is averaged over about 1 / (2 pi 0.02) = 8
# frames, and one that moves by 1 mm a frame over about 2.
CUTOFF = 0.02
CUTOFF_PER_SPEED = 0.06  # Per mm / frame.
SPEED_CUTOFF = 0.1  # Cycles per frame, of the low-pass filter of the speed.
STRENGTH = 100.0  # Of `offline`: half of a wave of 2 pi 100^(1/4) = 20 frames is left.


def jitter(vertices):
    """Measures how much faces shake.

    Args:
        vertices: [T, V, 3] mm, T at least 3.

    Returns:
        [T - 2] mm / frame^2, the length of the second difference, averaged over vertices: 0 for a
        face that stands still or moves steadily.
    """
    second = vertices[2:] - 2 * vertices[1:-1] + vertices[:-2]
    return np.linalg.norm(second, axis=-1).mean(axis=-1)


class Motion(NamedTuple):
    """What the causal filter remembers.

    Attributes:
        vertices: [V, 3] mm, filtered.
        velocity: [V, 3] mm / frame, filtered.
    """

    vertices: np.ndarray
    velocity: np.ndarray


def causal_step(motion, vertices):
    """Smooths the newest frame by the frames before it.

    A low-pass filter that opens with speed, so that it steadies a still face and does not trail
    behind a moving one. Casiez et al., 2012, the 1 euro filter.

    Args:
        motion: Motion after the frame before, or None at the first.
        vertices: [V, 3] mm.

    Returns:
        Motion; its vertices are the smoothed ones.
    """
    if motion is None:
        return Motion(vertices, np.zeros_like(vertices))
    velocity = motion.velocity + _gain(SPEED_CUTOFF) * (
        vertices - motion.vertices - motion.velocity
    )
    speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
    gain = _gain(CUTOFF + CUTOFF_PER_SPEED * speed)
    return Motion(motion.vertices + gain * (vertices - motion.vertices), velocity)


def offline(values, strength=STRENGTH):
    """Smooths all frames, each by those before and after it.

    The sequence x that is nearest to the values y and jitters least: it minimises |x - y|^2 +
    strength |second difference of x|^2. Whittaker, 1922. Steady motion passes unchanged.

    Args:
        values: [T, ...] float.
        strength: in frames^4, 0 or more; waves of 2 pi strength^(1/4) frames are halved.

    Returns:
        [T, ...], of the type of `values`.
    """
    count = len(values)
    if count < 3 or strength == 0:
        return values.copy()
    second = np.diff(np.eye(3), n=2, axis=0)[0]  # 1, -2, 1
    bands = np.zeros((3, count))  # Of I + strength D'D, upper form.
    bands[2] = 1
    for shift in range(3):
        for start in range(3 - shift):
            stop = start + shift
            bands[2 - shift, stop : count - 2 + stop] += strength * second[start] * second[stop]
    solved = linalg.solveh_banded(bands, values.reshape(count, -1).astype(np.float64))
    return solved.reshape(values.shape).astype(values.dtype)


def _gain(cutoff):
    """Returns the weight of the new value in a first-order low-pass filter, one sample a frame."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff))
