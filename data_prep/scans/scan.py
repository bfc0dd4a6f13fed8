"""The raw scan as every reader returns it."""

import dataclasses

import numpy as np

from seqface_jax.errors import UserError


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
        texture: name of the image, as the file writes it, in the folder of the scan or below;
            None without one, or where it lies elsewhere.
        notes: sentences, what a reader has left out of the file.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray | None = None
    texture: str | None = None
    notes: tuple[str, ...] = ()
