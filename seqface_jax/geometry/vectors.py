"""Vectors: unit length, and the angles of a direction. For NumPy's arrays and for JAX's."""


def unit(vectors):
    """Returns vectors [..., D] scaled to length one; a vector of zeros stays as it is."""
    xp = vectors.__array_namespace__()
    length = xp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / xp.where(length > 0, length, 1)


def azimuth_elevation(points):
    """Returns the direction of points [..., 3] from the origin: azimuth [...], elevation [...].

    In radians. Azimuth is 0 in front (+z) and positive towards +x, the subject's left; elevation
    is positive upwards (+y).
    """
    xp = points.__array_namespace__()
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return xp.atan2(x, z), xp.atan2(y, xp.hypot(x, z))
