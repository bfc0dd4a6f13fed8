"""Smooth random deformations of a head: shapes that no linear model of faces spans.

The modes of a face model are those of the people it was made of. A network that has seen nothing
else takes whatever lies outside them for noise. A Gaussian process over the deformations is the
usual way to widen such a model (Luethi, Gerig, Jud and Vetter 2018, "Gaussian process morphable
models", whose kernel is a sum over scales, as here).
"""

import numpy as np

from seqface_jax.geometry.smoothstep import smoothstep

# Length in mm over which a displacement changes, and its share of the standard deviation. The
# longest makes faces wide or long, the middle one cheeks and noses, the shortest lips and lids.
_SCALES = ((60.0, 0.66), (30.0, 0.66), (15.0, 0.36))
_FEATURES = 48  # Waves of each scale.
# Share of the standard deviation that differs between the sides; the rest is alike.
_ASYMMETRIC = 0.3
# Within the first distance of an eye's centre all moves as one, beyond the second freely, mm:
# else eyes would squint and come through their lids.
_EYE_MM = (14.0, 28.0)
_MIRROR = np.array([-1.0, 1.0, 1.0])


def sample_deformation(rng, deviation_mm):
    """Draws a smooth displacement field.

    Random Fourier features of a Gaussian kernel (Rahimi and Recht 2007).

    Args:
        rng: numpy Generator.
        deviation_mm: standard deviation of each coordinate's displacement.

    Returns:
        a function of points [N, 3] mm, in a head's frame, and of the centres of its eyes, a list
        of [3] float32 mm, that returns the displacements of the points, [N, 3] float32 mm.
    """
    waves = np.concatenate(
        [rng.standard_normal((_FEATURES, 3)) / length for length, _ in _SCALES]
    ).astype(np.float32)
    phases = rng.uniform(0.0, 2 * np.pi, len(waves)).astype(np.float32)
    shares = np.repeat([share for _, share in _SCALES], _FEATURES)
    size = deviation_mm * shares[:, None] * np.sqrt(2.0 / _FEATURES)
    weights = (rng.standard_normal((len(waves), 3)) * size).astype(np.float32)
    # Half the sum and half the difference of a field and its mirror image: each has half of its
    # variance.
    even = np.sqrt(2.0 * (1.0 - _ASYMMETRIC**2))
    odd = np.sqrt(2.0) * _ASYMMETRIC

    def field(points):
        here = np.cos(points @ waves.T + phases) @ weights
        mirrored = np.cos((points * _MIRROR.astype(np.float32)) @ waves.T + phases) @ weights
        mirrored = mirrored * _MIRROR
        moved = even * (here + mirrored) / 2 + odd * (here - mirrored) / 2
        return moved.astype(np.float32)

    def displacement(points, eye_centers):
        points = np.asarray(points, np.float32)
        moved = field(points)
        for center in eye_centers:
            distance = np.linalg.norm(points - center, axis=1)
            held = smoothstep(_EYE_MM[1], _EYE_MM[0], distance)[:, None].astype(np.float32)
            moved = moved + held * (field(center[None]) - moved)
        return moved

    return displacement
