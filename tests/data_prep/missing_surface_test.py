"""What of a face a scan's clean surface lacks: told, or too much and refused."""

import numpy as np
import pytest

from data_prep import sources, subject
from data_prep.registration import scan_motion
from data_prep.scans import cleaning
from data_prep.scans.scan import Scan, ScanError
from tests.helpers import small_source_trees

_GAP_MM = 0.5


def _torn(scan, cut):
    """Returns the scan with its triangles where `cut` of their middles moved off by a small gap."""
    apart = cut(scan.vertices[scan.triangles].mean(axis=1))
    doubled = np.concatenate([scan.vertices, scan.vertices + np.float32([0, 0, -_GAP_MM])])
    triangles = np.where(apart[:, None], scan.triangles + len(scan.vertices), scan.triangles)
    return Scan(doubled, triangles.astype(np.int32))


def test_a_small_piece_that_hangs_on_nothing_is_left_out_and_told():
    face = small_source_trees.person(0)
    chin = face.vertices[face.vertices[:, 2].argmax()] - [0, 62, 0]
    parts = cleaning.clean_parts(_torn(face, lambda m: np.hypot(*(m - chin)[:, :2].T) < 14))
    (note,) = subject.missing_notes(parts, scan_motion.IDENTITY)
    share = float(note.partition(' %')[0])
    assert 0.5 < share < 10 and note.endswith('is not connected with the rest and was left out')


def test_more_than_a_tenth_of_the_face_in_pieces_is_refused():
    parts = cleaning.clean_parts(_torn(small_source_trees.person(0), lambda m: m[:, 0] > 25))
    with pytest.raises(ScanError, match=r'^\d\d % of the face lies in pieces .*: join them'):
        subject.missing_notes(parts, scan_motion.IDENTITY)


def test_a_whole_face_has_nothing_to_tell():
    parts = cleaning.clean_parts(small_source_trees.person(0))
    assert subject.missing_notes(parts, scan_motion.IDENTITY) == []


def test_a_fault_of_this_program_is_no_fault_of_a_file(monkeypatch, tmp_path):
    assert not issubclass(TypeError, sources.FAULTS_OF_A_FILE)
    assert not issubclass(ImportError, sources.FAULTS_OF_A_FILE)
    skipped = sources.Skipped.file('scan', 'a.ply', MemoryError())
    assert skipped.why == 'there was not enough memory for it: run again with fewer --workers'
