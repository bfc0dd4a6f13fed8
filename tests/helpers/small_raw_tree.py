"""Writes a tiny raw tree in the layout of BU-4DFE in about a second, for tests.

The scans are the embedded face on a thinned grid; the photos are drawn, not rendered: an ellipse
with eyes, nose and mouth that the Haar cascade takes for a face. The mouth opens with the
expression, so that the ends of a sequence look neutral. Scans have texture coordinates, of a camera
far away that looks along -z; `centers` of the truth says where it sees the middle of the head.
"""

import os

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.scans import scan_io
from data_prep.scans.scan import Scan
from data_prep.synthetic import head
from data_prep.synthetic.embedded_face import EXPRESSIONS, face_model

_THINNING = 3  # Every third row and column of the face's grid.
_RADIUS = 0.32  # Radius of the drawn face in photo widths ...
_RADIUS_MM = 85.0  # ... which is so much of the head.


def draw_face(height, width, center, radius, mouth=0.0, tone=0):
    """Returns a [height, width, 3] uint8 RGB photo of a drawn face; mouth 0 is closed."""
    photo = np.full((height, width, 3), (120, 130, 140), np.uint8)
    x, y = center
    skin = (205 - tone, 170 - tone, 150 - tone)

    def ellipse(dx, dy, half_width, half_height, color):
        place = (round(x + dx * radius), round(y + dy * radius))
        axes = (max(1, round(half_width * radius)), max(1, round(half_height * radius)))
        cv2.ellipse(photo, place, axes, 0, 0, 360, color, -1)

    ellipse(0, 0, 0.78, 1, skin)
    for side in (-0.33, 0.33):
        ellipse(side, -0.36, 0.22, 0.045, (60, 40, 30))
        ellipse(side, -0.15, 0.17, 0.09, (245, 245, 245))
        ellipse(side, -0.15, 0.08, 0.08, (40, 30, 20))
    ellipse(0, 0.2, 0.12, 0.07, (150, 110, 100))
    ellipse(0, 0.5, 0.3 - 0.05 * mouth, 0.06 + 0.2 * mouth, (150, 70, 70))
    return cv2.GaussianBlur(photo, (0, 0), max(1, radius / 40))


def write(raw_dir, subjects=('F001', 'M001'), frames=3, photo_size=(180, 140), truth=True):
    """Writes the tree; frame n of `frames` has expression weight sin(pi n / (frames - 1))."""
    for subject in subjects:
        _write_subject(str(raw_dir), subject, frames, photo_size, truth)


def project(points, translation, center, photo_size):
    """Returns the pixels [N, 2] of points [N, 3] mm of a scan whose head is at `translation`."""
    scale = _RADIUS * photo_size[1] / _RADIUS_MM
    return center + scale * (points - translation)[:, :2] * [1, -1]


def write_photo(path, photo):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))


def _write_subject(raw_dir, subject, frames, photo_size, with_truth):
    model = face_model()
    rng = np.random.default_rng(list(subject.encode()))
    identity = model.sample_identity(rng)
    grid, triangles = thin_grid(model)
    names = ('sequences', 'frames', 'rotations', 'translations', 'centers')
    truth = {name: [] for name in names}
    weights = []
    tone = int(rng.integers(0, 40))
    for number, sequence in enumerate(EXPRESSIONS):
        for index in range(frames):
            weight = np.sin(np.pi * index / max(1, frames - 1)) if frames > 1 else 0.0
            weights.append(weight * np.eye(len(EXPRESSIONS))[number])
            vertices = model.vertices(identity, weights[-1])[grid]
            rotation = Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()
            translation = rng.normal(0, 20, 3)
            path = os.path.join(raw_dir, subject, sequence, f'{index:03d}')
            height, width = photo_size
            center = (width / 2 + rng.uniform(-3, 3), height / 2 + rng.uniform(-3, 3))
            photo = draw_face(height, width, center, _RADIUS * width, weight, tone)
            write_photo(f'{path}.jpg', photo)
            moved = np.float32(vertices @ rotation.T + translation)
            uv = project(moved, translation, np.array(center), photo_size) / [width, height]
            uv = np.float32(uv * [1, -1] + [0, 1])
            scan_io.write_vrml(f'{path}.wrl', Scan(moved, triangles, uv, f'{index:03d}.jpg'))
            truth['sequences'].append(sequence)
            truth['frames'].append(index)
            truth['rotations'].append(rotation)
            truth['translations'].append(translation)
            truth['centers'].append(center)
    if with_truth:
        os.makedirs(os.path.join(raw_dir, 'truth'), exist_ok=True)
        np.savez(
            os.path.join(raw_dir, 'truth', f'{subject}.npz'),
            vertices=model.neutral(identity)[grid],
            triangles=triangles,
            expression_weights=np.array(weights),
            **{name: np.array(values) for name, values in truth.items()},
        )


def thin_grid(model):
    """Returns the vertex indices of the thinned front of the head, and its triangles."""
    rows, columns = model.head_shape
    index = np.arange(rows * columns).reshape(rows, columns)[::_THINNING, ::_THINNING]
    triangles = head.grid_triangles(*index.shape)
    front = (model.mean[index.ravel()] * [0, 0, 1]).sum(axis=1) > 0
    triangles = triangles[front[triangles].all(axis=1)]
    used = np.unique(triangles)
    renumber = np.zeros(index.size, np.int32)
    renumber[used] = np.arange(len(used))
    return index.ravel()[used], renumber[triangles]
