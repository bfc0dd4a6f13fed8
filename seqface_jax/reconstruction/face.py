"""What a reconstruction returns."""

import dataclasses
import functools
from typing import Any

import numpy as np

from seqface_jax.reconstruction import export, mouth, stated_band


class _Late:
    """A field of a dataclass that may be given as a function, which is called at its first use."""

    def __set_name__(self, owner, name):
        self._key = '_late_' + name

    def __get__(self, instance, owner=None):
        if instance is None:
            raise AttributeError('the field has no default')
        value = vars(instance)[self._key]
        if callable(value):
            value = vars(instance)[self._key] = value()
        return value

    def __set__(self, instance, value):
        vars(instance)[self._key] = value


@dataclasses.dataclass(frozen=True)
class Face:
    """A reconstructed face.

    Attributes:
        vertices: [V, 3] float32 mm, canonical frame (+x to the subject's left, +y up, +z out).
        triangles: [F, 3] int32, counter-clockwise from outside.
        confidence: [V] float32 in (0, 1], 1 / (1 + the network's standard deviation in mm); all
            ones from a network that does not say how sure it is. A function that returns it may be
            given, for it takes a large part of a frame's time.
        uv: [V, 2] float32 in [0, 1], v up, place of the vertices in the texture; or None.
        texture: [H, W, 3] uint8 RGB, the face's colour, see texture_painter; or None.
        texture_light: str, what became of the photos' light in it, one of texture.LIGHTS; or None.
        quads: [Q, 4] int32, the polygons of which `triangles` holds the halves; or None.
        topology: str, the name of the vertices' order; or None.
        mouth: mouth.Mouth, the inside of the mouth, which `vertices` lack and files have; or None.
        inside: slice of the vertices that are the inside of the mouth; None: there are none.
        frame_vertices: [V, 3] float32 mm, the face with the expression of the last photo, vertex by
            vertex beside the neutral one; None from a network that does not say it, or from a state
            alone.
        frame: frame_fit.FrameFit, where the last photo shows the face, and its expression; None
            likewise.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    confidence: np.ndarray = _Late()
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    texture_light: str | None = None
    quads: np.ndarray | None = None
    topology: str | None = None
    mouth: Any = None
    inside: slice | None = None
    frame_vertices: np.ndarray | None = None
    frame: Any = None

    @functools.cached_property
    def band_mm(self):
        """Half width of the 90 % band in mm, as stated_band.half_width_mm."""
        return stated_band.half_width_mm(self.vertices, self.confidence)

    def save(self, path, animation=None):
        """Writes the mesh in the format of the path's ending, one of export.FORMATS.

        All but .npz, which holds what was measured, have the inside of the mouth too.

        Args:
            path: of the file; an OBJ with a texture has two more beside it, see export.save.
            animation: export.Animation, for .glb only; None: the face stands still.
        """
        face = self
        if self.mouth is not None and not path.endswith('.npz'):
            face = mouth.closed(self)
            if animation is not None:
                moving = self.mouth.joined(animation.vertices)
                animation = animation._replace(vertices=moving)
        export.save(
            path,
            face.vertices,
            face.triangles,
            face.confidence,
            uv=face.uv,
            texture=face.texture,
            animation=animation,
            texture_light=face.texture_light,
            quads=face.quads,
            topology=face.topology,
            inside=face.inside,
        )
