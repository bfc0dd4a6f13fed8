"""Photos of made-up people whose heads turn, and where the head is in each; faces unwrapped.

What knows heads in photos beforehand is learnt from them (package_files).
"""

import cv2
import numpy as np

from data_prep.registration import ray_casting
from data_prep.scans.ray_scene import ray_scene
from data_prep.scans.scan import Scan
from data_prep.synthetic import appearance, expressions, faces, renderer
from data_prep.synthetic.person import Person, rotation_matrix
from data_prep.synthetic.studio import PhotoCamera
from seqface_jax.geometry import map_grid
from seqface_jax.geometry.alignment import RigidTransform

_SEED = 20_000  # Other people than those of any raw tree's default seed.
_CAST_FROM_MM = 400.0  # Rays start outside the head.
_HEIGHT_PX, _WIDTH_PX = 256, 224
_DISTANCES_MM = (450.0, 1500.0)  # A selfie to a studio.
_SEEN_MM = (300.0, 420.0)  # Height of the photo at the head.
_TURNS_RAD = np.radians([55.0, 20.0, 15.0])  # Yaw, pitch, roll, either way.


class _AllAround:
    """Stands in for a camera: one ray per map pixel, inwards; eyes look ahead."""

    width = height = map_grid.SIZE
    center = np.array([0.0, 30.0, 1000.0])

    def rays(self):
        """Returns [S, S, 6] float32: origin and direction."""
        outward = map_grid.ray_directions()
        return np.concatenate([_CAST_FROM_MM * outward, -outward], axis=-1).astype(np.float32)


def open_kinds(ict_dir):
    """Returns the faces that people are made of: the embedded one, and ICT's where its folder is
    given."""
    kinds = [faces.open_face(faces.EMBEDDED)]
    return kinds + ([faces.open_face('ict', ict_dir)] if ict_dir is not None else [])


def draw_person(number, kinds, seed=_SEED):
    """Returns a Person, made of one of the faces `kinds` in turn, and the rng to go on with."""
    face = kinds[number // 2 % len(kinds)]
    rng = np.random.default_rng([seed, number])
    sex = 'FM'[number % 2]
    looks = appearance.sample_appearance(rng, sex)
    return Person(face.sample_identity(rng, sex), looks, face, fine=False, all_round=True), rng


def draw(person, count, rng, centre):
    """Yields photos of a person: heads turn, faces move, lights and distance change.

    Args:
        person: Person.
        count: of photos.
        rng: numpy Generator.
        centre: [3] mm, the middle of the face: about in place on all photos.

    Yields:
        photo [H, W, 3] uint8, RigidTransform from the canonical frame to the camera's, and
        PhotoCamera.
    """
    distance = np.exp(rng.uniform(*np.log(_DISTANCES_MM)))
    focal = _HEIGHT_PX * distance / rng.uniform(*_SEEN_MM)
    place = np.array([rng.normal(0, 8.0), rng.normal(15.0, 8.0), distance + 60.0])
    camera = PhotoCamera(_WIDTH_PX, _HEIGHT_PX, place, focal)
    photographer = renderer.Renderer(person, camera, rng)
    for _ in range(count):
        rotation = rotation_matrix(*(rng.uniform(-1, 1, 3) * _TURNS_RAD))
        weights = np.zeros(len(expressions.NAMES), np.float32)
        weights[rng.integers(len(weights))] = max(0.0, rng.uniform(-0.5, 1))
        # The head turns about a point in the neck, the middle of the face stays about in place.
        shift = centre - rotation @ centre
        surface = person.surface(weights, max(0.0, rng.uniform(-3, 1)), rotation, shift)
        scene = ray_scene(surface, person.triangles)
        photo = photographer.photo(scene, surface, renderer.sample_lights(rng), rng)
        yield photo, RigidTransform(rotation, shift - place), camera


def unwrapped(person, rng):
    """Returns the brightness of a person at the map's pixels under even light, [S, S] uint8."""
    light = renderer.Lights(
        directions=np.array([[0.0, 0.3, 0.95], [0.0, 0.0, 1.0]], np.float32),
        colors=np.array([[0.5] * 3, [0.1] * 3], np.float32),
        sky=np.full(3, 0.4, np.float32),
        ground=np.full(3, 0.2, np.float32),
        exposure=1.0,
    )
    vertices = person.surface(np.zeros(6), 0.0, np.eye(3), np.zeros(3))
    scene = ray_scene(vertices, person.triangles)
    photo = renderer.Renderer(person, _AllAround(), rng).photo(scene, vertices, light, rng)
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def unwrapped_points(person):
    """Returns the neutral face of a person at the map's pixels, [S, S, 3] mm."""
    scan = Scan(np.float32(person.neutral), np.int32(person.model.triangles))
    return ray_casting.position_map(scan)[0]
