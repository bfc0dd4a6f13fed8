"""The colour of the skin, painted in the head's grid by formulas of the mean face's mm."""

import cv2
import numpy as np

from data_prep.synthetic import head
from data_prep.synthetic.hair import hair_amount
from data_prep.synthetic.head import EYE_CENTER, gaussian
from seqface_jax.geometry.smoothstep import smoothstep


def upsample(grid, scale):
    """Returns a grid image with `scale` texels per cell, corners on corners, float32."""
    rows, columns = grid.shape[:2]
    across, down = np.meshgrid(
        np.arange((columns - 1) * scale + 1, dtype=np.float32) / scale,
        np.arange((rows - 1) * scale + 1, dtype=np.float32) / scale,
    )
    return cv2.remap(grid.astype(np.float32), across, down, cv2.INTER_LINEAR)


def noise(rng, shape, *sizes):
    """Returns smooth noise of unit spread, blurred by sizes (rows, columns) in texels."""
    down, across = sizes
    step = max(1, int(min(down, across) / 2))
    small = rng.standard_normal((shape[0] // step + 2, shape[1] // step + 2)).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), max(across / step, 0.1), sigmaY=max(down / step, 0.1))
    large = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return large / max(float(large.std()), 1e-6)


def plane_noise(rng, x, y, size):
    """Returns noise of unit spread that is even in the x, y plane, blurred by `size` mm."""
    texels = 2.5  # Per mm.
    plane = noise(rng, (int(320 * texels), int(200 * texels)), size * texels, size * texels)
    across, down = (x + 100.0) * texels, (160.0 - y) * texels
    return cv2.remap(plane, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REFLECT)  # fmt: skip


def _mix(image, color, amount):
    """Lays a colour over an image; amount [H, W] in [0, 1]."""
    amount = np.clip(amount, 0.0, 1.0)[..., None].astype(np.float32)
    return image + (np.asarray(color, np.float32) - image) * amount


def _tones(image, looks, rng, ax, x, y):
    """Paints mottling, blush, shadows under the eyes and freckles."""
    coarse = plane_noise(rng, x, y, 8.0) * 0.03 + plane_noise(rng, x, y, 2.5) * 0.02
    fine = plane_noise(rng, x, y, 0.5) * 0.025
    image = image * (1.0 + looks.mottling * (coarse + fine))[..., None]
    red = 0.9 * gaussian(ax, y, 40, 3, 14, 14) + 0.8 * gaussian(ax, y, 0, -3, 13, 9)
    red += 0.5 * gaussian(ax, y, 0, -64, 15, 9) + 0.25 * gaussian(ax, y, 0, 80, 40, 20)
    red *= 1.0 + 0.3 * plane_noise(rng, x, y, 5.0)
    red = (looks.blush * red).astype(np.float32)[..., None]
    image = image * (1.0 - red * np.array([-0.02, 0.22, 0.20], np.float32))
    dx, dy = ax - EYE_CENTER[0], y - EYE_CENTER[1]
    socket = np.exp(-0.5 * np.hypot(dx / 15, dy / 10) ** 4) * 0.14
    bags = gaussian(dx, dy, -5, -10.5, 9, 4) * 0.2 + gaussian(dx, dy, -13, 2, 5, 8) * 0.16
    shade = (looks.under_eye * bags + socket).astype(np.float32)[..., None]
    image = image * (1.0 - shade * np.array([0.75, 1.0, 0.9], np.float32))
    if looks.freckles > 0:
        spots = np.clip(plane_noise(rng, x, y, 0.6) - 1.7, 0, 1) * gaussian(ax, y, 22, 8, 26, 15)
        image = _mix(image, looks.skin * [0.62, 0.48, 0.40], 0.8 * looks.freckles * spots)
    for _ in range(looks.moles):
        spot = np.hypot(x - rng.uniform(-50, 50), y - rng.uniform(-60, 80)) / rng.uniform(0.7, 1.5)
        image = _mix(image, looks.skin * 0.18, 0.8 * smoothstep(1.2, 0.7, spot))
    return image


def _beard(image, looks, rng, ax, y, scale):
    """Paints stubble or a short beard on the lower face."""
    hairy = smoothstep(-6.0, -24.0, y - 0.45 * (ax - 26.0).clip(0)) * smoothstep(-100, -78, y)
    hairy = hairy * (1.0 - gaussian(ax, y, 0, -36, 22, 6)) * (1 - gaussian(ax, y, 30, -12, 13, 9))
    hairy = np.maximum(
        hairy, 0.9 * np.exp(-0.5 * ((y + 21) / 4.5) ** 4) * (ax < 26) * smoothstep(27, 21, ax)
    )
    speck = np.clip(0.55 + 0.45 * noise(rng, y.shape, 0.8, 0.5), 0, 1)
    shadow = looks.skin * 0.45 + np.array([0.01, 0.012, 0.016])
    image = _mix(image, shadow, 0.34 * looks.stubble * hairy * (0.6 + 0.6 * speck))
    strands = np.clip(0.8 + 0.2 * noise(rng, y.shape, 1.2 * scale, 0.5), 0.3, 1.0)
    full = smoothstep(0.25, 0.8, hairy + 0.05 * noise(rng, y.shape, scale, scale))
    return _mix(image, looks.brow * 0.9, 0.9 * looks.beard * full * strands)


def _brows(image, looks, rng, ax, y, scale):
    """Paints the eyebrows as a band of strokes."""
    along = np.clip((ax - 11.5) / 36.0, 0.0, 1.0)
    middle = 50.6 + 2.2 * along + looks.brow_arch * np.sin(np.pi * along**1.15) - 3.4 * along**3
    half = (
        looks.brow_thickness * (0.55 + 0.62 * np.sin(np.pi * np.clip(along, 0.18, 1) ** 0.7)) * 0.8
    )
    across = (y - middle) / half
    band = np.exp(-0.5 * np.abs(across) ** 3.2)
    ends = smoothstep(8.5, 15.0, ax) * smoothstep(49.5, 42.0, ax)
    strokes = np.clip(0.78 + 0.28 * noise(rng, y.shape, 0.9 * scale, 0.35 * scale), 0.25, 1.0)
    return _mix(image, looks.brow, looks.brow_density * band * ends * strokes)


def _lids(image, looks, ax, y, inside):
    """Paints lashes, the lids' wet edge and the corner of the eye."""
    dx, dy = ax - EYE_CENTER[0], y - EYE_CENTER[1]
    upper, lower = head.lid_edges(dx)
    near = smoothstep(17.5, 13.0, np.abs(dx + 0.7))
    image = _mix(image, [0.30, 0.10, 0.08], 0.85 * inside)
    thick = 0.55 + 0.75 * looks.lashes * np.clip((dx + 14.0) / 26.0, 0.15, 1.0)
    line = np.exp(-0.5 * ((dy - upper - 0.35 * thick) / thick) ** 2) * near
    image = _mix(image, looks.brow * 0.25, (0.5 + 0.45 * looks.lashes) * line)
    below = np.exp(-0.5 * ((dy - lower + 0.4) / 0.55) ** 2) * near
    image = _mix(image, looks.brow * 0.5, 0.35 * looks.lashes * below)
    crease = np.exp(-0.5 * ((dy - upper - 3.6 + 0.02 * dx**2) / 0.8) ** 2) * near
    return image * (1.0 - 0.3 * crease[..., None].astype(np.float32))


def _lips(image, looks, rng, x, y, depth, scale, seam_strength):
    """Paints the lips, the dark seam, and the inside of the mouth."""
    upper, seam, lower = head.lip_curves(x)
    wide = smoothstep(head.MOUTH_HALF_WIDTH + 1.0, head.MOUTH_HALF_WIDTH - 2.0, np.abs(x))
    red = smoothstep(-0.6, 0.6, upper - y) * smoothstep(-0.7, 0.7, y - lower) * wide
    lines = 1.0 + 0.05 * noise(rng, y.shape, 3.0 * scale, 0.5 * scale)
    tint = (0.35 * looks.skin + 0.65 * np.minimum(looks.lip, looks.skin * 1.05)) * 0.92
    image = _mix(image, tint, looks.lip_strength * red * lines)
    image = image * (1.0 - 0.12 * red[..., None].astype(np.float32))
    narrow = smoothstep(head.MOUTH_HALF_WIDTH + 0.5, head.MOUTH_HALF_WIDTH - 8.0, np.abs(x))
    dark = np.exp(-0.5 * ((y - seam) / 0.6) ** 2) * (0.25 * wide + 0.55 * narrow)
    image = _mix(image, looks.skin * [0.30, 0.16, 0.15], seam_strength * dark)
    return _mix(image, [0.10, 0.02, 0.02], smoothstep(1.0, 6.0, depth))


def _in_front(painted, image, z, all_round):
    """Returns the painted image on the face and the plain one behind it, at z in mm."""
    if not all_round:
        return np.where((z > 0)[..., None], painted, image)
    amount = smoothstep(-35.0, 8.0, z)[..., None].astype(np.float32)
    return image + (painted - image) * amount


def paint(grid, looks, scale, *, all_round=False):
    """Paints the albedo of the head.

    Args:
        grid: Head, the mean head.
        looks: Appearance.
        scale: texels per grid cell.
        all_round: the sides are painted as well as the front, and what the shape itself shows,
            such as the seam of the lips, is painted faintly: for heads with finer shapes.

    Returns:
        albedo [(R - 1) * scale + 1, (C - 1) * scale + 1, 3] float32 linear RGB, and gloss
        [..., 1] float32, the strength of the skin's shine, alike sized.
    """
    rng = np.random.default_rng(looks.seed)
    place = upsample(grid.grid, scale)
    x, y, z = np.moveaxis(place, -1, 0)
    ax = np.abs(x)
    depth = np.zeros(grid.grid.shape[:2], np.float32)
    fold = grid.fold_rows
    depth[fold] = grid.grid[fold.start, :, 2] - grid.grid[fold, :, 2]
    image = np.broadcast_to(looks.skin.astype(np.float32), (*y.shape, 3)).copy()
    # Noise that is even in x and y would be smeared where the surface runs along z.
    across = x + np.sign(x) * np.clip(25.0 - z, 0.0, None) if all_round else x
    image = _tones(image, looks, rng, ax, across, y)
    if looks.stubble > 0 or looks.beard > 0:
        bearded = _beard(image, looks, rng, ax, y, scale)
        image = _in_front(bearded, image, z, all_round)
    painted = _brows(image, looks, rng, ax, y, scale)
    painted = _lids(painted, looks, ax, y, upsample(grid.inside_eye, scale))
    painted = _lips(
        painted, looks, rng, x, y, upsample(depth, scale), scale, 0.3 if all_round else 1.0
    )
    along, across = (ax - 6.8) * 0.9 + (y + 9.2) * 0.3, -(ax - 6.8) * 0.3 + (y + 9.2) * 0.9
    hole = np.exp(-0.5 * (np.hypot(along / 3.2, across / 1.9)) ** 3)
    painted = _mix(painted, looks.skin * [0.16, 0.09, 0.08], 0.92 * hole)
    wing = np.exp(-0.5 * ((np.hypot((ax - 11.5) / 6.8, (y + 4.5) / 6.4) - 1.0) / 0.16) ** 2)
    wing = wing * smoothstep(11.0, 15.0, ax + 0.6 * (-4.0 - y).clip(0))
    under = gaussian(ax, y, 0, -11.5, 11, 2.2)
    painted = painted * (1 - (0.22 * wing + 0.22 * under)[..., None].astype(np.float32))
    image = _in_front(painted, image, z, all_round)
    scalp = hair_amount(grid.grid, looks)
    ragged = upsample(scalp, scale) + 2.5 * noise(rng, y.shape, 3.0 * scale, 0.4 * scale)
    cover = 0.45 if looks.hair_style == 'shaved' else 0.9
    image = _mix(image, looks.hair * 0.8, cover * smoothstep(-3.0, 8.0, ragged))
    gloss = 0.55 + 0.6 * gaussian(ax, y, 0, 5, 9, 22) + 0.4 * gaussian(ax, y, 0, 75, 35, 18)
    gloss += 0.5 * gaussian(ax, y, 40, 12, 12, 10) + 0.9 * gaussian(ax, y, 0, -42, 18, 4)
    gloss = gloss * looks.gloss * (1 - 0.8 * smoothstep(-3.0, 8.0, ragged))
    return np.clip(image, 0.001, 1.0).astype(np.float32), gloss.astype(np.float32)
