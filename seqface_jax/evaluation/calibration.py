"""Whether a network is as far off as it says: its stated variance against its true errors.

The claim is about coordinates in the canonical frame, so nothing is aligned here: each coordinate
of a pixel is stated as a Gaussian of the predicted mean and one variance. The 90 % band of a
coordinate is then 1.645 standard deviations to either side. A network whose error lies along the
ray of the pixel states the mean of the three variances, a third of the ray's: the shares then come
to between 88.6 % (rays along an axis) and 90 % (a ray that is alike in all three) where it is
calibrated, so that one figure serves both.
"""

import numpy as np
from scipy import special

BAND = 0.9
BAND_WIDTH = float(special.ndtri((1 + BAND) / 2))  # Standard deviations to either side.


def coverage_90(predicted_map, log_variance, true_map, mask):
    """Computes the share of true coordinates inside their stated 90 % band.

    Args:
        predicted_map: [S, S, 3] mm.
        log_variance: [S, S], log of the variance in mm^2 of each coordinate.
        true_map: [S, S, 3] mm.
        mask: [S, S] bool, pixels where the truth has a point.

    Returns:
        float; None if the mask is empty.
    """
    if not mask.any():
        return None
    band = BAND_WIDTH * np.exp(0.5 * np.float64(log_variance[mask]))
    error = np.abs(np.float64(predicted_map[mask]) - true_map[mask])
    return float((error <= band[:, None]).mean())


def sigma_mm(log_variance, mask):
    """Computes the stated standard deviation of a coordinate, root mean square over the mask, mm.

    Equals `coordinate_rms_mm` where the network is calibrated; shrinks as it grows surer.
    """
    return float(np.sqrt(np.exp(np.float64(log_variance[mask])).mean())) if mask.any() else None


def coordinate_rms_mm(predicted_map, true_map, mask):
    """Computes the true error of a coordinate, root mean square over the mask, mm."""
    if not mask.any():
        return None
    return float(np.sqrt(np.square(np.float64(predicted_map[mask]) - true_map[mask]).mean()))
