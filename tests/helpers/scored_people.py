"""Look-alike trees of real people to score on, and a reconstructor that answers by rote."""

import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np

from data_prep.scans import scan_io
from data_prep.scans.scan import Scan
from seqface_jax.geometry import surface
from seqface_jax.reconstruction.face import Face
from tests.helpers import bumpy_face, small_fit

SIDE = 40
LANDMARKS = ((-45, 35), (-15, 35), (15, 35), (45, 35), (0, -10), (-25, -35), (25, -35))
_NOW_PLACES = (36, 39, 42, 45, 33, 48, 54)


def mesh(seed=0):
    """Returns vertices [V, 3] mm and triangles [F, 3] of a bumpy face."""
    return surface.from_prediction(bumpy_face.position_map_of(seed, SIDE), ordered=True)


def landmarks_of(vertices):
    """Returns the indices [7] of the challenge's landmarks."""
    away = np.linalg.norm(vertices[:, None, :2] - np.array(LANDMARKS), axis=2)
    return (away - 0.2 * vertices[:, None, 2]).argmin(axis=0)


def landmarks_68(vertices):
    """Returns [68] indices, of which the challenge's seven are at their places."""
    found = np.zeros(68, int)
    found[list(_NOW_PLACES)] = landmarks_of(vertices)
    return found


def write_photo(path, shade):
    """Writes a photo of one shade; `Rote` takes shade 0 for a photo without a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 20, 3), shade, np.uint8))


def write_real(folder, names=('anna', 'bert')):
    """Writes FOLDER/ID/photos/*.png, scan.ply and tip.txt; the second photo shows no face."""
    for seed, name in enumerate(names):
        vertices, triangles = mesh(seed)
        for number, shade in enumerate((50, 0, 60, 70)):
            write_photo(folder / name / 'photos' / f'{number}.png', shade)
        scan = Scan(vertices.astype(np.float32), triangles.astype(np.int32))
        scan_io.write_ply(folder / name / 'scan.ply', scan)
        tip = vertices[vertices[:, 2].argmax()]
        (folder / name / 'tip.txt').write_text('\n'.join(f'{value:.3f}' for value in tip))
    (folder / 'notes').mkdir()  # A folder without a scan is nobody, and so is one without photos.
    (folder / 'shape').mkdir()
    scan_io.write_ply(folder / 'shape' / 'scan.ply', scan)


def write_now(folder, names=('FaMoS_1_TA', 'FaMoS_2_TA')):
    """Writes the layout of the NoW challenge's validation people, four photos of each.

    All have the face of seed 0, which `Rote` comes nearer to with each photo.
    """
    lines = []
    pictures = folder / 'NoW_Dataset' / 'final_release_version' / 'iphone_pictures'
    vertices, triangles = mesh(0)
    for name in names:
        for kind, shades in (('multiview_neutral', (50, 60)), ('selfie', (0, 70))):
            for number, shade in enumerate(shades):
                write_photo(pictures / name / kind / f'IMG_{number}.png', shade)
                lines.append(f'{name}/{kind}/IMG_{number}.png')
        for kind in ('scans', 'scans_lmks_onlypp'):
            (folder / kind / name).mkdir(parents=True)
        scan = Scan(vertices.astype(np.float32), triangles.astype(np.int32))
        scan_io.write_obj(folder / 'scans' / name / 'scan.obj', scan)
        points = ''.join(
            f' <point x="{x:.4f}" y="{y:.4f}" active="1" name="{k}" z="{z:.4f}"/>\n'
            for k, (x, y, z) in enumerate(vertices[landmarks_of(vertices)])
        )
        (folder / 'scans_lmks_onlypp' / name / 'scan_picked_points.pp').write_text(
            f'<!DOCTYPE PickedPoints>\n<PickedPoints>\n{points}</PickedPoints>\n'
        )
    (folder / 'imagepathsvalidation.txt').write_text('\n'.join(lines) + '\n')


class Rote:
    """Answers with the bumpy face of seed 0, drawn in by 3 mm over the number of photos."""

    def __init__(self, states_band=True):
        vertices, self._triangles = mesh(0)
        self._vertices = vertices
        self._states_band = states_band
        self.geometry = SimpleNamespace(landmarks=landmarks_68(vertices))

    def initial_state(self):
        return 0

    def examine(self, state, photo):
        return SimpleNamespace(reason='a face' if photo.max() else 'no face found')

    def update(self, state, photo, observation=None):
        if not photo.max():
            return state, None
        count = state + 1
        radius = np.linalg.norm(self._vertices, axis=1, keepdims=True)
        dent = 3.0 / count * (self._vertices[:, :1] > 10) / radius
        vertices = (self._vertices * (1 - dent)).astype(np.float32)
        sure = np.full(len(vertices), 0.25 if self._states_band else 1.0, np.float32)
        fit = dataclasses.replace(small_fit.make(), reprojection_px=float(photo.max()) / 10)
        return count, Face(vertices, self._triangles, sure, frame=fit)
