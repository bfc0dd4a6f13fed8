"""Anybody's own data: a folder a subject, with photos or videos and a scan of the neutral face.

anna/*.jpg + anna/scan.ply (or .obj, .wrl), mm; the folder's name is the subject's id. What a file
is says its content, not its name. A photo and a scan of one name (010.jpg + 010.obj) are one
moment: with --frame_maps its photo gets a map if the scan's texture coordinates are places in it.
Photos are no video: each is looked at by itself. Of several scans the neutral one is that whose
name begins with "neutral", else the first in order of names; the next ones stand in where it cannot
be used. Splits: by a hash of the id, stable for ever (sources.splits.by_hash), or --splits=CSV.
"""

import itertools
import os
import re

from data_prep.sources import RawFrame, Skipped, Subject, layout, splits
from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.photos import own_files

_SUBJECT = re.compile(r'[^.].*')
_DIGITS = re.compile(r'(\d+)')
_OWN_SCAN, _HEAD_BYTES = b'unit: mm', 256  # A comment that reconstruction.export begins with.
_EXAMPLE = 'anna, boris, ... with photos and a scan each'


class Source:
    """A tree of folders; see `data_prep.sources.Source`."""

    def __init__(self, raw_dir):
        self.shared_files = ()
        self.missing = []
        found = layout.subject_folders(raw_dir, _SUBJECT, 'the subjects', _EXAMPLE)
        self.passed_over = layout.unused(raw_dir, found.values(), "it lies in no subject's folder")
        self._subjects, self._neutral = [], {}
        for name, folder in sorted(found.items()):
            subject_id = files.printable(name)
            kinds, passed_over = _files(folder)
            self.passed_over += passed_over
            frames, neutral = _frames(subject_id, kinds)
            self._subjects.append(Subject(subject_id, tuple(frames), in_time=False))
            self._neutral[subject_id] = neutral
        below = [entry.where for entry in self.passed_over if entry.what == 'folder']
        if below and not any(entry.frames for entry in self._subjects):
            raise UserError(
                f'--raw_dir={raw_dir} holds no photos and no scans in its folders, only folders: '
                f'give the one that holds {_EXAMPLE}; did you mean '
                f'--raw_dir={os.path.dirname(below[0])}?'
            )

    def subjects(self):
        """Returns every Subject of the tree, sorted by id."""
        return list(self._subjects)

    def split(self, subject_id):
        """Returns the split of a subject by a hash of its id."""
        return splits.by_hash(subject_id)

    def neutral(self, subject_id):
        """Returns (sequence, index) of the subject's one scan."""
        return self._neutral[subject_id]

    def truth(self, subject_id):
        """Returns None: nothing is known exactly about real people."""
        return None


def _files(folder):
    """Returns {kind: paths} of a subject's photos, scans and videos, and what is passed over."""
    found = {layout.PHOTO: [], layout.SCAN: [], layout.VIDEO: []}
    passed_over = []
    for path in layout.files(folder):
        if os.path.isdir(path):
            why = "a folder inside a subject's folder is not looked into"
            passed_over.append(Skipped('folder', path, why))
        elif _is_own(path):
            why = 'this program has written it: it is no photo or scan of a person'
            passed_over.append(Skipped('file', path, why))
        elif kind := layout.kind_of(path):
            found[kind].append(path)
        elif not path.lower().endswith('.mtl'):  # Read with its OBJ scan.
            passed_over.append(Skipped('file', path, layout.what_it_is(path)))
    return found, passed_over


def _is_own(path):
    """Returns whether this program wrote a file. Of a scan its name, face.ply, is not enough."""
    if not own_files.is_own(path) or layout.kind_of(path) != layout.SCAN:
        return own_files.is_own(path)
    with open(path, 'rb') as file:
        return _OWN_SCAN in file.read(_HEAD_BYTES)


def _frames(subject_id, kinds):
    """Returns the frames of one subject, and (sequence, index) of the neutral one or None."""
    photos, scans = _by_stem(kinds[layout.PHOTO]), _by_stem(kinds[layout.SCAN])
    frames, neutral = [], []
    for name in sorted(photos.keys() | scans.keys(), key=_natural):
        for photo, scan in itertools.zip_longest(photos.get(name, ()), scans.get(name, ())):
            neutral += [(name, len(frames))] if scan else []
            frames.append(RawFrame(subject_id, 'photos', len(frames), photo, scan))
    neutral.sort(key=lambda named: not named[0].lower().startswith('neutral'))
    for path in kinds[layout.VIDEO]:
        sequence = files.printable(f'video {os.path.basename(path)}')
        frames.append(RawFrame(subject_id, sequence, 0, path, None))
    return frames, ('photos', neutral[0][1]) if neutral else None


def _by_stem(paths):
    """Returns {name: [path, ...]}, of one name the usual kinds first."""
    named = {}
    for path in sorted(paths, key=layout.preference):
        named.setdefault(layout.stem(path), []).append(path)
    return named


def _natural(name):
    """Sorts photo2 before photo10."""
    parts = _DIGITS.split(name)
    return [(int(part), '') if part.isdecimal() else (-1, part.lower()) for part in parts], name
