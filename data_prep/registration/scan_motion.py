"""The motion that carries a whole scan into the canonical frame."""

import numpy as np

from data_prep.scans.scan import Scan
from seqface_jax.geometry import alignment


class ScanMotion(alignment.RigidTransform):
    """The motion of a whole Scan: x -> x @ rotation.T + translation, mm."""

    __slots__ = ()

    def apply_to_scan(self, scan):
        """Returns the moved Scan."""
        moved = self.apply(scan.vertices.astype(np.float64)).astype(np.float32)
        return Scan(moved, scan.triangles, scan.uv, scan.texture)

    def angle_to(self, other):
        """Returns the angle between the two rotations, radians."""
        cosine = (np.trace(self.rotation @ other.rotation.T) - 1) / 2
        return float(np.arccos(np.clip(cosine, -1, 1)))


IDENTITY = ScanMotion(np.eye(3), np.zeros(3))
