"""MICC Florence 2D/3D faces (University of Florence; on request): 53 subjects, test only.

subject_01/Model/{frontal1,frontal2,sidel,sider}/obj/*.obj, scans in mm, and
subject_01/Video/{Indoor-Cooperative,PTZ-Indoor,PTZ-Outdoor}.mjpg (or .mjpeg, .mpg, .mpeg, .avi,
.mp4). The truth is frontal1, or frontal2 where frontal1 cannot be used; the scans of the sides,
half faces, are not read. Every video is one sequence. The field trains on none of the 53 and
scores on all (Tran et al., 2017; Genova et al., 2018; Deng et al., 2019). Some later tables leave
out 3, 28, 41 and 44, whose scans are bad: --subjects chooses.
"""

import re

from data_prep.sources import RawFrame, Subject, layout, video_frames

NUM_SUBJECTS = 53
MODELS = ('frontal1', 'frontal2')
VIDEOS = ('Indoor-Cooperative', 'PTZ-Indoor', 'PTZ-Outdoor')
_SUBJECT = re.compile(r'subject_\d\d', re.IGNORECASE)


class Source:
    """A tree of MICC Florence; see `data_prep.sources.Source`."""

    def __init__(self, raw_dir):
        self.shared_files = ()
        folders = layout.subject_folders(
            raw_dir, _SUBJECT, 'MICC Florence', 'subject_01, subject_02, ...'
        )
        folders = {name.lower(): path for name, path in folders.items()}
        expected = [f'subject_{number:02d}' for number in range(1, NUM_SUBJECTS + 1)]
        self.missing = [name for name in expected if name not in folders]
        self.passed_over = layout.unused(raw_dir, folders.values())
        self._subjects = []
        for subject_id, folder in sorted(folders.items()):
            scans, videos = _scans(folder), _videos(folder)
            inner = layout.subfolder(folder, 'Video')
            self.passed_over += layout.unused(inner, videos.values()) if inner else []
            found = {*(name for name, _ in scans), *videos}
            self.missing += layout.absent(subject_id, (*MODELS, *VIDEOS), found)
            frames = [
                RawFrame(subject_id, name, index, None, path)
                for index, (name, path) in enumerate(scans)
            ]
            frames += [RawFrame(subject_id, name, 0, path, None) for name, path in videos.items()]
            frames.sort(key=lambda frame: (frame.sequence, frame.index))
            self._subjects.append(Subject(subject_id, tuple(frames)))

    def subjects(self):
        """Returns every Subject of the tree, sorted by id."""
        return list(self._subjects)

    def split(self, subject_id):
        """Returns 'test' for everybody: there are too few people to train on."""
        return 'test'

    def neutral(self, subject_id):
        """Returns (sequence, index) of the subject's first scan, or None without a scan."""
        frames = next(entry.frames for entry in self._subjects if entry.id == subject_id)
        scans = [(frame.sequence, frame.index) for frame in frames if frame.scan_path]
        return scans[0] if scans else None

    def truth(self, subject_id):
        """Returns None: nothing is known exactly about real people."""
        return None


def _scans(folder):
    """Returns (model, path) of the frontal scans; a model may hold several, in order of name."""
    found = []
    models = layout.subfolder(folder, 'Model')
    for name in MODELS:
        model = models and layout.subfolder(models, name)
        if model:
            inner = layout.subfolder(model, 'obj') or model
            paths = layout.files(inner)
            found += [(name, path) for path in paths if layout.usual_kind(path) == layout.SCAN]
    return found


def _videos(folder):
    """Returns {sequence: path} of the videos that are there, named as above."""
    inner = layout.subfolder(folder, 'Video')
    if inner is None:
        return {}
    names = {name.lower(): name for name in VIDEOS}
    found = {}
    for path in layout.files(inner):
        if video_frames.is_video(path):  # The first of several of one name is taken.
            found.setdefault(names.get(layout.stem(path).lower(), layout.stem(path)), path)
    return dict(sorted(found.items()))
