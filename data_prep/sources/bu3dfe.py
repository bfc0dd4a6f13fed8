"""BU-3DFE (Binghamton; by signed agreement): 100 subjects, neutral and six expressions x 4 levels.

F0001/F0001_AN01WH_F3D.wrl + F0001_AN01WH_F2D.bmp, ...: sex and number, expression (AN, DI, FE, HA,
NE, SA, SU), level 01-04 (00: neutral), ancestry; F3D is the face alone, RAW the whole scan, taken
where there is no F3D. The neutral scan is the one that is named so: NE00.
"""

import re

from data_prep.sources import RawFrame, Subject, layout, splits

EXPRESSIONS = {
    'AN': 'Angry',
    'DI': 'Disgust',
    'FE': 'Fear',
    'HA': 'Happy',
    'NE': 'Neutral',
    'SA': 'Sad',
    'SU': 'Surprise',
}
_SUBJECT = re.compile(r'[FM]\d{4}', re.IGNORECASE)
_FILE = re.compile(
    rf'(?P<subject>[FM]\d{{4}})_(?P<expression>{"|".join(EXPRESSIONS)})(?P<level>\d\d)'
    r'[A-Z]{2}_(?P<kind>F3D|F2D|RAW)',
    re.IGNORECASE,
)
_SCANS, _PHOTOS = ('F3D', 'RAW'), ('F2D', 'F3D', 'RAW')  # The first that exists is taken.


class Source:
    """A tree of BU-3DFE; see `data_prep.sources.Source`."""

    def __init__(self, raw_dir):
        self.shared_files = ()
        folders = layout.subject_folders(raw_dir, _SUBJECT, 'BU-3DFE', 'F0001, M0001, ...')
        folders = {name.upper(): path for name, path in folders.items()}
        self.missing = layout.gaps(folders, digits=4)
        self.passed_over = layout.unused(raw_dir, folders.values())
        self._subjects = []
        for subject_id, folder in sorted(folders.items()):
            frames = _frames(subject_id, folder)
            used = [path for frame in frames for path in (frame.image_path, frame.scan_path)]
            self.passed_over += layout.unused(folder, used)
            found = {frame.sequence for frame in frames}
            self.missing += layout.absent(subject_id, EXPRESSIONS.values(), found)
            # The levels of an expression are single photos.
            self._subjects.append(Subject(subject_id, tuple(frames), in_time=False))

    def subjects(self):
        """Returns every Subject of the tree, sorted by id."""
        return list(self._subjects)

    def split(self, subject_id):
        """Returns the split of a subject by the rule of splits.rule."""
        return splits.rule(subject_id)

    def neutral(self, subject_id):
        """Returns (sequence, index) of the scan labelled neutral; None where it is missing."""
        frames = next(entry.frames for entry in self._subjects if entry.id == subject_id)
        found = [frame for frame in frames if frame.sequence == 'Neutral' and frame.scan_path]
        return (found[0].sequence, found[0].index) if found else None

    def truth(self, subject_id):
        """Returns None: nothing is known exactly about real people."""
        return None


def _frames(subject_id, folder):
    """Returns the frames: one for each expression and level, with a photo, a scan or both."""
    found = {}
    wanted = {layout.PHOTO: _PHOTOS, layout.SCAN: _SCANS}
    for path in layout.files(folder):
        match = _FILE.fullmatch(layout.stem(path))
        if match is None or match['subject'].upper() != subject_id:
            continue
        place = layout.usual_kind(path)
        kinds = wanted.get(place, ())
        if match['kind'].upper() in kinds:
            key = EXPRESSIONS[match['expression'].upper()], int(match['level'])
            rank = kinds.index(match['kind'].upper())
            old = found.setdefault(key, {}).get(place, (len(kinds), ''))
            found[key][place] = min(old, (rank, path))
    return [
        RawFrame(
            subject_id,
            sequence,
            level,
            paths.get(layout.PHOTO, (0, None))[1],
            paths.get(layout.SCAN, (0, None))[1],
        )
        for (sequence, level), paths in sorted(found.items())
    ]
