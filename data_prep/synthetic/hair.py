"""Hair as a shell over the head: where it grows, how thick it stands, how it hangs."""

import cv2
import numpy as np

from seqface_jax.geometry.smoothstep import smoothstep

STRIDE = 2  # The shell uses every second row and column of the head's grid.

# Height in mm of the hairline over the angle around the head (0 in front, pi behind).
_ANGLE = np.array([0.0, 0.35, 0.65, 0.88, 1.05, 1.2, 1.32, 1.42, 1.52, 1.85, 1.98, 2.1, 2.5, np.pi])
_LINE = np.array([99, 100, 101, 93, 73, 50, 30, 16, 46, 47, 12, -22, -48, -52.0])
_LINE_TIED = np.array([101, 102, 102, 94, 76, 52, 36, 30, 46, 47, 20, -12, -38, -42.0])
_FRINGE = np.array([70, 70, 72, 78, 66, 46, 24, 0, 40, 44, 0, -40, -60, -62.0])
_LINES = {'fringe': _FRINGE, 'tied': _LINE_TIED}
# Full thickness in mm over the top and at the sides.
_THICKNESS = {
    'shaved': (0.0, 0.0),
    'short': (10.0, 5.0),
    'swept': (20.0, 8.0),
    'fringe': (13.0, 10.0),
    'long': (13.0, 11.0),
    'tied': (7.0, 5.0),
}

# Within so many mm of its line detailed hair reaches its thickness: combed up, or lying flat.
_FULL_WITHIN = {'short': 42.0, 'swept': 24.0, 'fringe': 6.0, 'long': 34.0, 'tied': 40.0}


def _angles(grid):
    """Returns the angle around the head's axis of every grid point, radians in [0, pi]."""
    return np.abs(np.arctan2(grid[..., 0], grid[..., 2] + 16.0))


def hair_amount(grid, looks):
    """Returns how far inside the hair every point of the mean head lies, [R, C] mm."""
    angle = _angles(grid)
    line = np.interp(angle, _ANGLE, _LINES.get(looks.hair_style, _LINE))
    line = line + looks.hairline * smoothstep(1.1, 0.6, angle)
    return (grid[..., 1] - line).astype(np.float32)


def hair_shell(mean_grid, grid, normals, looks, *, detailed=False):
    """Returns the shell of the hair and where it grows; both None if shaved.

    Where no hair grows the shell lies inside the head, so its visible edge is where it emerges.

    Args:
        mean_grid: [R, C, 3] the mean head, where hairlines are defined.
        grid: [R, C, 3] this person's head, mm.
        normals: [R, C, 3] its unit normals.
        looks: Appearance.
        detailed: with every row and column, ragged edges that rise gently, and single locks.

    Returns:
        shell [R', C', 3] mm, and [R', C'] bool, True on the hair and a margin around it; R' and C'
        are R and C if detailed, else half of them, rounded up.
    """
    if looks.hair_style == 'shaved':
        return None, None
    stride = 1 if detailed else STRIDE
    mean_grid, grid = mean_grid[::stride, ::stride], grid[::stride, ::stride]
    normals = normals[::stride, ::stride]
    rng = np.random.default_rng(looks.seed + 1)
    columns = grid.shape[1]
    lock = np.convolve(rng.standard_normal(columns + 8), np.hanning(7) / 2, mode='same')[4:-4]
    lock[-1] = lock[0]
    wave = 0.3 * np.sin(np.linspace(0, rng.uniform(6, 16), grid.shape[0]))[:, None]
    inside = hair_amount(mean_grid, looks) + 1.5 * lock[None, :]
    if detailed:
        inside = inside + _ragged_line(mean_grid, rng)
    top, sides = _THICKNESS[looks.hair_style]
    high = smoothstep(60.0, 130.0, mean_grid[..., 1])
    thickness = looks.hair_thickness * (sides + (top - sides) * high)
    if looks.hair_style == 'swept':
        thickness = thickness * (1.0 + 0.35 * np.tanh(mean_grid[..., 0] / 30.0) * high)
    full = _FULL_WITHIN[looks.hair_style] if detailed else 16.0
    grow = smoothstep(0.0, full if looks.hair_style != 'fringe' else 6.0, inside)
    offset = -6.0 + 7.0 * smoothstep(-4.0, 1.5, inside) + thickness * grow
    offset = offset + (0.8 * lock[None, :] + wave) * grow
    if detailed:
        offset = offset + _locks(offset.shape, looks, rng) * grow
    shell = grid + normals * offset[..., None]
    return shell.astype(np.float32), inside > -8.0


def _ragged_line(mean_grid, rng):
    """Returns by how much a detailed hairline lies lower than the plain one, [R, C] mm."""
    angle = _angles(mean_grid)
    side = np.sign(mean_grid[..., 0])
    around = side * angle
    line = np.zeros_like(angle)
    for waves, size in ((3, 2.0), (7, 1.5), (19, 1.6), (41, 1.3)):
        line = line + size * rng.normal() * np.sin(waves * around + rng.uniform(0, 2 * np.pi))
    temples = np.exp(-0.5 * ((angle - 0.62) / 0.16) ** 2)  # The hairline recedes there first.
    return line - rng.uniform(0.0, 12.0) * temples + rng.normal(0.0, 3.0) * np.cos(3 * angle)


def _locks(shape, looks, rng):
    """Returns how far single locks stand out of the shell, [R, C] mm: long down, thin across."""
    coarse = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 2.0, sigmaY=14.0)
    fine = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 0.8, sigmaY=8.0)
    size = 0.4 + 0.09 * max(_THICKNESS[looks.hair_style])
    return size * (coarse / coarse.std() + 0.5 * fine / fine.std())


def curtain(shell, looks):
    """Returns long hair that falls beside the face and behind it, [R, C, 3] mm, or None.

    Args:
        shell: [R, C, 3] mm, the hair on the head, which hides the curtain's upper edge.
        looks: Appearance.
    """
    if looks.hair_style != 'long':
        return None
    rng = np.random.default_rng(looks.seed + 2)
    temple = np.abs(shell[..., 1] - 55.0) < 15.0
    half_width = max(float(np.abs(shell[temple, 0]).max()) - 2.0, 83.0)
    back = float(shell[temple, 2].min()) + 2.0
    front = rng.uniform(1.25, 1.5)
    angle = np.linspace(front, 2 * np.pi - front, 97)[None, :]
    y = np.linspace(66.0, rng.uniform(-150.0, -85.0), 30)[:, None]
    fall = (66.0 - y) / 200.0
    locks = np.convolve(rng.standard_normal(105), np.hanning(7) / 2, mode='same')[4:-4]
    radius = 1.0 - 0.16 * smoothstep(30.0, 66.0, y) + 0.03 * locks[None, :] * (0.3 + fall)
    radius = radius + 0.02 * np.sin(5.0 * fall + rng.uniform(0, 6)) - 0.10 * fall
    edge = np.minimum(angle - front, 2 * np.pi - front - angle)
    radius = radius - 0.16 * smoothstep(0.12, 0.0, edge)  # The edge is rolled in.
    radius = radius - 0.25 * smoothstep(0.90, 1.0, fall / fall.max()) ** 2
    x = half_width * np.sin(angle) * radius
    z = -22.0 + np.where(np.cos(angle) > 0, 62.0, -22.0 - back) * np.cos(angle) * radius
    return np.stack(np.broadcast_arrays(x, y + 0.0 * x, z), axis=-1).astype(np.float32)
