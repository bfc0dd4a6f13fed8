"""Real people to be scored on: a folder each, with photos and one scan.

FOLDER/anna/photos/* (or FOLDER/anna/*.jpg) + FOLDER/anna/scan.ply (or .obj, .wrl), mm. Where the
folder holds `tip.txt`, three numbers, they are the scan's nose tip, and the scan is upright: +y up,
+z out of the face. Otherwise the scan may lie anywhere, and its pose is found by registration.
"""

import os
from typing import NamedTuple

import numpy as np

from data_prep.sources import layout
from seqface_jax.errors import UserError
from seqface_jax.photos import own_files

TIP = 'tip.txt'
PHOTOS = 'photos'
_EXAMPLE = 'ID/photos/*.jpg and one scan ID/*.ply, .obj or .wrl in mm'


class RealPerson(NamedTuple):
    """One person.

    Attributes:
        name: of the folder.
        photos: folder of the photos.
        vertices: [V, 3] float64 mm, +y up, +z out of the face; triangles: [F, 3].
        nose_tip: [3] mm.
    """

    name: str
    photos: str
    vertices: np.ndarray
    triangles: np.ndarray
    nose_tip: np.ndarray


def find(folder):
    """Finds the people of a folder.

    Returns:
        {name: path of the scan}, in order of names; folders without a scan, or without photos, are
        passed over.

    Raises:
        UserError: there is nobody, or somebody has several scans.
    """
    if not os.path.isdir(folder):
        raise UserError(f'--real={folder} is not a folder: give one that holds {_EXAMPLE}')
    found = {}
    for path in layout.files(folder):
        if not os.path.isdir(path) or not _has_photos(path):
            continue
        scans = [own for own in layout.files(path) if _is_scan(own)]
        if len(scans) > 1:
            names = ', '.join(os.path.basename(scan) for scan in scans)
            raise UserError(
                f'{path} holds {len(scans)} scans ({names}): keep the one of the neutral face'
            )
        if scans:
            found[os.path.basename(path)] = scans[0]
    if not found:
        raise UserError(
            f'--real={folder} holds no folder with photos and a scan: it must hold {_EXAMPLE}'
        )
    return found


def read(scan_path):
    """Reads one person.

    Args:
        scan_path: of the scan, in the person's folder.

    Raises:
        UserError: the scan or its nose tip cannot be read, or the scan does not look like a face.
    """
    from data_prep.scans import scan_io

    folder = os.path.dirname(scan_path)
    scan = scan_io.read_scan(scan_path)
    tip = os.path.join(folder, TIP)
    if os.path.exists(tip):
        vertices, nose_tip = scan.vertices.astype(np.float64), _read_tip(tip)
        triangles = scan.triangles
    else:
        vertices, triangles, nose_tip = _registered(scan_path, scan)
    photos = os.path.join(folder, PHOTOS)
    photos = photos if os.path.isdir(photos) else folder
    return RealPerson(os.path.basename(folder), photos, vertices, triangles, nose_tip)


def _has_photos(folder):
    if os.path.isdir(os.path.join(folder, PHOTOS)):
        return True
    paths = filter(os.path.isfile, layout.files(folder))
    return any(layout.kind_of(path) == layout.PHOTO for path in paths)


def _is_scan(path):
    if not os.path.isfile(path) or own_files.is_own(path):
        return False
    return layout.kind_of(path) == layout.SCAN


def _read_tip(path):
    try:
        tip = np.loadtxt(path, dtype=np.float64).ravel()
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read ({error}): write x, y and z of the nose tip') from (
            error
        )
    if tip.shape != (3,) or not np.isfinite(tip).all():
        raise UserError(f'{path} holds {tip.size} numbers: write x, y and z of the nose tip, in mm')
    return tip


def _registered(path, scan):
    """Returns vertices, triangles and nose tip of a scan in the canonical frame."""
    from data_prep.registration import canonical, ray_casting
    from data_prep.scans import cleaning
    from data_prep.synthetic.registration_template import template

    clean = cleaning.clean(scan)
    try:
        transform, _ = canonical.register(clean, template())
    except canonical.RegistrationError as error:
        raise UserError(
            f'{path}: {error} Or turn it upright (y up, z out of the face) and write its nose tip '
            f'beside it, {TIP}'
        ) from error
    placed = transform.apply_to_scan(clean)
    return placed.vertices.astype(np.float64), placed.triangles, ray_casting.nose_tip(placed)
