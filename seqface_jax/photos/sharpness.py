"""How sharp a face is on its photo: below MIN_SHARPNESS its shape cannot be read."""

import cv2
import numpy as np

# Side of the copy that is judged, in pixels: what is finer than a 128th of the crop no network
# here reads, and a small face that was enlarged is blurred.
SIDE = 128
KERNEL = 9  # Pixels, of the blur that a sharp picture suffers from and a blurred one does not.
NOISE = 0.02  # Steps between neighbours below this share of the picture's contrast say nothing.
# Sharp photos, taken or rendered, measure 0.5 to 0.6. A Gaussian of 2.5 % of the crop's side (6
# pixels of 256), or a smear of 9 %, takes them to about 0.22: eyelids and lips are gone by then.
MIN_SHARPNESS = 0.22


def sharpness(crop):
    """Measures the sharpness of a face crop, along its more blurred axis.

    What a blur of fixed size changes: the share of the variation between neighbours that it
    removes. Independent of contrast and brightness. Crete et al., 2007, The blur effect.

    Args:
        crop: [S, S, 3] uint8 RGB.

    Returns:
        float in [0, 1]: 0 for a flat or perfectly smooth picture.
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    # The noise of a sensor is no detail: it would pass for sharpness in a blurred photo.
    gray = cv2.GaussianBlur(gray, (3, 3), 0)
    noise = NOISE * float(gray.std())
    removed = []
    for axis, kernel in ((0, (1, KERNEL)), (1, (KERNEL, 1))):  # OpenCV: (width, height).
        blurred = cv2.blur(gray, kernel)
        variation = np.maximum(np.abs(np.diff(gray, axis=axis)) - noise, 0)
        kept = np.maximum(np.abs(np.diff(blurred, axis=axis)) - noise, 0)
        total = float(variation.sum())
        removed.append(float(np.maximum(variation - kept, 0).sum()) / total if total > 0 else 0.0)
    return min(removed)
