"""Gathers a face's colours photo by photo; a photo that says nothing of them changes nothing."""

import dataclasses

import cv2
import numpy as np

from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import texture


class TexturePainter:
    """Gathers the colours of one person's face; its memory does not grow with the photos.

    A photo is laid under the face as it is reconstructed by then, so that none has to be kept: a
    face that still moves by a millimetre blurs the texture by less than the pixels of most photos.
    A subclass says by `_placed` where the face is on a photo.

    Attributes:
        paints: whether colours are gathered; else only the head's poses are told.
    """

    def __init__(self, mask, uv, size, *, paints, delight):
        """Begins without a colour.

        Args:
            mask: [M, M] bool, the pixels of a grid over the texture that are face.
            uv: [V, 2] in [0, 1], v up, of the face's vertices.
            size: of the texture, texels.
            paints: as of the class.
            delight: whether the photos' light is divided out.
        """
        self.paints, self._delight = paints, delight
        self._mask, self._uv, self._seen = mask, uv, texture.empty(size)

    def add(self, photo, box, face):
        """Takes one more photo into account.

        Args:
            photo: [H, W, 3] uint8 RGB.
            box: [4] x0, y0, x1, y1, the detected face in it.
            face: reconstruct.Face, of the person, after this photo.

        Returns:
            The Pose of the head; None if none fits well, or if the face or the photo is too odd to
            be painted: the texture stays as it is then.
        """
        try:
            pose, points, confidence = self._placed(photo, box, face)
            if not pose.score >= pose_fitting.MIN_SCORE:
                return None
            if not self.paints:
                return pose
            seen = texture.add(self._seen, photo, pose, points, self._mask, confidence)
        except (np.linalg.LinAlgError, cv2.error, ValueError):
            return None  # The shape is still good.
        if seen is self._seen:
            return None
        self._seen = seen
        return pose

    @property
    def num_painted(self):
        """Photos whose colours were gathered."""
        return self._seen.num_photos

    def paint(self, face):
        """Returns the Face with its uv and texture; as it is if no photo could be used."""
        if not self.num_painted:
            return face
        return dataclasses.replace(
            face,
            uv=self._uv,
            texture=self._picture(),
            texture_light=texture.LIGHTS[self._delight],
        )

    def _picture(self):
        """Returns the texture, [S, S, 3] uint8 RGB."""
        return texture.finish(self._seen, delight=self._delight)

    def _placed(self, photo, box, face):
        """Returns where a Face is on a photo.

        Returns:
            Pose of the head; points [M, M, 3] mm on the grid, continued beyond the face; and the
            confidence [P] of the mask's pixels, as of texture.add.
        """
        raise NotImplementedError
