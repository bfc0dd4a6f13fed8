"""Anybody's own data: one folder a subject, with photos or videos and one scan of the neutral face.

anna/*.jpg + anna/scan.ply (or .obj, .wrl), mm; the folder's name is the subject's id. A photo and a
scan of one name (010.jpg + 010.obj) are one moment: with --frame_maps its photo gets a map if the
scan's texture coordinates are places in it. Of several scans the neutral one is that whose name
begins with "neutral", else the first in order of names; the next ones stand in where it cannot be
used. Splits: by a hash of the id, stable for ever (data_prep.splits.by_hash), or --splits=CSV.
"""

import os
import re

from data_prep import splits
from data_prep.sources import Frame, Subject, layout, video_frames

_SUBJECT = re.compile(r'[^.].*')
_DIGITS = re.compile(r'(\d+)')


class Source:
    """A tree of folders; see `data_prep.sources.Source`."""

    def __init__(self, raw_dir):
        self.shared_files = ()
        self.missing = []
        found = layout.subject_folders(
            raw_dir, _SUBJECT, 'the subjects', 'anna, boris, ... with photos and a scan each'
        )
        self._subjects, self._neutral = [], {}
        for subject_id, folder in sorted(found.items()):
            frames, neutral = _frames(subject_id, folder)
            self._subjects.append(Subject(subject_id, tuple(frames)))
            self._neutral[subject_id] = neutral

    def subjects(self):
        return list(self._subjects)

    def split(self, subject_id):
        return splits.by_hash(subject_id)

    def neutral(self, subject_id):
        return self._neutral[subject_id]

    def truth(self, subject_id):
        return None


def _frames(subject_id, folder):
    """Returns the frames of one subject, and (sequence, index) of the neutral one or None."""
    photos = _by_stem(layout.files(folder, layout.PHOTO_SUFFIXES))
    scans = _by_stem(layout.files(folder, layout.SCAN_SUFFIXES))
    order = sorted(photos.keys() | scans.keys(), key=_natural)
    frames = [
        Frame(subject_id, 'photos', index, photos.get(name), scans.get(name))
        for index, name in enumerate(order)
    ]
    named = [name for name in order if name in scans]
    named.sort(key=lambda name: not name.lower().startswith('neutral'))
    neutral = ('photos', order.index(named[0])) if named else None
    for path in layout.files(folder, video_frames.ENDINGS):
        frames.append(Frame(subject_id, f'video {os.path.basename(path)}', 0, path, None))
    return frames, neutral


def _by_stem(paths):
    """Returns {name: path}; of files that differ in their ending the first is taken."""
    return {layout.stem(path): path for path in reversed(paths)}


def _natural(name):
    """Sorts photo2 before photo10."""
    parts = _DIGITS.split(name)
    return [(int(part), '') if part.isdecimal() else (-1, part.lower()) for part in parts], name
