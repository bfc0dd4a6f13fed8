"""Raw data sets: each module reads one layout as its owners distribute it.

A new layout is one module with a class `Source` and one line in `_MODULES`.
"""

import importlib
from typing import NamedTuple, Protocol

import cv2

from data_prep.scans import scan_io
from data_prep.sources import morphable_model
from seqface_jax.errors import UserError

_MODULES = {  # Name on the command line -> module.
    'bu3dfe': 'data_prep.sources.bu3dfe',
    'bu4dfe': 'data_prep.sources.bu4dfe',
    'florence': 'data_prep.sources.florence_scans',
    'folder': 'data_prep.sources.folder',
    'w300lp': 'data_prep.sources.w300lp',
}


class RawFrame(NamedTuple):
    """One moment of one subject.

    sequence: name of the recording; see Subject.in_time.
    index: the frame's own number in its sequence.
    image_path: the photo, or None where the source has a scan only. It may be a video, alone in
        its sequence: its frames then have the numbers that they have in it.
    scan_path: the scan, or None where the source has a photo only; `read_scan` reads it.
    """

    subject: str
    sequence: str
    index: int
    image_path: str | None
    scan_path: str | None


class Subject(NamedTuple):
    """One person, or one face of one.

    frames: sorted by sequence, then index.
    in_time: the frames of a sequence follow each other in time. If not, they are single photos: no
        face is followed from one to the next.
    """

    id: str
    frames: tuple[RawFrame, ...]
    in_time: bool = True


class Skipped(NamedTuple):
    """Something of the raw data that could not be used, or is not used as it is.

    what: 'photo', 'scan', 'subject', 'file' or 'folder'; where: its path or id; why: one sentence.
    """

    what: str
    where: str
    why: str

    @classmethod
    def file(cls, what, path, error):
        """Returns the entry of a file that `error` is about."""
        known = isinstance(error, UserError)
        why = str(error) if known else f'cannot be used ({type(error).__name__}: {error})'
        if isinstance(error, MemoryError):
            why = 'there was not enough memory for it: run again with fewer --workers'
        return cls(what, path, why.removeprefix(path).lstrip(':, '))


class Source(Protocol):
    """What data preparation asks of a raw data set.

    missing: names of what belongs to the data set and is not in the tree, such as 'F027' or
        'F003/Angry'; reported, never fatal.
    shared_files: paths of the files besides a subject's own that its scans are made from.
    passed_over: list of Skipped, what lies in the tree and is not looked at; reported, never fatal.
    """

    missing: list[str]
    shared_files: tuple[str, ...]
    passed_over: list[Skipped]

    def __init__(self, raw_dir: str):
        """Looks into the tree; raises UserError if it does not have this layout."""

    def subjects(self) -> list[Subject]:
        """Returns every subject that has a folder, sorted by id."""

    def split(self, subject_id: str) -> str:
        """Returns the split of a subject that no table names; see sources.splits."""

    def neutral(self, subject_id: str) -> tuple[str, int] | None:
        """Returns (sequence, index) of the scan that is labelled neutral, or None."""

    def truth(self, subject_id: str) -> dict | None:
        """Returns what is known exactly about a synthetic subject, or None.

        vertices: [V, 3] float32 mm, the neutral face in its own head frame; triangles: [F, 3];
        and for every frame n: sequences [N] str, frames [N] int, rotations [N, 3, 3],
        translations [N, 3] (scan = rotation @ vertex + translation), expression_weights [N, E].
        """


# What damaged or odd data makes the readers and the numerics raise. Anything else is a fault of
# this program or of its installation, and ends the run.
FAULTS_OF_A_FILE = (
    UserError,
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
    cv2.error,
)


def module_of(name):
    """Returns the name of the module that reads a data set."""
    return _MODULES[name]


def names():
    """Returns the legal data set names."""
    return sorted(_MODULES)


def open_source(name, raw_dir):
    """Opens the raw tree of a data set.

    Raises:
        UserError: the name is not known, or raw_dir does not hold that data set.
    """
    if name not in _MODULES:
        raise UserError(f'unknown data set {name!r}; known are: {", ".join(names())}')
    try:
        return importlib.import_module(_MODULES[name]).Source(raw_dir)
    except OSError as error:
        raise UserError(f'cannot read the folder {error.filename} ({error.strerror})') from error


def read_scan(frame):
    """Returns the Scan of a frame: that of its file, or what the fitted model of its file says."""
    if frame.scan_path.lower().endswith(morphable_model.SUFFIX):
        return morphable_model.read_scan(frame)
    return scan_io.read_scan(frame.scan_path)
