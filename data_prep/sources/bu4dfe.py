"""BU-4DFE (Binghamton; by signed agreement), and the synthetic trees that imitate it.

F001/Angry/000.wrl + 000.jpg, 001.wrl + 001.jpg, ...: subjects F001-F058 and M001-M043, six
expressions each, about 100 frames per expression, scans in mm as VRML 2.0. Nothing is assumed
about first number, count, gaps, picture size or case of names. A synthetic tree keeps the truth
beside its subjects, in truth/F001.npz.
"""

import os
import re

import numpy as np

from data_prep.sources import RawFrame, Subject, layout, splits
from seqface_jax import files
from seqface_jax.errors import UserError

EXPRESSIONS = ('Angry', 'Disgust', 'Fear', 'Happy', 'Sad', 'Surprise')
_MAX_DIGITS = 9  # Most digits of a frame's number; the records keep 32 bits.
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
        used = [*self._folders.values(), os.path.join(raw_dir, 'truth')]
        self.passed_over = layout.unused(raw_dir, used)
        for subject_id, folder in sorted(self._folders.items()):
            sequences = _find_sequences(folder)
            self.missing += layout.absent(subject_id, EXPRESSIONS, sequences)
            self.passed_over += layout.unused(folder, sequences.values())
            frames = []
            for name, path in sorted(sequences.items()):
                found, passed_over = _find_frames(subject_id, name, path)
                frames += found
                self.passed_over += passed_over
            self._subjects.append(Subject(subject_id, tuple(frames)))

    def subjects(self):
        """Returns every Subject of the tree, sorted by id."""
        return list(self._subjects)

    def split(self, subject_id):
        """Returns the split of a subject by the rule of splits.rule."""
        return splits.rule(subject_id)

    def neutral(self, subject_id):
        """Returns None: no scan of BU-4DFE is labelled neutral."""
        return None  # Not labelled.

    def truth(self, subject_id):
        """Returns what truth/ID.npz says, see sources.Source; None where there is none."""
        path = os.path.join(self._raw_dir, 'truth', f'{subject_id}.npz')
        if not os.path.exists(path):
            return None
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except (OSError, *files.DAMAGED_ARRAYS) as error:
            raise UserError(
                f'the truth {path} cannot be read ({error}): write the tree again, in another '
                '--out_dir, restore the file from a copy, or move it elsewhere to go without'
            ) from error


def _find_sequences(folder):
    """Returns {expression as BU-4DFE spells it: path} of the expressions that are there."""
    by_name = layout.match_folders(folder, re.compile('|'.join(EXPRESSIONS), re.IGNORECASE))
    by_name = {name.upper(): path for name, path in by_name.items()}
    return {name: by_name[name.upper()] for name in EXPRESSIONS if name.upper() in by_name}


def _find_frames(subject_id, sequence, folder):
    """Returns the frames of a sequence in order, and what is passed over.

    A frame is a photo, a scan or both of one number.
    """
    found = {layout.PHOTO: {}, layout.SCAN: {}}
    for path in sorted(layout.files(folder), key=layout.preference):
        number = layout.stem(path)
        if number.isdecimal() and len(number) <= _MAX_DIGITS:
            kind = layout.usual_kind(path)
            if kind in found:
                found[kind].setdefault(int(number), path)
    photos, scans = found[layout.PHOTO], found[layout.SCAN]
    frames = [
        RawFrame(subject_id, sequence, index, photos.get(index), scans.get(index))
        for index in sorted(photos.keys() | scans.keys())
    ]
    return frames, layout.unused(folder, [*photos.values(), *scans.values()])
