import csv
import types

import numpy as np
import pytest

from seqface_jax.photos import video
from seqface_jax.reconstruct import Face, Observation
from seqface_jax.reconstruction import demo_record, person_stream
from tests.helpers import small_fit

_NAMES = ('jawOpen', 'eyeBlinkLeft')


def _moment(name, fit, scale=1.0):
    """Returns a Moment of a photo that was used; fit is a FrameFit, or None."""
    vertices, triangles, _ = small_fit.mesh()
    face = Face(vertices, triangles, np.ones(len(vertices)), frame=fit)
    found = types.SimpleNamespace(box=np.array([10.0, 20.0, 30.0, 60.0]), found_by='a face')
    observation = Observation(found, np.zeros((8, 8, 3), np.uint8), 0.5, None)
    frame = video.Frame(name, small_fit.photo(), scale=scale)
    return person_stream.Moment(frame, observation, None, face)


def _rows(output):
    with open(output / 'frames.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_all_pixels_of_a_shrunk_frame_are_told_in_those_of_its_file(tmp_path):
    with demo_record.Record(str(tmp_path), blendshape_names=_NAMES) as record:
        record.add(_moment('0', small_fit.make()))
        record.add(_moment('1', small_fit.make(), scale=0.5))
    plain, shrunk = _rows(tmp_path)
    for name in ('x0', 'y1', 'focal_px', 'center_x_px', 'center_y_px', 'reprojection_px'):
        assert float(shrunk[name]) == pytest.approx(2 * float(plain[name]))
    for name in ('translation_z_mm', 'rotation_00', 'yaw_deg'):
        assert shrunk[name] == plain[name]


class _Painter:
    """Finds a pose on every photo and counts them."""

    count = 0

    def add(self, photo, box, face):
        self.count += 1
        return types.SimpleNamespace(angles_rad=np.radians([10.0, 0.0, 0.0]))


def test_every_used_frame_of_a_long_video_has_a_pose_or_the_reason_why_not(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_record, '_PAINTED', 2)
    painter = _Painter()
    with demo_record.Record(str(tmp_path), painter=painter) as record:
        for number in range(9):
            record.add(_moment(str(number), None))
        thinned = 9 - painter.count
        for number in range(9):
            record.add(_moment(str(number), small_fit.make(yaw_deg=20)))
    sought, fitted = _rows(tmp_path)[:9], _rows(tmp_path)[9:]
    without = [row for row in sought if not row['yaw_deg']]
    assert len(without) == thinned > 2
    assert all('no pose: of a video this long' in row['detail'] for row in without)
    assert all(row['detail'] == 'a face' for row in sought if row['yaw_deg'])
    assert {row['yaw_deg'] for row in fitted} == {'20.0'}  # The fit has told it already.


def test_of_a_video_only_some_frames_of_one_view_are_painted_and_of_photos_all(tmp_path):
    counts = []
    for ordered in (True, False):
        painter, folder = _Painter(), tmp_path / str(ordered)
        with demo_record.Record(str(folder), painter=painter, ordered=ordered) as record:
            for number in range(12):
                record.add(_moment(str(number), small_fit.make(yaw_deg=2)))
        counts.append(painter.count)
        assert {row['yaw_deg'] for row in _rows(folder)} == {'2.0'}
    assert counts == [3, 12]


def test_a_network_without_order_says_why_there_is_no_pose(tmp_path):
    with demo_record.Record(str(tmp_path)) as record:
        record.add(_moment('0', None))
    assert 'the points of this network have no order' in _rows(tmp_path)[0]['detail']


def test_jitter_of_a_jump_by_3_4_mm_is_5_then_10_then_5():
    faces = np.zeros((5, 2, 3))
    faces[2] = [3, 4, 0]
    np.testing.assert_allclose(demo_record.jitter(faces), [5, 10, 5])


def test_steady_motion_has_no_jitter():
    steady = np.random.default_rng(0).normal(0, 50, (1, 40, 3)) + 2 * np.arange(6)[:, None, None]
    np.testing.assert_allclose(demo_record.jitter(steady), 0, atol=1e-12)
