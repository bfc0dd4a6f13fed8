import functools
import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.registration import canonical, groupwise
from data_prep.registration.canonical import RegistrationError
from data_prep.registration.scan_motion import IDENTITY, ScanMotion
from data_prep.scans import cleaning
from data_prep.scans.scan import Scan
from data_prep.synthetic.registration_template import template
from seqface_jax.errors import UserError
from tests.helpers.simulated_scan import random_motion, scan_of, true_face

_NOSE = np.array([0.0, 0.0, 90.0])


def _register(face, motion, rng, **kinds):
    """Returns the motion head frame -> canonical frame that registration finds."""
    scan = motion.apply_to_scan(scan_of(face, rng, side=100, **kinds))
    return canonical.register(scan, template())[0].compose(motion)


def _assert_same(first, second, degrees=0.5, millimetres=0.5):
    assert np.degrees(first.angle_to(second)) <= degrees
    assert np.linalg.norm(first.apply(_NOSE) - second.apply(_NOSE)) <= millimetres


@functools.cache
def _untouched(seed):
    return _register(true_face(seed), IDENTITY, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ('seed', 'kinds'),
    [
        (11, {}),
        (11, {'hair': True}),
        (12, {'collar': True}),
        (12, {'holes': 12}),
        (12, {'noise_mm': 0.3}),
    ],
    ids=['motion', 'hair', 'collar', 'holes', 'noise'],
)
def test_the_frame_is_the_same_after_any_motion(seed, kinds):
    rng = np.random.default_rng([seed, 1])
    found = _register(true_face(seed), random_motion(rng), rng, **kinds)
    _assert_same(found, _untouched(seed))


def test_the_template_finds_itself():
    motion = random_motion(np.random.default_rng(5))
    transform, residual_mm = canonical.register(motion.apply_to_scan(template()), template())
    _assert_same(transform.compose(motion), IDENTITY, 0.1, 0.1)
    assert residual_mm < 0.2


def test_size_is_kept(registered_roughly):
    _, transform = _upright()
    np.testing.assert_allclose(transform.rotation @ transform.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(transform.rotation) > 0


def _sphere(face):
    unit = face.vertices / np.linalg.norm(face.vertices, axis=1, keepdims=True)
    return Scan(90 * unit, face.triangles)


def test_what_is_no_face_is_an_error(registered_roughly):
    face = scan_of(template(), np.random.default_rng(0), side=60)
    flat = Scan((face.vertices * [1, 1, 0]).astype(np.float32), face.triangles)
    metres = Scan(face.vertices / 1000, face.triangles)
    inside_out = Scan(face.vertices, face.triangles[:, ::-1])
    for scan in (_sphere(face), flat, metres, inside_out):
        with pytest.raises(RegistrationError, match='face'):
            canonical.register(scan, template())
    assert issubclass(RegistrationError, UserError)


def test_half_a_face_fits_well_enough_and_its_nose_tells():
    whole = template()
    half = whole.triangles[whole.vertices[whole.triangles].mean(axis=1)[:, 0] < 0]
    with pytest.raises(RegistrationError, match=r'covers 6\d %.* the nose agrees by 0\.4'):
        canonical.register(cleaning.compact(whole, half), template())


def test_inverse_undoes_and_compose_chains():
    rng = np.random.default_rng(0)
    first, second, points = random_motion(rng), random_motion(rng), rng.normal(size=(5, 3))
    np.testing.assert_allclose(first.inverse().apply(first.apply(points)), points, atol=1e-9)
    chained = second.compose(first).apply(points)
    np.testing.assert_allclose(chained, second.apply(first.apply(points)), atol=1e-9)


def test_a_quarter_turn_is_90_degrees():
    turn = ScanMotion(Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix(), np.zeros(3))
    np.testing.assert_allclose(turn.apply(np.array([1.0, 0, 0])), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(turn.angle_to(IDENTITY), np.pi / 2)


@functools.cache
def _group():
    rng = np.random.default_rng(3)
    scans = [scan_of(true_face(seed), rng, side=80) for seed in (21, 22, 23)]
    return scans, [IDENTITY] * len(scans)  # Near the right ones: heads lie in their own frame.


@functools.cache
def _refined():
    return groupwise.refine(*_group(), template(), rounds=2)


def test_refining_a_group_does_not_depend_on_its_order():
    scans, transforms = _group()
    refined, mean = _refined()
    order = [2, 0, 1]
    again, again_mean = groupwise.refine(
        [scans[i] for i in order], [transforms[i] for i in order], template(), rounds=2
    )
    np.testing.assert_array_equal(mean.vertices, again_mean.vertices)
    for place, i in enumerate(order):
        np.testing.assert_array_equal(again[place].rotation, refined[i].rotation)
        np.testing.assert_array_equal(again[place].translation, refined[i].translation)


def test_refining_a_group_keeps_the_frame_of_the_template():
    scans, transforms = _group()
    # The whole group is turned by 3 degrees: the mean surface goes back to the template.
    turn = ScanMotion(Rotation.from_rotvec([0, np.radians(3), 0]).as_matrix(), np.zeros(3))
    refined, _ = _refined()
    turned = [turn.compose(transform) for transform in transforms]
    again, _ = groupwise.refine(scans, turned, template(), rounds=2)
    for first, second in zip(refined, again, strict=True):
        _assert_same(first, second)


def test_the_mean_surface_is_the_mean_of_the_middle_half():
    radii = np.full((4, 128, 128), np.nan)
    radii[:, 40:60, 40:60] = np.array([80.0, 90.0, 94.0, 300.0])[:, None, None]
    mean = groupwise.mean_surface(list(radii))
    np.testing.assert_allclose(np.linalg.norm(mean.vertices, axis=1), 92.0, rtol=1e-6)
    assert len(mean.vertices) == 400


def test_workers_can_run_it():
    for function in (canonical.register, canonical.refine, groupwise.radius_map):
        assert pickle.loads(pickle.dumps(function)) is function
    moved = pickle.loads(pickle.dumps(random_motion(np.random.default_rng(0))))
    assert isinstance(moved, ScanMotion)


@functools.cache
def _upright():
    """Returns a scan, and, roughly, its ScanMotion to the canonical frame."""
    scan = scan_of(true_face(14), np.random.default_rng(14), side=80)
    return scan, canonical.register(scan, template())[0]


_TURNS = {
    'face +z, top -y': ([0, 0, np.pi], 'its face along +z, its top along -y'),
    'face +x, top +y': ([0, np.pi / 2, 0], 'its face along +x, its top along +y'),
    'face -z, top +y': ([0, np.pi, 0], 'its face along -z, its top along +y'),
    'face -y, top +z': ([np.pi / 2, 0, 0], 'its face along -y, its top along +z'),
}


@pytest.mark.parametrize('turn', _TURNS.values(), ids=_TURNS)
def test_a_scan_turned_in_any_way_is_posed_as_the_upright_one_and_its_turn_is_named(
    registered_roughly, turn
):
    scan, upright = _upright()
    vector, name = turn
    motion = ScanMotion(Rotation.from_rotvec(vector).as_matrix(), np.array([5.0, -60.0, 20.0]))
    transform, _ = canonical.register(motion.apply_to_scan(scan), template())
    _assert_same(transform.compose(motion), upright, 0.2, 0.2)
    assert canonical.is_turned(transform) and canonical.orientation(transform) == name
    assert not canonical.is_turned(upright)


def test_a_turned_pose_that_fits_hardly_better_than_the_upright_one_is_refused(
    registered_roughly, monkeypatch
):
    scan, _ = _upright()
    motion = ScanMotion(Rotation.from_rotvec([0, 0, np.pi]).as_matrix(), np.zeros(3))
    monkeypatch.setattr(canonical, '_TURNED_BETTER_MM', 5.0)
    sentence = r'along \+z, its top along \+y fits as well as .*, its top along -y; turn it'
    with pytest.raises(RegistrationError, match=sentence):
        canonical.register(motion.apply_to_scan(scan), template())
