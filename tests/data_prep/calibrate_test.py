import types

import numpy as np
import pytest
from scipy import spatial

from data_prep.package_files import calibrate
from seqface_jax.geometric_filter import belief, information, point_fit


@pytest.mark.parametrize(
    ('scores', 'chosen'),
    [((0.785, 0.793, 0.815), 1), ((0.78, 0.80, 0.82), 0), ((0.82, 0.80, 0.805), 2)],
)
def test_of_what_is_as_good_points_count_for_the_least(scores, chosen):
    tried = [(score, number) for number, score in enumerate(scores)]
    assert calibrate.most_careful(tried) == tried[chosen]


def test_what_is_said_answers_as_the_state_does():
    rng = np.random.default_rng(0)
    state, root = belief.initial_state(5, 4), rng.normal(size=(5, 9))
    state.information[:2], state.vector[:2] = root @ root.T, rng.normal(size=(2, 5))
    state.count[:2] = 1, 3
    gain = rng.uniform(0.2, 1, 5)
    shared = information.make_shared_error(rng.normal(size=5), 0.2 * np.eye(5), gain)
    settings = point_fit.FitSettings()
    stream = types.SimpleNamespace(
        geometry=types.SimpleNamespace(
            settings=settings, shared=shared, basis=types.SimpleNamespace(mean=np.zeros(3))
        ),
        vertices=lambda posterior: posterior.mean,
        deviation=lambda posterior: posterior.covariance,
    )
    expected = belief.posterior(state, shared, settings)
    mean, covariance = calibrate.read(stream, calibrate.said(stream, state))
    np.testing.assert_allclose(mean, expected.mean[:3], atol=1e-5)
    np.testing.assert_allclose(covariance, expected.covariance[:3], atol=1e-5)


def seen_people(rng, kinds, size=3):
    """Returns calibrate.SeenPersons of the kinds, each with something said after 1 and 4."""
    made = []
    for kind in kinds:
        said = {}
        for count in (1, 4):
            rows = rng.normal(size=(6, size))
            said[count] = rows.T @ rows, rng.normal(size=size)
        made.append(calibrate.SeenPerson(kind, said, np.zeros((4, 3)), rng.normal(size=size)))
    return made


@pytest.mark.parametrize('kinds', [(0, 1, 1, 0, 2), (0, 0, 0, 0)])
def test_what_is_tried_on_a_person_was_learnt_from_others_of_other_kinds(monkeypatch, kinds):
    people = seen_people(np.random.default_rng(0), kinds)
    monkeypatch.setattr(calibrate, 'measured', lambda others: {'others': others})
    crossed = list(calibrate.crossed(people, {}, lambda arrays: arrays['others']))
    assert sorted(id(one) for one, _ in crossed) == sorted(map(id, people))
    for one, others in crossed:
        assert all(one is not other for other in others)
        if len(set(kinds)) > 1:
            assert [id(o) for o in others] == [id(o) for o in people if o.kind != one.kind]
        else:
            assert len(others) == len(people) // 2


def test_wider_units_say_the_same_of_the_same_face():
    rng = np.random.default_rng(1)
    (person,), basis = seen_people(rng, [0]), rng.normal(size=(3, 4, 3))
    (wide,), arrays = calibrate.widened([person], {'basis': basis}, 1.4)
    shape = rng.normal(size=3)
    for count in person.said:
        likelihoods = []
        for one, z in ((person, shape), (wide, shape / 1.4)):
            matrix, vector = one.said[count]
            likelihoods.append(vector @ z - 0.5 * z @ matrix @ z)
        assert likelihoods[0] == pytest.approx(likelihoods[1])
    np.testing.assert_allclose(
        np.tensordot(wide.truth, arrays['basis'], 1), np.tensordot(person.truth, basis, 1)
    )


def test_what_was_measured_before_is_taken_out_of_a_geometry():
    rng = np.random.default_rng(1)
    arrays = {'basis': rng.normal(size=(3, 4, 3)), 'mean': rng.normal(size=(4, 3))}
    _, wide = calibrate.widened(seen_people(rng, [0]), arrays, 1.4)
    plain = calibrate.shape_space(wide | {'band_scale': 1.2, 'shared_gain': np.ones(3)})
    assert set(plain) == {'basis', 'mean'}
    np.testing.assert_allclose(plain['basis'], arrays['basis'])
    np.testing.assert_array_equal(calibrate.shape_space(arrays)['basis'], arrays['basis'])


def test_what_slides_along_the_skin_is_no_surface_error_what_rises_from_it_is():
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    flat = np.concatenate([grid, np.zeros((25, 1))], 1)
    triangles = spatial.Delaunay(grid).simplices
    beyond = np.array([[0, 1, 30]])  # A triangle of the eyes, which `truth` does not have.
    triangles, near = np.concatenate([triangles, beyond]), np.arange(25) < 20
    moved = flat + [0.3, -0.2, 0.0]
    assert calibrate.surface_error(moved, flat, near, triangles) == pytest.approx(0.0, abs=1e-6)
    moved[:10, 2] = -2.0
    assert calibrate.surface_error(moved, flat, near, triangles) == pytest.approx(1.0)
