"""Where every point of a face lies in the photo: what users of PRNet know as its outputs.

python -m seqface_jax.dense_alignment --workdir=runs/prnet --input=PHOTO|FOLDER --output=OUT

writes for each photo NAME.obj (dense vertices with the photo's colours, y up as viewers want it),
NAME_kpt.txt (the 68 landmarks), NAME_pose.txt (yaw, pitch and roll in degrees, then the camera
matrix [3, 4]), NAME_depth.npy and NAME_depth.png. Lengths are pixels of the photo. Any network
that gives an image map of a single photo will do.
"""

import os
import sys
from typing import NamedTuple

import cv2
import jax
import numpy as np
from absl import app, flags, logging

from seqface_jax import errors, export, face_detection, image_map, position_map, surface

_FLIP = np.array([1.0, -1.0, 1.0])  # The pose has y up, photos have it down.


class Alignment(NamedTuple):
    """One face in one photo; x right and y down in its pixels, z towards the camera in the same.

    Attributes:
        vertices: [V, 3] float32, dense.
        triangles: [F, 3] int32, counter-clockwise seen from the camera with y up.
        colors: [V, 3] uint8 RGB, of the photo at the vertices.
        landmarks: [68, 3] float32, iBUG's 300-W scheme.
        angles_deg: [3] yaw, pitch, roll: to the head's left, chin up, leaning to its right.
        camera: [3, 4], canonical point in mm, 1 -> place in the photo.
        depth: [H, W] float32, z of the face at each pixel; NaN where there is none.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray
    landmarks: np.ndarray
    angles_deg: np.ndarray
    camera: np.ndarray
    depth: np.ndarray

    def save(self, stem):
        """Writes stem.obj, _kpt.txt, _pose.txt, _depth.npy and _depth.png."""
        height = len(self.depth)
        points = self.vertices * _FLIP + [0, height, 0]
        rows = np.concatenate([points, self.colors / 255], axis=1)
        text = ('v %.3f %.3f %.3f %.4f %.4f %.4f\n' * len(rows)) % tuple(rows.ravel().tolist())
        faces = self.triangles + 1
        text += ('f %d %d %d\n' * len(faces)) % tuple(faces.ravel().tolist())
        with open(stem + '.obj', 'w', encoding='utf-8') as file:
            file.write(text)
        np.savetxt(stem + '_kpt.txt', self.landmarks, '%.3f')
        with open(stem + '_pose.txt', 'w', encoding='utf-8') as file:
            np.savetxt(file, self.angles_deg[None], '%.3f')
            np.savetxt(file, self.camera, '%.6f')
        np.save(stem + '_depth.npy', self.depth)
        low, high = np.nanmin(self.depth), np.nanmax(self.depth)
        gray = np.nan_to_num(55 + 200 * (self.depth - low) / max(high - low, 1e-9))
        if not cv2.imwrite(stem + '_depth.png', gray.astype(np.uint8)):
            raise errors.UserError(f'cannot write {stem}_depth.png')


class Aligner:
    """A network that tells where a face lies in a photo."""

    def __init__(self, config, model, variables):
        """Takes what `checkpoints.load` returns.

        Raises:
            UserError: the network gives no image map of one photo.
        """
        from seqface_jax import models, reconstruct

        reads, gives = models.reads(config.model), getattr(type(model), 'GIVES', None)
        if gives != 'image_map' or models.MAX_FRAMES[reads] != 1:
            raise errors.UserError(
                f"the network '{config.model.name}' does not tell where a face lies in a single "
                'photo: take a run of configs/prnet.py'
            )
        self._step, self._variables = reconstruct.make_step(config, model), variables
        self._size = config.data.image_size
        constants = variables['constants']
        self._mean = np.asarray(constants['mean_map']), np.asarray(constants['mean_mask'])
        self._mask = reconstruct.face_mask(constants)
        self._detector = face_detection.FaceDetector()

    @classmethod
    def restore(cls, workdir, checkpoint='best_validation'):
        """Returns the Aligner of a run."""
        from seqface_jax import checkpoints

        return cls(*checkpoints.load(workdir, checkpoint))

    def __call__(self, photo):
        """Returns the Alignment of the face in a photo [H, W, 3] uint8 RGB; None without one."""
        face = self._detector.find(photo)
        if face is None:
            return None
        box = face_detection.crop_box(face.box)
        crop = face_detection.at_size(face_detection.cut_out(photo, box), self._size)
        _, prediction = self._step(self._variables, None, crop[None])
        found = np.asarray(prediction.image_map[0], np.float64)
        return from_image_map(found, photo, box, self._mask, *self._mean)


def from_image_map(found, photo, box, mask, mean_map, weights):
    """Reads an image map as an Alignment.

    Args:
        found: [M, M, 3], where the points lie in the crop, of its width (see image_map.py).
        photo: [H, W, 3] uint8 RGB.
        box: [4] the crop in the photo, pixels: x0, y0, x1, y1.
        mask: [S, S] bool, the pixels that are face; M is S, or one is a multiple of the other.
        mean_map: [128, 128, 3] mm, the face whose pose is told.
        weights: [128, 128], how much its pixels count.
    """
    side, height, width = len(found), *photo.shape[:2]
    mask = _resize_mask(mask, side)
    corner, scale = np.array([box[0], box[1], 0.0]), float(box[2] - box[0])
    placed = corner + scale * found
    triangles = position_map.grid_triangles(mask)
    new_index = np.cumsum(mask.ravel(), dtype=np.int32) - 1
    vertices = np.float32(image_map.dense_vertices(placed, mask))
    uv = vertices[:, :2] / [width, -height] + [0, 1]
    common = min(side, len(mean_map))
    pose = image_map.fit_pose(
        image_map.strided(found, common),
        image_map.strided(mean_map, common),
        image_map.strided(np.float32(weights)[..., None], common)[..., 0],
    )
    pose = jax.tree.map(np.asarray, pose)
    turned = scale * pose.scale * _FLIP[:, None] * pose.rotation
    moved = corner + scale * _FLIP * pose.translation
    longest = max(height, width)
    depth = longest * image_map.depth(placed / longest, mask, longest)[:height, :width]
    return Alignment(
        vertices,
        new_index[triangles],
        export.sample_texture(photo, uv),
        np.float32(image_map.landmarks(placed)),
        np.asarray(pose.angles_deg()),
        np.concatenate([turned, moved[:, None]], axis=1),
        depth,
    )


def _resize_mask(mask, side):
    if side <= len(mask):
        return surface.resize_mask(mask, side)
    return mask.repeat(side // len(mask), axis=0).repeat(side // len(mask), axis=1)


def define_flags():
    # Not at import: two commands in one process (tests) may have flags of one name.
    flags.DEFINE_string('workdir', None, 'A trained run of configs/prnet.py.')
    flags.DEFINE_string('checkpoint', 'best_validation', 'Or best_training, latest.')
    flags.DEFINE_string('input', None, 'A photo or a folder of photos.')
    flags.DEFINE_string('output', None, 'Folder of what is written; made if missing.')


@errors.exit_on_user_error
def main(argv):
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    from seqface_jax import checkpoints, video

    values = flags.FLAGS
    errors.check_choice(values.checkpoint, checkpoints.WHICH, 'checkpoint')
    align = Aligner.restore(values.workdir, values.checkpoint)
    os.makedirs(values.output, exist_ok=True)
    count = 0
    for frame in video.open_source(values.input).frames:
        found = align(frame.photo) if frame.photo is not None else None
        if found is None:
            reason = frame.problem or 'no face was found in it'
            sys.stderr.write(f'{frame.name}: {reason}\n')
            continue
        stem = os.path.splitext(os.path.basename(frame.name))[0]
        found.save(os.path.join(values.output, stem))
        count += 1
        yaw, pitch, roll = found.angles_deg
        sys.stdout.write(f'{frame.name}: yaw {yaw:.0f}, pitch {pitch:.0f}, roll {roll:.0f} deg\n')
    if not count:
        raise errors.UserError(f'no face in {values.input}')


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['workdir', 'input', 'output'])
    app.run(main)
