"""The face in colour: each photo's head pose is fitted and its colours gathered, photo by photo."""

import dataclasses

import cv2
import numpy as np

from seqface_jax.geometry import map_grid
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import texture

_OWN_LOOKS_FROM = 3  # Photos: the looks of one, or of two, may be those of a wrong pose.


class FacePainter:
    """Gathers the colours of one person's face; its memory does not grow with the photos.

    A photo is laid under the face as it is reconstructed by then, so that none has to be kept: a
    face that still moves by a millimetre blurs the texture by less than the pixels of most photos.

    Attributes:
        paints: whether colours are gathered.
    """

    def __init__(self, mask, size=texture.SIZE, *, paints=True, delight=False):
        """Begins without a colour.

        Args:
            mask: [S, S] bool, the position map's pixels that are the face's vertices, in order;
                `face_mask` of the Reconstructor.
            size: of the texture, texels.
            paints: False finds the head's poses only.
            delight: whether the photos' light is divided out.
        """
        self.paints, self._delight = paints, delight
        self._mask, self._seen = mask, texture.empty(size)

    def add(self, photo, box, face):
        """Takes one more photo into account.

        Args:
            photo: [H, W, 3] uint8 RGB.
            box: [4] x0, y0, x1, y1, the detected face in it.
            face: reconstruct.Face, of the person, after this photo.

        Returns:
            The pose.Pose of the head; None if it could not be found: nothing is painted then.
        """
        points = texture.map_of(face.vertices, self._mask)
        try:
            pose = pose_fitting.fit(photo, box, points, self._mask, looks=self._looks())
            if not pose.score >= pose_fitting.MIN_SCORE:
                return None
            if not self.paints:
                return pose
            seen = texture.add(self._seen, photo, pose, points, self._mask, face.confidence)
        except (np.linalg.LinAlgError, cv2.error, ValueError):
            return None  # No pose fits a photo or face this odd; the shape is still good.
        if seen is self._seen:
            return None
        self._seen = seen
        return pose

    @property
    def num_painted(self):
        """Photos whose colours were gathered: whose head pose was found."""
        return self._seen.num_photos

    def _looks(self):
        """Returns what photos are compared with: the mean face first, then this very face."""
        if self.num_painted < _OWN_LOOKS_FROM:
            return None
        return texture.looks(self._seen, len(self._mask))

    def paint(self, face):
        """Returns the Face with its uv and texture; as it is if no photo could be used."""
        if not self.num_painted:
            return face
        uv = map_grid.grid_uv(len(self._mask))[self._mask.ravel()]
        return dataclasses.replace(
            face,
            uv=uv,
            texture=texture.finish(self._seen, delight=self._delight),
            texture_light=texture.LIGHTS[self._delight],
        )
