"""The NoW challenge's validation people: iPhone photos, a scan and seven landmarks of each.

    NOW/imagepathsvalidation.txt             a photo a line: SUBJECT/multiview_neutral/IMG.jpg
    NOW/NoW_Dataset/final_release_version/iphone_pictures/SUBJECT/CHALLENGE/IMG.jpg
    NOW/scans/SUBJECT/*.obj                  mm
    NOW/scans_lmks_onlypp/SUBJECT/*.pp       seven points picked with MeshLab

Sanyal et al., 2019 (arXiv:1905.06817); the files are at https://now.is.tue.mpg.de. They are of a
licence of their own, and none of them is in this project.
"""

import os
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from data_prep.scans import scan_io
from data_prep.sources import layout
from seqface_jax.errors import UserError

LIST = 'imagepathsvalidation.txt'
SCANS, LANDMARKS = 'scans', 'scans_lmks_onlypp'
PICTURES = os.path.join('NoW_Dataset', 'final_release_version', 'iphone_pictures')
NUM_LANDMARKS = 7


class NowFiles(NamedTuple):
    """The files of one person.

    Attributes:
        name: str.
        photos: list of (challenge, path), in order of the list.
        scan: path of the scan; landmarks: path of its landmarks.
    """

    name: str
    photos: list
    scan: str
    landmarks: str


class NowPerson(NamedTuple):
    """One person.

    Attributes:
        name: str.
        photos: list of (challenge, path), in order of the list.
        vertices: [V, 3] mm, of the scan.
        landmarks: [7, 3] mm, see `read_landmarks`.
    """

    name: str
    photos: list
    vertices: np.ndarray
    landmarks: np.ndarray


def find(folder):
    """Reads who and what there is.

    Returns:
        list of NowFiles, in order of the list.

    Raises:
        UserError: the list, a photo, a scan or landmarks are missing.
    """
    path = os.path.join(folder, LIST)
    try:
        with open(path, encoding='utf-8') as file:
            lines = [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f'{path} cannot be read ({error}): give --now=FOLDER of the NoW challenge, with '
            f'{LIST}, {PICTURES}, {SCANS} and {LANDMARKS}'
        ) from error
    photos = {}
    for number, line in enumerate(lines, start=1):
        parts = line.replace('\\', '/').split('/')
        if len(parts) < 3:
            raise UserError(
                f"{path}, line {number}: '{line}' is no SUBJECT/CHALLENGE/PHOTO: use the list as "
                'it comes with the challenge'
            )
        name, challenge, photo = parts[-3:]
        place = os.path.join(folder, PICTURES, name, challenge, photo)
        if not os.path.isfile(place):
            raise UserError(f'{path}, line {number}: there is no {place}: unpack the photos there')
        photos.setdefault(name, []).append((challenge, place))
    if not photos:
        raise UserError(f'{path} is empty: use the list as it comes with the challenge')
    return [
        NowFiles(
            name,
            own,
            _only(os.path.join(folder, SCANS, name), '.obj', 'scan'),
            _only(os.path.join(folder, LANDMARKS, name), '.pp', 'file of landmarks'),
        )
        for name, own in photos.items()
    ]


def read(files):
    """Returns the NowPerson of NowFiles.

    Raises:
        UserError: the scan or its landmarks cannot be read.
    """
    vertices = scan_io.read_scan(files.scan).vertices.astype(np.float64)
    return NowPerson(files.name, files.photos, vertices, read_landmarks(files.landmarks))


def read_landmarks(path):
    """Returns the seven points of a file of MeshLab, [7, 3] in the scan's unit.

    In this order: outer and inner corner of the right eye, inner and outer corner of the left one,
    base of the nose, right and left corner of the mouth.

    Raises:
        UserError: it cannot be read or holds another number of points.
    """
    try:
        root = ElementTree.parse(path).getroot()
        found = [[float(point.get(axis)) for axis in 'xyz'] for point in root.iter('point')]
    except (OSError, ElementTree.ParseError, TypeError, ValueError) as error:
        raise UserError(
            f'{path} is no file of picked points ({error}): use it as it comes with the challenge'
        ) from error
    points = np.array(found, np.float64).reshape(-1, 3)
    if len(points) != NUM_LANDMARKS or not np.isfinite(points).all():
        raise UserError(
            f'{path} holds {len(points)} points where the challenge has {NUM_LANDMARKS}: use it as '
            'it comes'
        )
    return points


def _only(folder, ending, what):
    """Returns the first file of a folder with an ending, as the challenge's program takes it."""
    found = layout.files(folder) if os.path.isdir(folder) else []
    found = [path for path in found if path.lower().endswith(ending)]
    if not found:
        raise UserError(f'there is no {what} ({ending}) in {folder}: unpack them there')
    return found[0]
