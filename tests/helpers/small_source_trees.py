"""Writes tiny trees in the layouts of the other data sets, of the people of `small_raw_tree`."""

import os

import cv2
import numpy as np
from scipy import io
from scipy.spatial.transform import Rotation

from data_prep.scans import scan_io
from data_prep.scans.scan import Scan
from data_prep.sources import morphable_model
from data_prep.synthetic.embedded_face import EXPRESSIONS, face_model
from tests.helpers import small_raw_tree

PHOTO = 180  # Pixels, both ways.
RADIUS = 0.32 * PHOTO  # Radius of the drawn face ...
RADIUS_MM = 85.0  # ... which is so much of the head.
SHAPES = 4  # Shapes of the look-alike of the face model.


def person(seed):
    """Returns the neutral face of a random person as a Scan in the head's frame, on a thin grid."""
    model = face_model()
    grid, triangles = small_raw_tree.thin_grid(model)
    vertices = model.neutral(model.sample_identity(np.random.default_rng(seed)))[grid]
    return Scan(np.float32(vertices), triangles)


def moved(scan, seed):
    """Returns the scan as a scanner would stand: turned and moved a little."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()
    return Scan(np.float32(scan.vertices @ rotation.T + rng.normal(0, 20, 3)), scan.triangles)


def photo(center=(PHOTO / 2, PHOTO / 2), mouth=0.0):
    """Returns a photo of a drawn face, [PHOTO, PHOTO, 3] uint8 RGB."""
    return small_raw_tree.draw_face(PHOTO, PHOTO, center, RADIUS, mouth)


def write_mjpg(path, frames):
    """Writes a video as Florence's cameras do: JPEG pictures one after the other."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        for n in range(frames):
            image = photo((PHOTO / 2 + n % 5, PHOTO / 2))
            file.write(cv2.imencode('.jpg', image[..., ::-1])[1].tobytes())


def write_florence(raw_dir, subjects, frames=3):
    for seed, subject in enumerate(subjects):
        folder = os.path.join(raw_dir, subject)
        for name in ('frontal1', 'frontal2', 'sidel', 'sider'):
            os.makedirs(os.path.join(folder, 'Model', name, 'obj'))
            path = os.path.join(folder, 'Model', name, 'obj', f'110920150{seed}.obj')
            scan_io.write_obj(path, moved(person(seed), [seed, len(name)]))
        for name in ('Indoor-Cooperative.mjpg', 'PTZ-Indoor.mjpeg', 'PTZ-Outdoor.mjpg'):
            write_mjpg(os.path.join(folder, 'Video', name), frames)


def write_bu3dfe(raw_dir, subjects):
    """Neutral, angry and happy of level 1; scans have places in the photo beside them."""
    model = face_model()
    grid, triangles = small_raw_tree.thin_grid(model)
    for seed, subject in enumerate(subjects):
        identity = model.sample_identity(np.random.default_rng(seed))
        weights = {'NE00': np.zeros(len(EXPRESSIONS))}
        for code, name in (('AN01', 'Angry'), ('HA01', 'Happy')):
            weights[code] = np.eye(len(EXPRESSIONS))[EXPRESSIONS.index(name)]
        for code, weight in weights.items():
            stem = os.path.join(raw_dir, subject, f'{subject}_{code}WH_')
            vertices = np.float32(model.vertices(identity, weight)[grid])
            center = np.array([PHOTO / 2, PHOTO / 2])
            places = center + RADIUS / RADIUS_MM * vertices[:, :2] * [1, -1]
            uv = np.float32(places / PHOTO * [1, -1] + [0, 1])
            scan = Scan(vertices, triangles, uv, f'{subject}_{code}WH_F2D.bmp')
            small_raw_tree.write_photo(stem + 'F2D.bmp', photo(mouth=weight.sum()))
            scan_io.write_vrml(stem + 'F3D.wrl', scan)


def write_folder(raw_dir, subjects, photos=3):
    """Photos and one scan each; the formats of the scans take turns."""
    write = (scan_io.write_ply, scan_io.write_obj, scan_io.write_vrml)
    for seed, subject in enumerate(subjects):
        for n in range(photos):
            path = os.path.join(raw_dir, subject, f'IMG_{8 + n}.jpg')
            small_raw_tree.write_photo(path, photo((PHOTO / 2 + n, PHOTO / 2)))
        path = os.path.join(raw_dir, subject, f'scan{(".ply", ".obj", ".wrl")[seed % 3]}')
        write[seed % 3](path, moved(person(seed), seed))


def write_face_model(raw_dir):
    """Writes a BFM.mat whose shape n is person n + 1 less person 0, the mean; two expressions.

    In micrometres and with indices from 1, as the real one.
    """
    mean = person(0)
    shapes = [person(seed).vertices - mean.vertices for seed in range(1, SHAPES + 1)]
    model = face_model()
    grid, _ = small_raw_tree.thin_grid(model)
    expressions = [_expression(model, grid, n) for n in range(2)]
    arrays = {
        'shapeMU': 1000.0 * mean.vertices.reshape(-1, 1) - 5,
        'expMU': np.full((mean.vertices.size, 1), 5.0),
        'shapePC': np.stack([1000.0 * shape.ravel() for shape in shapes], axis=1),
        'expPC': np.stack([1000.0 * shape.ravel() for shape in expressions], axis=1),
        'tri': np.float64(mean.triangles.T + 1),
    }
    os.makedirs(raw_dir, exist_ok=True)
    io.savemat(os.path.join(raw_dir, 'BFM.mat'), {'model': arrays})


def _expression(model, grid, number):
    identity = model.sample_identity(np.random.default_rng(0))
    weight = np.eye(len(EXPRESSIONS))[number]
    return (model.vertices(identity, weight) - model.neutral(identity))[grid]


def write_view(raw_dir, folder, name, shape, expression=(0, 0), angles_deg=(0, 0, 0)):
    """Writes one photo of 300W-LP and its parameters; the middle of the head is in its middle."""
    path = os.path.join(raw_dir, folder, name)
    scale = RADIUS / RADIUS_MM / 1000
    pose = np.float32([*np.radians(angles_deg), PHOTO / 2, PHOTO / 2 - 1, 0, scale])
    small_raw_tree.write_photo(path + '.jpg', photo())
    parameters = {
        'Pose_Para': pose[None],
        'Shape_Para': np.float64(shape)[:, None],
        'Exp_Para': np.float64(expression)[:, None],
    }
    io.savemat(path + morphable_model.SUFFIX, parameters)
