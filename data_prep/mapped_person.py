"""A made-up person as work files of a subject: crops with poses, maps of each, the neutral face.

They are what `data_prep.subject` and `data_prep.frame_scans` leave of a scanned person, so that
`data_prep.records` writes both alike. The crop of a picture is the one that a detected face is
given: a square of SQUARE_MM about the head's CENTRE, here by the true pose.
"""

import json
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from data_prep import frame_scans, subject
from data_prep.hard_pictures import camera, picture
from data_prep.hard_pictures.template_model import NUM_FACE
from data_prep.photo_crops import PhotoCrop, encode_jpeg
from data_prep.registration import ray_casting
from data_prep.registration.scan_motion import ScanMotion
from data_prep.scans import cleaning, unordered
from data_prep.scans.scan import Scan
from data_prep.work import work_files
from seqface_jax.data import frame_maps
from seqface_jax.geometry.alignment import UPRIGHT
from seqface_jax.photos import crops, pose_regression

SEQUENCE = 'pictures'  # All pictures of a person are of one sequence.


class Paths(NamedTuple):
    """The three work files of a person: subject.read's, subject.surface's, frame_scans.make's."""

    read: str
    surface: str
    maps: str


class Template(NamedTuple):
    """What faces are cast by.

    Attributes:
        canonical: ScanMotion, the template's frame to the canonical frame.
        triangles: [F, 3] of the face's skin and the eyeballs; holes show what lies behind.
    """

    canonical: ScanMotion
    triangles: np.ndarray

    def scan(self, vertices):
        """Returns all vertices of a head, mm, as a Scan of its face in the canonical frame."""
        moved = self.canonical.apply(vertices.astype(np.float64)).astype(np.float32)
        return cleaning.compact(Scan(moved, self.triangles), self.triangles)


def template(model, canonical):
    """Returns the Template of a TemplateModel and of workers.canonical_of."""
    translation = canonical(np.zeros((1, 3)))[0].astype(np.float64)
    rotation = (canonical(np.eye(3)).astype(np.float64) - translation).T
    skin = model.triangles['skin']
    face = skin[(skin < NUM_FACE).all(axis=1)]
    triangles = np.concatenate([face, model.triangles['eyes']])
    return Template(ScanMotion(rotation, translation), triangles)


def write(paths, key, world, faces, *, seed, num_pictures):
    """Draws a person's plain pictures and writes the work files.

    Args:
        paths: Paths.
        key: of the work files.
        world: picture.World whose `kinds.fixed` is the person.
        faces: Template.
        seed: ints of numpy's default_rng: of pictures and points.
        num_pictures: int.
    """
    skin = world.kinds.fixed[1]
    neutral = faces.scan(world.kinds.model.with_inside(skin))
    position_map, mask = ray_casting.position_map(neutral)
    seen, made = [], []
    for number in range(num_pictures):
        drawn, motion, maps = _frame(world, faces, np.random.default_rng([*seed, 1, number]))
        box = np.array([0, 0, crops.CROP_SIZE, crops.CROP_SIZE], np.float32)
        seen.append(PhotoCrop(SEQUENCE, number, encode_jpeg(drawn.image), box))
        made.append((number, motion, frame_maps.encode(maps)))
    work_files.save(paths.maps, key, frame_scans.arrays_of(made))
    info = {'neutral_path': ''}
    arrays = subject.crop_arrays(seen) | {'info': np.array(json.dumps(info))}
    work_files.save(paths.read, key, arrays)
    # A scanner sees what the rays of the map meet first: no backs of eyeballs, no nostrils.
    face = ray_casting.map_surface(position_map, mask)
    surface = {
        'position_map': position_map,
        'mask': mask,
        'points': unordered.sample_points(face, seed=[*seed, 2]),
        'scan_vertices': face.vertices,
        'scan_triangles': face.triangles,
        'has_truth': np.array(True),
        'true_position_map': position_map,
        'true_mask': mask,
        'true_vertices': face.vertices,
        'true_triangles': face.triangles,
        'pose_rotations': np.stack([motion.rotation for _, motion, _ in made]),
        'pose_translations': np.stack([motion.translation for _, motion, _ in made]),
    }
    work_files.save(paths.surface, key, surface)


def pointed_at(view, centre):
    """Returns a View as if the camera looked straight at a head, whose crop a detector would cut.

    Args:
        view: camera.View; the direction from which the head is seen stays.
        centre: [3] mm, the middle of the head in its frame.
    """
    middle = view.rotation @ centre + view.translation
    distance = np.linalg.norm(middle)
    ahead = Rotation.align_vectors([[0, 0, 1.0]], [middle / distance])[0].as_matrix()
    half = pose_regression.SQUARE_MM / 2 / distance
    return camera.View(ahead @ view.rotation, ahead @ view.translation, np.zeros(2), half)


def maps_of(scan, motion, half):
    """Casts a face to the maps of a picture of it.

    Args:
        scan: Scan in the canonical frame, with its expression.
        motion: ScanMotion to the frame of a camera that looks at it, y up and z towards it.
        half: half of the crop's side where the focal length is 1.

    Returns:
        frame_maps.FrameMaps.
    """
    points, mask = ray_casting.position_map(scan)
    seen = motion.apply(points.reshape(-1, 3).astype(np.float64)).reshape(points.shape)
    depth = -seen[..., 2]
    place = seen[..., :2] * [1, -1] / depth[..., None] / (2 * half) + 0.5
    middle = -motion.apply(pose_regression.CENTRE)[2]
    nearness = (middle - depth) / (2 * half * middle)  # Without perspective.
    image = np.concatenate([place, (nearness - nearness[mask].min())[..., None]], axis=-1)
    return frame_maps.FrameMaps(
        points, mask, np.where(mask[..., None], image, 0).astype(np.float32), mask
    )


def _frame(world, faces, rng):
    """Returns a Picture, the ScanMotion from the canonical frame to its camera, and its maps."""
    centre = faces.canonical.inverse().apply(pose_regression.CENTRE)
    view = pointed_at(camera.sample(rng, plain=True), centre)
    drawn = picture.make(world, rng, plain=True, view=view, size=crops.CROP_SIZE)
    to_camera = ScanMotion(UPRIGHT @ view.rotation, UPRIGHT @ view.translation)
    motion = to_camera.compose(faces.canonical.inverse())
    model, (_, skin) = world.kinds.model, world.kinds.fixed
    scan = faces.scan(model.with_expression(skin, drawn.expression))
    return drawn, motion, maps_of(scan, motion, view.half)
