"""The raw scan as every reader returns it, and the checks that all readers share."""

import dataclasses

import numpy as np

from seqface_jax.errors import UserError

MAX_VERTICES = 5_000_000  # A BU-4DFE scan has 35,000; far above that a header is corrupt.
MAX_CORNERS = 40_000_000  # Polygon corners of one file.
_MAX_NUMBER_LENGTH = 64  # Characters; a longer "number" is binary rubbish.


class ScanError(UserError):
    """Raised for a scan file that cannot be read; one sentence with the file and the place."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """One triangle mesh.

    Attributes:
        vertices: [V, 3] float32, mm.
        triangles: [F, 3] int32 vertex indices.
        uv: [V, 2] float32, v up, or None. Where the file gives a vertex several texture
            coordinates (a seam), one of them.
        texture: name of the image as the file writes it, or None.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray | None = None
    texture: str | None = None


def make_scan(path, vertices, triangles, uv=None, texture=None):
    """Returns a Scan after the checks that hold for every format; raises ScanError."""
    vertices = np.asarray(vertices, np.float32).reshape(-1, 3)
    triangles = np.asarray(triangles).reshape(-1, 3)
    if len(vertices) == 0:
        raise ScanError(f'{path}: no vertices; give a scan with a surface.')
    if len(vertices) > MAX_VERTICES:
        raise ScanError(f'{path}: {len(vertices)} vertices; at most {MAX_VERTICES} are read.')
    if len(triangles) == 0:
        raise ScanError(f'{path}: no faces, only {len(vertices)} points; give a surface.')
    check_finite(path, 'vertices', vertices)
    check_indices(path, 'faces', triangles, len(vertices), 'vertices')
    if uv is not None:
        uv = np.asarray(uv, np.float32)
        check_finite(path, 'texture coordinates', uv)
    return Scan(vertices, triangles.astype(np.int32), uv, texture)


def check_finite(path, place, values):
    """Raises ScanError where a row of `values` holds NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=-1))
    if len(bad):
        raise ScanError(f'{path}, {place}: row {bad[0]} is not finite; export the scan again.')


def check_indices(path, place, indices, count, what):
    """Raises ScanError where an index is outside [0, count)."""
    bad = np.flatnonzero(((indices < 0) | (indices >= count)).ravel())
    if len(bad):
        value = np.ravel(indices)[bad[0]]
        raise ScanError(f'{path}, {place}: index {value} is out of range of {count} {what}.')


def parse_numbers(path, place, tokens, dtype):
    """Returns a list of byte strings as an array of `dtype`; raises ScanError with the place."""
    if not tokens:
        return np.zeros(0, dtype)
    if len(tokens) > MAX_CORNERS:
        raise ScanError(f'{path}, {place}: {len(tokens)} numbers; at most {MAX_CORNERS} are read.')
    if max(map(len, tokens)) > _MAX_NUMBER_LENGTH:
        raise ScanError(f'{path}, {place}: holds something that is not a number.')
    try:
        return np.array(tokens).astype(dtype)
    except (ValueError, OverflowError):
        token = next(token for token in tokens if not _is_number(token, dtype))
        text = token.decode('ascii', 'replace')
        raise ScanError(f'{path}, {place}: {text!r} is not a number of the kind needed.') from None


def _is_number(token, dtype):
    try:
        np.array([token]).astype(dtype)
    except (ValueError, OverflowError):
        return False
    return True


def triangulate(counts):
    """Returns the fan triangles of polygons that lie one after the other in a corner list.

    Args:
        counts: [P] int, corners of each polygon; those with fewer than three give none.

    Returns:
        [F, 3] int64 positions in the corner list, polygon by polygon.
    """
    counts = np.asarray(counts, np.int64)
    starts = np.cumsum(counts) - counts
    fans = np.maximum(counts - 2, 0)
    first = np.repeat(starts, fans)
    step = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def uv_per_vertex(num_vertices, corner_vertices, corner_uv):
    """Returns [V, 2] float32: for each vertex the uv of its first corner, zero without any."""
    uv = np.zeros((num_vertices, 2), np.float32)
    uv[corner_vertices[::-1]] = corner_uv[::-1]  # The last one written stays.
    return uv
