"""The edges of a surface: closed loops of edges that one triangle only has."""

import numpy as np


def directed_edges(triangles):
    """Returns the edges of triangles [F, 3] in their direction, [3 F, 2] int64."""
    triangles = np.asarray(triangles, np.int64)
    return np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])


def boundary_loops(triangles):
    """Returns the loops of triangles [F, 3], a list of [L] vertices in the triangles' direction."""
    edges = directed_edges(triangles)
    count = edges.max(initial=0) + 1
    single = ~np.isin(edges @ [count, 1], edges @ [1, count])
    after, loops = dict(edges[single].tolist()), []
    while after:
        loop = [next(iter(after))]
        while loop[-1] in after:
            loop.append(after.pop(loop[-1]))
        if loop[0] == loop[-1]:
            loops.append(np.array(loop[:-1]))
    return loops
