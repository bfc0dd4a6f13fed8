"""The mean head: a grid lofted through cross-sections, then sculpted by hand-chosen formulas.

Written from average measurements of adult heads; no scanned or licensed asset is in it.

Frame: the canonical frame in mm (+x to the subject's left, +y up, +z out of the face, nose tip
near (0, 0, 90)). The grid has ROWS rows from the crown, over the face, under the chin and down
the neck, and COLUMNS columns from the back over the subject's right, the front and the left to
the back again (the first and the last column coincide). Some rows follow features: lid edges,
lip borders and, between the lips, a fold that opens into the mouth.
"""

import dataclasses
import functools

import numpy as np
from scipy import interpolate, ndimage

from seqface_jax.geometry.smoothstep import smoothstep

EYE_CENTER = np.array([31.5, 36.0, 46.6])  # The subject's left eyeball, mm; the right mirrors it.
EYE_RADIUS = 13.0
LID_RADIUS = 14.3
MOUTH_HALF_WIDTH = 25.5

# One cross-section per line: y in front, at the side and at the back, half width, z in front and
# at the back, z of the widest place.
_SECTIONS = np.array(
    [
        [157.0, 157.0, 157.0, 2.0, -16.0, -20.0, -18.0],
        [152.5, 152.5, 151.5, 30.0, 16.0, -58.0, -20.0],
        [140.0, 138.0, 138.0, 53.0, 42.0, -90.0, -22.0],
        [120.0, 117.0, 115.0, 67.0, 60.5, -108.0, -24.0],
        [100.0, 97.0, 92.0, 73.0, 70.0, -116.0, -24.0],
        [80.0, 77.0, 70.0, 75.5, 75.0, -118.0, -23.0],
        [60.0, 57.0, 48.0, 74.5, 76.2, -115.0, -20.0],
        [43.0, 40.0, 30.0, 72.5, 72.0, -109.0, -16.0],
        [25.0, 22.0, 13.0, 71.0, 71.0, -102.0, -12.0],
        [5.0, 4.0, -6.0, 69.0, 71.0, -95.0, -9.0],
        [-12.0, -10.0, -23.0, 66.0, 71.0, -89.0, -8.0],
        [-30.0, -23.0, -39.0, 62.5, 71.0, -86.0, -8.0],
        [-45.0, -33.0, -53.0, 58.5, 69.0, -84.0, -10.0],
        [-60.0, -42.0, -66.0, 54.0, 66.5, -83.0, -12.0],
        [-70.0, -49.0, -76.0, 51.0, 63.0, -83.0, -15.0],
        [-76.5, -55.0, -84.0, 48.5, 55.0, -83.0, -18.0],
        [-79.0, -62.0, -91.0, 48.5, 42.0, -84.0, -22.0],
        [-84.0, -72.0, -99.0, 50.0, 29.0, -85.0, -26.0],
        [-97.0, -90.0, -109.0, 52.5, 20.0, -86.0, -30.0],
        [-120.0, -116.0, -126.0, 55.0, 15.0, -88.0, -33.0],
        [-150.0, -148.0, -150.0, 60.0, 12.0, -92.0, -37.0],
    ]
)
# Row spacing on the front midline: (from y, rows down to the next y).
_ROW_BANDS = ((157, 14), (100, 13), (62, 9), (50, 38), (23, 26), (-13, 16), (-27, 12), (-35, 12))
_ROW_BANDS_BELOW = ((-44, 10), (-56, 16), (-76, 12), (-84, 5), (-97, 6), (-150, 0))
_FOLD_ROWS = 10  # Rows between the lips, folded into the mouth.
_FOLD_DEPTH = 22.0


def gaussian(x, y, center_x, center_y, sigma_x, sigma_y):
    """Returns exp of minus half the squared, scaled distance in the x, y plane."""
    return np.exp(-0.5 * (((x - center_x) / sigma_x) ** 2 + ((y - center_y) / sigma_y) ** 2))


def smooth_max(a, b, width):
    """Returns the larger of two, rounded where they differ by less than about `width`."""
    return 0.5 * (a + b + np.sqrt((a - b) ** 2 + width**2))


@dataclasses.dataclass(frozen=True)
class Head:
    """The mean head's grid and the names of its special rows.

    Attributes:
        grid: [R, C, 3] mm.
        upper_lid_row, lower_lid_row: rows along the edges of the eye openings.
        upper_lip_row, lower_lip_row: rows along the borders of the red of the lips.
        fold_rows: the slice of rows folded into the mouth; the seam is its first and last row.
        lip_side: [R, C], +1 above the mouth's seam, -1 below, smooth beside the mouth.
        inside_eye: [R, C] in [0, 1], 1 on the surface sunk behind the eyeballs.
    """

    grid: np.ndarray
    upper_lid_row: int
    lower_lid_row: int
    upper_lip_row: int
    lower_lip_row: int
    fold_rows: slice
    lip_side: np.ndarray
    inside_eye: np.ndarray


def lid_edges(local_x):
    """Returns the upper and lower edge of the left eye's opening, mm above the eye's centre.

    Args:
        local_x: x minus the eye's centre; the inner corner lies at -14.5, the outer at 13.
    """
    along = np.clip((local_x + 14.5) / 27.5, 0.0, 1.0)
    tilt = -1.3 + 2.3 * along
    upper = 5.7 * np.sin(np.pi * along**0.86) ** 0.72
    lower = -4.3 * np.sin(np.pi * along**1.12) ** 0.85
    return tilt + upper, tilt + lower


def lip_curves(x):
    """Returns y of the upper border, the seam and the lower border of the lips, mm."""
    along = np.clip(np.abs(x) / MOUTH_HALF_WIDTH, 0.0, 1.0)
    seam = -35.3 + 0.5 * np.exp(-0.5 * (x / 3.5) ** 2) * -1.0 + 0.9 * along**2 - 0.9 * along**6
    fade = (1.0 - along**2.2) ** 0.85
    bow = 0.9 * np.exp(-0.5 * ((np.abs(x) - 5.5) / 3.5) ** 2) - 1.1 * np.exp(-0.5 * (x / 2.6) ** 2)
    upper = seam + fade * (7.0 + bow) + 0.15
    lower = seam - (1.0 - along**2.8) ** 0.8 * (8.6 + 0.8 * np.exp(-0.5 * (x / 8.0) ** 2)) - 0.15
    return upper, seam, lower


def _row_positions():
    """Returns the nominal front y of every row, and the index of the first fold row."""
    y = []
    fold_start = None
    bands = (*_ROW_BANDS, *_ROW_BANDS_BELOW)
    for (start, count), (stop, _) in zip(bands[:-1], bands[1:], strict=True):
        y.extend(np.linspace(start, stop, count, endpoint=False))
        if stop == -35:
            fold_start = len(y)
            y.extend(np.linspace(-34.98, -35.02, _FOLD_ROWS))
    y.append(bands[-1][0])
    return np.array(y), fold_start


def _column_angles():
    """Returns the angle of every column, radians, dense over the face."""
    half = np.concatenate(
        [
            np.linspace(0, 0.92, 62, endpoint=False),
            np.linspace(0.92, 1.75, 22, endpoint=False),
            np.linspace(1.75, np.pi, 12),
        ]
    )
    return np.concatenate([-half[:0:-1], half])


def loft(sections, row_y, angles):
    """Returns the surface through cross-sections, [R, C, 3] mm, at rows and column angles."""
    knots = -sections[:, 0] + 1e-3 * np.arange(len(sections))
    at = np.clip(-row_y, knots[0], knots[-1])
    columns = interpolate.PchipInterpolator(knots, sections)(at)
    columns = columns.T[:, :, None]
    y_front, y_side, y_back, half_width, z_front, z_back, z_wide = columns
    sine, cosine = np.sin(angles)[None], np.cos(angles)[None]
    front = cosine > 0
    y = y_side + (np.where(front, y_front, y_back) - y_side) * cosine**2
    z = z_wide + np.where(front, z_front - z_wide, z_wide - z_back) * cosine
    return np.stack(np.broadcast_arrays(half_width * sine, y, z), axis=-1)


def _bend_rows(grid, rows, targets, weight):
    """Moves rows on the surface to target curves; rows between follow smoothly.

    Args:
        grid: [R, C, 3], changed copy is returned.
        rows: increasing row indices; the first and the last stay where they are.
        targets: [len(rows) - 2, C] wanted y of the inner rows.
        weight: [C] how much each column bends.
    """
    index = np.arange(len(grid))
    shift = np.zeros((len(rows), grid.shape[1]))
    shift[1:-1] = (targets - grid[list(rows[1:-1]), :, 1]) * weight
    bent = grid.copy()
    shifts = interpolate.interp1d(rows, shift, axis=0, bounds_error=False, fill_value=0.0)(index)
    bent[:, :, 1] += shifts
    part = slice(rows[0], rows[-1] + 1)
    for column in np.flatnonzero(weight > 0):  # Points glide on the surface.
        old = grid[part, column][::-1]
        for axis in (0, 2):
            glided = np.interp(bent[part, column, 1], old[:, 1], old[:, axis])
            bent[part, column, axis] = glided
    return bent


def _nose(ax, y):
    """Returns how far the nose stands out of the loft, mm, without the nostrils."""
    ridge_y = [-16.0, -13.0, -10.5, -7.0, -3.0, 0.0, 4.0, 10.0, 18.0, 27.0, 36.0, 43.0, 50.0, 58.0]
    ridge = [0.0, 0.8, 5.0, 12.0, 17.4, 19.0, 18.2, 15.4, 11.6, 7.6, 3.9, 1.6, 0.7, 0.0]
    height = interpolate.PchipInterpolator(ridge_y, ridge)(np.clip(y, -16.0, 58.0))
    width = np.interp(
        y, [-14, -6, 0, 8, 20, 34, 44, 58], [10.0, 10.8, 10.4, 9.6, 9.2, 7.6, 8.0, 12]
    )
    nose = height * np.exp(-0.5 * (ax / width) ** 1.75)
    wing = 9.6 * np.exp(
        -0.5 * (np.abs(ax - 11.8) / 4.8) ** 2.2 - 0.5 * (np.abs(y + 4.0) / 5.4) ** 2.2
    )
    nose = smooth_max(nose, wing, 3.0) - 1.5 * np.exp(-0.5 * (nose / 3.0) ** 2)
    tip = 2.0 * gaussian(ax, y, 0.0, 0.8, 5.0, 5.0)
    groove = -1.3 * gaussian(ax, y, 9.3, 1.5, 2.0, 4.0) - 1.8 * gaussian(
        ax, y, 18.5, -5.0, 2.2, 5.5
    )
    return nose + tip + groove


def _nostrils(ax, y):
    """Returns the depth of the nostrils, mm (negative)."""
    along = (ax - 6.6) * 0.87 + (y + 9.6) * 0.35
    across = -(ax - 6.6) * 0.35 + (y + 9.6) * 0.87
    return -6.0 * np.exp(-0.5 * (np.abs(along / 3.4) ** 3 + np.abs(across / 1.9) ** 3))


def _face_relief(ax, y):
    """Returns the soft forms of the face outside nose, eyes and mouth, mm along z."""
    relief = 2.4 * gaussian(ax, y, 20.0, 53.5, 17.0, 4.5)  # Brow ridge.
    relief += 1.0 * gaussian(ax, y, 40.0, 50.0, 10.0, 5.0)
    relief -= 1.0 * gaussian(ax, y, 0.0, 68.0, 12.0, 9.0)
    relief += 1.2 * gaussian(ax, y, 26.0, 82.0, 16.0, 13.0)  # Frontal eminence.
    relief -= 4.0 * gaussian(ax, y, 68.0, 62.0, 9.0, 15.0)  # Temple.
    relief += 5.0 * gaussian(ax, y, 45.0, 15.0, 15.0, 10.0)  # Cheekbone.
    relief += 2.6 * gaussian(ax, y, 31.0, 2.0, 12.0, 13.0)
    relief -= 2.0 * gaussian(ax, y, 46.0, -22.0, 11.0, 14.0)  # Hollow of the cheek.
    relief += 1.6 * gaussian(ax, y, 33.0, -28.0, 9.0, 12.0)
    fold_x = 20.0 + 0.55 * np.clip(-y - 2.0, 0.0, None)
    fold = np.exp(-0.5 * ((ax - fold_x) / 2.6) ** 2) * np.exp(-0.5 * ((y + 14.0) / 11.0) ** 2)
    relief -= 1.3 * fold  # From the nose to the corner of the mouth.
    relief += 3.4 * gaussian(ax, y, 0.0, -63.0, 15.0, 8.0)  # Chin.
    relief -= 2.6 * gaussian(ax, y, 0.0, -51.5, 15.0, 3.8)
    relief += 3.0 * gaussian(ax, y, 0.0, -36.0, 21.0, 13.0)  # Teeth push the lips out.
    relief -= 0.8 * gaussian(ax, y, 0.0, -21.0, 2.4, 6.0)  # Philtrum and its two edges.
    relief += 0.6 * gaussian(ax, y, 5.2, -21.5, 1.9, 5.5)
    return relief


def _lips(x, y):
    """Returns the relief of the lips, mm along z."""
    upper, seam, lower = lip_curves(x)
    fade = np.clip(1.0 - (np.abs(x) / (MOUTH_HALF_WIDTH + 2.0)) ** 2.4, 0.0, 1.0) ** 1.2
    above = np.clip((y - seam) / np.maximum(upper - seam, 1.5), 0.0, None)
    below = np.clip((seam - y) / np.maximum(seam - lower, 1.5), 0.0, None)
    red_upper = 2.5 * np.sin(np.pi * np.clip(0.10 + 0.62 * above, 0.0, 1.0)) - 0.3
    red_lower = 3.1 * np.sin(np.pi * np.clip(0.0802 + 0.74 * below, 0.0, 1.0)) - 0.3
    upper_lip = red_upper * np.exp(-0.5 * (np.clip(above - 0.85, 0, None) / 0.45) ** 2)
    lower_lip = red_lower * np.exp(-0.5 * (np.clip(below - 0.8, 0, None) / 0.4) ** 2)
    lips = np.where(y > seam, upper_lip, lower_lip)
    crease = -1.8 * np.exp(-0.5 * ((y - seam) / 1.3) ** 2)
    corner = -1.4 * gaussian(np.abs(x), y, MOUTH_HALF_WIDTH + 1.0, -35.0, 3.6, 4.0)
    pout = 1.2 * gaussian(np.abs(x), y, 0.0, -31.5, 3.0, 2.0)
    return fade * (lips + crease + pout) + corner


def _eyes(ax, y, z):
    """Returns z with sockets, lids over the eyeballs and openings, and how much is opening."""
    dx, dy = ax - EYE_CENTER[0], y - EYE_CENTER[1]
    z = z - 7.2 * np.exp(-0.5 * (np.abs(dx + 1.5) / 14.0) ** 2.6 - 0.5 * (np.abs(dy) / 10.5) ** 2.6)
    z = z - 4.2 * gaussian(dx, dy, -10.5, 1.0, 6.0, 9.0)  # Beside the nose.
    z = z + 1.0 * gaussian(dx, dy, 2.0, -13.5, 14.0, 4.0)
    height = np.sqrt(np.clip(LID_RADIUS**2 - dx**2 - dy**2, 0.0, None))
    lid = np.where(height > 0, EYE_CENTER[2] + height - 0.9 * (dy < 0), -100.0)
    near = smoothstep(0.0, 5.0, height)
    z = z + near * (smooth_max(z, lid, 2.2) - 0.25 - z)
    upper, lower = lid_edges(dx)
    crease_y = upper + 3.6 - 0.02 * dx**2
    crease = np.exp(-0.5 * ((dy - crease_y) / 1.1) ** 2) * smoothstep(17.5, 11.0, np.abs(dx))
    z = z - 1.3 * crease
    z = z + 0.9 * np.exp(-0.5 * ((dy - crease_y - 3.0) / 1.8) ** 2) * smoothstep(18, 10, np.abs(dx))
    margin = np.minimum(upper - dy, dy - lower)  # Positive inside the opening.
    inside = (
        smoothstep(0.0, 0.5, margin) * smoothstep(-15.0, -13.4, dx) * smoothstep(13.4, 12.2, dx)
    )
    depth = 1.6 + 5.4 * smoothstep(13.8, 11.0, np.abs(dx))
    return z - depth * inside, inside


def _fold(grid, fold, seam):
    """Folds the rows between the lips into the mouth."""
    folded = grid.copy()
    depth = np.sin(np.linspace(0.0, np.pi, _FOLD_ROWS)) ** 0.7 * _FOLD_DEPTH
    x = grid[fold, :, 0]
    taper = np.clip(1.0 - (np.abs(x) / (MOUTH_HALF_WIDTH - 1.0)) ** 2, 0.0, 1.0)
    front = grid[fold, :, 2] > 0
    folded[fold, :, 2] -= depth[:, None] * taper * front
    return folded


@functools.lru_cache(maxsize=1)
def mean_head():
    """Builds the mean head; the same arrays come back on every call, so do not change them."""
    row_y, fold_start = _row_positions()
    fold = slice(fold_start, fold_start + _FOLD_ROWS)
    angles = _column_angles()
    grid = loft(_SECTIONS, row_y, angles)
    mouth = np.arange(len(row_y))
    outside = np.setdiff1d(mouth, np.arange(fold.start, fold.stop))
    grid[outside] = ndimage.gaussian_filter1d(grid[outside], 2.0, axis=0, mode='nearest')
    between = np.linspace(0.0, 1.0, _FOLD_ROWS + 2)[1:-1, None, None]
    grid[fold] = grid[fold.start - 1] * (1.0 - between) + grid[fold.stop] * between
    front = np.cos(angles) > 0
    ax = np.abs(grid[:, :, 0])

    lid_rows = [int(np.argmin(np.abs(row_y - y))) for y in (52.0, 38.5, 34.2, 21.0)]
    eye_x = ax[lid_rows[1]] - EYE_CENTER[0]
    upper, lower = lid_edges(eye_x)
    gap = np.maximum(0.3 - (upper - lower), 0.0) / 2
    targets = np.stack([upper + gap, lower - gap]) + EYE_CENTER[1]
    eye_weight = smoothstep(24.0, 13.0, np.abs(eye_x + 0.7)) * front
    grid = _bend_rows(grid, lid_rows, targets, eye_weight)

    upper_lip = int(np.argmin(np.abs(row_y + 27.5)))
    lower_lip = int(np.argmin(np.abs(row_y + 44.0)))
    ends = [int(np.argmin(np.abs(row_y - y))) for y in (-15.0, -57.0)]
    lip_rows = [ends[0], upper_lip, fold.start, fold.stop - 1, lower_lip, ends[1]]
    lip_upper, seam, lip_lower = lip_curves(grid[fold.start, :, 0])
    # Beyond the corners the rows keep their distances, or thin triangles would crease the skin.
    rest = grid[lip_rows[1:-1], :, 1]
    shifted = rest + seam - rest[1:3].mean(axis=0)
    lip_targets = np.stack([np.maximum(lip_upper, seam + 0.8), seam + 0.06, seam - 0.06,
                            np.minimum(lip_lower, seam - 0.8)])  # fmt: skip
    lip_targets = shifted + (lip_targets - shifted) * smoothstep(28.5, 24.0, ax[fold.start])
    lip_weight = smoothstep(42.0, 26.0, ax[fold.start]) * front
    grid = _bend_rows(grid, lip_rows, lip_targets, lip_weight)

    for row in range(ends[0] + 1, ends[1]):  # Rows never cross, however thin they get.
        grid[row, :, 1] = np.minimum(grid[row, :, 1], grid[row - 1, :, 1] - 0.02)

    x, y = grid[:, :, 0], grid[:, :, 1]
    soft_x = np.hypot(x, 1.5)  # No kink on the midline.
    relief = (
        _nose(np.hypot(x, 2.6), y) + _nostrils(soft_x, y) + _face_relief(soft_x, y) + _lips(x, y)
    )
    facing = smoothstep(-0.05, 0.35, np.cos(angles))[None]
    chin = smoothstep(-78.0, -70.0, y) * smoothstep(45.0, 58.0, grid[:, :, 2])
    under_chin = np.maximum(smoothstep(-68.0, -56.0, y), chin)
    grid[:, :, 2] += relief * facing * under_chin
    sculpted, inside_eye = _eyes(np.abs(x), y, grid[:, :, 2])
    grid[:, :, 2] = np.where(facing > 0, sculpted, grid[:, :, 2])
    grid = _fold(grid, fold, seam)
    side = np.where(np.arange(len(row_y)) < fold.start + _FOLD_ROWS // 2, 1.0, -1.0)[:, None]
    blend = smoothstep(20.0, 30.0, np.abs(x))
    lip_side = side * (1 - blend) + blend * np.clip((y + 35.3) / 10.0, -1.0, 1.0)
    grid[:, -1] = grid[:, 0]
    return Head(
        grid, lid_rows[1], lid_rows[2], upper_lip, lower_lip, fold, lip_side, inside_eye * front
    )


def grid_triangles(rows, columns):
    """Returns the triangles of a grid, [F, 3] int32, counter-clockwise seen from outside."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    upper_left, upper_right = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    lower_left, lower_right = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.stack(
        [
            np.stack([upper_left, lower_left, upper_right], axis=1),
            np.stack([upper_right, lower_left, lower_right], axis=1),
        ],
        axis=1,
    ).reshape(-1, 3)
