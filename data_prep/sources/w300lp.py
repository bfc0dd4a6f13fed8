"""300W-LP (Zhu et al., 2016): photos turned to the side, with a face model fitted to each.

AFW/AFW_134212_1_0.jpg + .mat, the same in HELEN, IBUG, LFPW and, mirrored, in AFW_Flip, ...; the
Basel model's files, which are the user's, lie in the root (see data_prep.morphable_model). A
subject is one person in one photo, its frames the views _0, _1, ... made from it; the mirrored
photo is a subject of its own, in the split of the unmirrored one. The truth is a fitted model, not
a scan: identities are only as good as the fit.
"""

import re

from data_prep import splits
from data_prep.scans import morphable_model
from data_prep.sources import Frame, Subject, layout

FOLDERS = ('AFW', 'HELEN', 'IBUG', 'LFPW')
_FOLDER = re.compile(rf'(?:{"|".join(FOLDERS)})(?:_Flip)?', re.IGNORECASE)
_VIEW = re.compile(r'(?P<photo>.+)_(?P<view>\d{1,4})')
_FLIP = '_Flip'


class Source:
    """A tree of 300W-LP; see `data_prep.sources.Source`."""

    def __init__(self, raw_dir):
        folders = layout.subject_folders(raw_dir, _FOLDER, '300W-LP', 'AFW, AFW_Flip, ...')
        self.shared_files = morphable_model.find_files(raw_dir)
        present = {name.lower() for name in folders}
        self.missing = [
            name + flip
            for flip in ('', _FLIP)
            for name in FOLDERS
            if (name + flip).lower() not in present
        ]
        frames = {}
        for name, folder in sorted(folders.items()):
            flip = _FLIP if name.lower().endswith(_FLIP.lower()) else ''
            for frame in _frames(folder, flip):
                frames.setdefault(frame.subject, []).append(frame)
        self._subjects = {
            name: Subject(name, (_neutral(views), *sorted(views, key=lambda f: f.index)))
            for name, views in sorted(frames.items())
        }

    def subjects(self):
        return list(self._subjects.values())

    def split(self, subject_id):
        return splits.by_hash(subject_id.removesuffix(_FLIP))

    def neutral(self, subject_id):
        first = self._subjects[subject_id].frames[0]
        return first.sequence, first.index

    def truth(self, subject_id):
        return None


def _frames(folder, flip):
    """Yields the frames of one folder; photos without parameters and the reverse are frames too."""
    files = {}
    for suffixes in (layout.PHOTO_SUFFIXES, (morphable_model.SUFFIX,)):
        for path in layout.files(folder, suffixes):
            files.setdefault(layout.stem(path), {})[suffixes] = path
    for name, paths in files.items():
        match = _VIEW.fullmatch(name)
        if match:
            photo = paths.get(layout.PHOTO_SUFFIXES)
            parameters = paths.get((morphable_model.SUFFIX,))
            subject_id = match['photo'] + flip
            yield Frame(subject_id, 'views', int(match['view']), photo, parameters)


def _neutral(views):
    """Returns the frame of the neutral shape: that of the view nearest to the photo itself."""
    fitted = [frame for frame in views if frame.scan_path] or views
    first = min(fitted, key=lambda frame: frame.index)
    return first._replace(sequence=morphable_model.NEUTRAL, image_path=None)
