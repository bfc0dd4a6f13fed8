"""300W-LP (Zhu et al., 2016): photos turned to the side, with a face model fitted to each.

AFW/AFW_134212_1_0.jpg + .mat, the same in HELEN, IBUG, LFPW and, mirrored, in AFW_Flip, ...; the
Basel model's files, which are the user's, lie in the root (see morphable_model.py). A
subject is one person in one photo, its frames the views _0, _1, ... made from it; the mirrored
photo is a subject of its own, in the split of the unmirrored one. The truth is a fitted model, not
a scan: identities are only as good as the fit.
"""

import re

from data_prep.sources import RawFrame, Subject, layout, morphable_model, splits

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
        self.passed_over = layout.unused(raw_dir, [*folders.values(), *self.shared_files])
        frames = {}
        for name, folder in sorted(folders.items()):
            flip = _FLIP if name.lower().endswith(_FLIP.lower()) else ''
            used = []
            for frame in _frames(folder, flip):
                frames.setdefault(frame.subject, []).append(frame)
                used += [frame.image_path, frame.scan_path]
            self.passed_over += layout.unused(folder, used)
        self._subjects = {
            name: Subject(name, (_neutral(views), *_in_order(views)), in_time=False)
            for name, views in sorted(frames.items())
        }

    def subjects(self):
        """Returns every Subject of the tree, sorted by id."""
        return list(self._subjects.values())

    def split(self, subject_id):
        """Returns the split of a subject by a hash, the same for a person and the mirror image."""
        return splits.by_hash(subject_id.removesuffix(_FLIP))

    def neutral(self, subject_id):
        """Returns (sequence, index) of the subject's frame without expression."""
        first = self._subjects[subject_id].frames[0]
        return first.sequence, first.index

    def truth(self, subject_id):
        """Returns None: nothing is known exactly about real people."""
        return None


def _frames(folder, flip):
    """Yields the frames of one folder; photos without parameters and the reverse are frames too."""
    photos, parameters = {}, {}
    for path in sorted(layout.files(folder), key=layout.preference):
        name = layout.stem(path)
        if not _VIEW.fullmatch(name):
            continue
        if path.lower().endswith(morphable_model.SUFFIX):
            parameters.setdefault(name, path)
        elif layout.usual_kind(path) == layout.PHOTO:
            photos.setdefault(name, path)
    for name in sorted(photos.keys() | parameters.keys()):
        match = _VIEW.fullmatch(name)
        place = match['photo'] + flip, 'views', int(match['view'])
        yield RawFrame(*place, photos.get(name), parameters.get(name))


def _in_order(views):
    return sorted(views, key=lambda frame: frame.index)


def _neutral(views):
    """Returns the frame of the neutral shape: that of the view nearest to the photo itself."""
    fitted = [frame for frame in views if frame.scan_path] or views
    first = min(fitted, key=lambda frame: frame.index)
    return first._replace(sequence=morphable_model.NEUTRAL, image_path=None)
