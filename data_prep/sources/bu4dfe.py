"""BU-4DFE (Binghamton; by signed agreement), and the synthetic trees that imitate it.

F001/Angry/000.wrl + 000.jpg, 001.wrl + 001.jpg, ...: subjects F001-F058 and M001-M043, six
expressions each, about 100 frames per expression, scans in mm as VRML 2.0. Nothing is assumed
about first number, count, gaps, picture size or case of names. A synthetic tree keeps the truth
beside its subjects, in truth/F001.npz.
"""

import os
import re
import zipfile

import numpy as np

from data_prep import splits
from data_prep.sources import Frame, Subject, layout
from seqface_jax.errors import UserError

EXPRESSIONS = ('Angry', 'Disgust', 'Fear', 'Happy', 'Sad', 'Surprise')
_MAX_DIGITS = 9  # Of a frame's number; the records keep 32 bits.
# Large synthetic trees go on at F1000.
_SUBJECT = re.compile(r'[FM](\d{3}|[1-9]\d{3})', re.IGNORECASE)


class Source:
    """A BU-4DFE tree; see `data_prep.sources.Source`."""

    def __init__(self, raw_dir):
        self._raw_dir = raw_dir
        self.shared_files = ()
        folders = layout.subject_folders(raw_dir, _SUBJECT, 'BU-4DFE', 'F001, M001, ...')
        self._folders = {name.upper(): path for name, path in folders.items()}
        self._subjects = []
        self.missing = layout.gaps(self._folders, digits=3)
        for subject_id, folder in sorted(self._folders.items()):
            sequences = _find_sequences(folder)
            self.missing += layout.absent(subject_id, EXPRESSIONS, sequences)
            frames = [
                frame
                for name, path in sorted(sequences.items())
                for frame in _find_frames(subject_id, name, path)
            ]
            self._subjects.append(Subject(subject_id, tuple(frames)))

    def subjects(self):
        return list(self._subjects)

    def split(self, subject_id):
        return splits.rule(subject_id)

    def neutral(self, subject_id):
        return None  # Not labelled.

    def truth(self, subject_id):
        path = os.path.join(self._raw_dir, 'truth', f'{subject_id}.npz')
        if not os.path.exists(path):
            return None
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f'the truth {path} cannot be read ({error}): write the tree '
                'again, in another --out_dir, or restore the file from a copy'
            ) from error


def _find_sequences(folder):
    """Returns {expression as BU-4DFE spells it: path} of the expressions that are there."""
    by_name = layout.match_folders(folder, re.compile('|'.join(EXPRESSIONS), re.IGNORECASE))
    by_name = {name.upper(): path for name, path in by_name.items()}
    return {name: by_name[name.upper()] for name in EXPRESSIONS if name.upper() in by_name}


def _find_frames(subject_id, sequence, folder):
    """Returns the frames of a sequence in order: a photo, a scan or both per number."""
    photos, scans = {}, {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        suffix = suffix.lower()
        if not stem.isdecimal() or len(stem) > _MAX_DIGITS:
            continue
        for suffixes, found in ((layout.PHOTO_SUFFIXES, photos), (layout.SCAN_SUFFIXES, scans)):
            if suffix in suffixes:
                rank = suffixes.index(suffix)
                found[int(stem)] = min(found.get(int(stem), (rank, name)), (rank, name))

    def path(found, index):
        return os.path.join(folder, found[index][1]) if index in found else None

    return [
        Frame(subject_id, sequence, index, path(photos, index), path(scans, index))
        for index in sorted(photos.keys() | scans.keys())
    ]
