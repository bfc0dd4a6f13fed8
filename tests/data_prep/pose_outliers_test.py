"""One wrong pose among eight: found, put right where a right one is to be found, else refused."""

import functools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.registration import canonical, pose_outliers, scan_motion
from data_prep.registration.scan_motion import ScanMotion
from data_prep.scans.scan import Scan
from data_prep.synthetic.registration_template import template
from tests.helpers.simulated_scan import scan_of, true_face

GROUP = 8


@pytest.fixture(autouse=True)
def eight_are_enough(monkeypatch):
    monkeypatch.setattr(pose_outliers, 'MIN_GROUP', GROUP)


@functools.cache
def _group():
    """Returns 8 scans of people whose heads are upright and frontal."""
    rng = np.random.default_rng(5)
    return [scan_of(true_face(seed), rng, side=60) for seed in range(GROUP)]


def _turned(degrees, axis):
    turn = Rotation.from_rotvec(np.radians(degrees) * np.eye(3)[axis])
    return ScanMotion(turn.as_matrix(), [0, 0, 0])


def _settle(scans, transforms):
    return pose_outliers.settle(scans, transforms, template())


@pytest.mark.parametrize(('degrees', 'axis'), [(20, 0), (-35, 1)])
def test_a_turned_face_is_found_and_turned_back(registered_roughly, degrees, axis):
    transforms = [scan_motion.IDENTITY] * GROUP
    transforms[7] = _turned(degrees, axis)
    settled = _settle(_group(), transforms)
    others = [posed for n, posed in enumerate(settled) if n != 7]
    assert max(posed.deviation_mm for posed in others) < 4.5
    assert all(posed.transform is scan_motion.IDENTITY for posed in others)
    assert not pose_outliers.is_far(settled[7])
    assert np.degrees(settled[7].transform.angle_to(scan_motion.IDENTITY)) < 5


def test_what_has_no_right_pose_stays_far_off(monkeypatch):
    monkeypatch.setattr(canonical, 'poses', lambda *_: [_turned(10, 0), _turned(50, 1)])
    scans = list(_group())
    scans[3] = Scan(np.float32(scans[3].vertices * [1.6, 1, 0.7]), scans[3].triangles)
    settled = _settle(scans, [scan_motion.IDENTITY] * len(scans))
    assert [n for n, posed in enumerate(settled) if pose_outliers.is_far(posed)] == [3]
    sentence = pose_outliers.why(settled[3].deviation_mm, ['Sad', 1])
    assert sentence.startswith('its neutral scan (Sad 001) could not be turned to the front')


def test_a_scan_elsewhere_shares_nothing_with_the_group():
    median = pose_outliers.median_radius([np.full((8, 8), 90.0)] * 20)
    nowhere = np.full((8, 8), np.nan)
    assert pose_outliers.deviation_mm(nowhere, median) == np.inf
    assert pose_outliers.deviation_mm(np.full((8, 8), 97.0), median) == 7.0
    assert 'does not overlap' in pose_outliers.why(np.inf, ['Sad', 1])


def test_a_small_group_is_not_judged():
    transforms = [scan_motion.IDENTITY] * (GROUP - 2) + [_turned(40, 1)]
    settled = _settle(_group()[1:], transforms)
    assert [posed.transform for posed in settled] == transforms
    assert not any(map(pose_outliers.is_far, settled))
