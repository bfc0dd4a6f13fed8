"""A mesh for rays to be cast at."""

import numpy as np


def ray_scene(vertices, triangles):
    """Returns Open3D's RaycastingScene of a mesh, [V, 3] and [F, 3].

    It is built by one thread, for several processes share the machine.
    """
    import open3d as o3d  # It takes seconds to import, and only preparing data needs it.

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(triangles, np.uint32)),
    )
    return scene
