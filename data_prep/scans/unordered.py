"""The thesis's training target: points drawn from the scan's surface, without correspondence.

The thesis sampled with Open3D's `sample_points_uniformly`. Releases before 0.16 hand the points
out triangle by triangle, in the order of the file; from 0.16 on the order is random. The thesis
trains with an error per point index, which can only learn something because index k lies at a
similar place in every scan's triangle list. So this file keeps the old order on purpose.
"""

import numpy as np

NUM_POINTS = 16384  # 2 ** 14, as in the thesis.


def sample_points(scan, count=NUM_POINTS, *, seed):
    """Draws points uniformly by area, in the order of the triangles.

    As Open3D 0.15 does it: triangle i holds the points up to round(count * share of the area
    of triangles 0..i), each uniform inside its triangle (Osada et al., 2002, eq. 1).

    Args:
        scan: a Scan with a surface of positive area.
        count: number of points N.
        seed: int or sequence of ints of numpy's default_rng.

    Returns:
        [N, 3] float32, in the scan's frame and unit.
    """
    a, b, c = np.moveaxis(scan.vertices[scan.triangles].astype(np.float64), 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    ends = np.round(np.cumsum(area) / area.sum() * count).astype(np.int64)
    ends[-1] = count
    chosen = np.repeat(np.arange(len(area)), np.diff(ends, prepend=0))
    root, share = np.random.default_rng(seed).random((2, count, 1))
    root = np.sqrt(root)
    points = (1 - root) * a[chosen] + root * (1 - share) * b[chosen] + root * share * c[chosen]
    return points.astype(np.float32)
