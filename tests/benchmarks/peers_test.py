import sys

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import landmark_model, mediapipe_mesh, peer_methods, peers
from seqface_jax.geometric_filter import face_basis
from seqface_jax.geometry import surface
from tests.helpers import bumpy_face

NUM_POINTS, NUM_MARKS = 40, 6


@pytest.fixture(scope='module')
def seen_world():
    """Returns true mixtures [6, 40], and 120 pictures: landmarks, places of the points, seen."""
    rng = np.random.default_rng(0)
    face = rng.uniform(-60, 60, (NUM_POINTS, 2))
    apart = np.linalg.norm(face[:NUM_MARKS, None] - face, axis=2)
    mixture = np.zeros((NUM_MARKS, NUM_POINTS))
    for mark, nearest in enumerate(apart.argsort(axis=1)[:, 1:4]):
        mixture[mark, nearest] = [0.5, 0.3, 0.2]
    places = face + rng.normal(0, 6, (120, NUM_POINTS, 2))  # People differ and move.
    places = 200 + rng.uniform(0.5, 3, (120, 1, 1)) * places
    return mixture, np.einsum('lp,npc->nlc', mixture, places), places


def _everything_seen(places):
    return np.ones(places.shape[:2], bool)


def test_landmarks_that_are_mixtures_of_points_are_found_to_be(seen_world):
    mixture, marks, places = seen_world
    found, taught = landmark_model.fit_mixture(marks, places, _everything_seen(places))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found, mixture, atol=0.02)
    assert taught.all()


def test_where_a_landmark_is_hidden_it_does_not_teach(seen_world):
    mixture, marks, places = seen_world
    seen = _everything_seen(places)
    seen[::2] = False
    spoilt = marks.copy()
    spoilt[::2] += 500
    found, taught = landmark_model.fit_mixture(spoilt, places, seen)
    np.testing.assert_allclose(found, mixture, atol=0.03)
    assert not taught[::2].any() and taught[1::2].all()


def test_errors_that_landmarks_share_and_their_own_are_told_apart(seen_world):
    """One layout of 2 % of the width is shared; landmark 0 errs by another 1 % in x."""
    _, marks, places = seen_world
    rng = np.random.default_rng(1)
    width = np.array([landmark_model.width_px(own) for own in marks])[:, None, None]
    layout = np.zeros((NUM_MARKS, 2))
    layout[:, 1] = 0.02
    alone = np.zeros((120, NUM_MARKS, 2))
    alone[:, :, 0] = rng.normal(0, 0.01, (120, NUM_MARKS))
    off = rng.normal(size=(120, 1, 1)) * layout + alone
    model = landmark_model.fit(marks + width * off, places, _everything_seen(places))
    total = np.einsum('rlc,rld->lcd', model.common, model.common) + model.covariance
    np.testing.assert_allclose(np.sqrt(total[:, 1, 1]), 0.02, rtol=0.3)
    np.testing.assert_allclose(np.sqrt(total[:, 0, 0]), 0.01, rtol=0.4)


def test_the_point_model_of_mixtures_is_the_mixture_of_the_points():
    rng = np.random.default_rng(0)
    basis = face_basis.FaceBasis(
        jnp.asarray(rng.normal(0, 50, (30, 3)), jnp.float32),
        jnp.asarray(rng.normal(0, 2, (4, 30, 3)), jnp.float32),
        jnp.float32(0.04),
    )
    base = face_basis.make_point_model(
        basis, np.arange(20), np.ones((20, 3)), rng.normal(size=(2, 20, 3))
    )
    mixture = np.full((3, 20), 1 / 20)
    model = landmark_model.LandmarkModel(mixture, np.zeros((1, 3, 2)), np.ones((3, 2, 2)))
    found = landmark_model.point_model(base, model)
    np.testing.assert_allclose(found.mean[0], np.asarray(base.mean).mean(0), atol=1e-4)
    np.testing.assert_allclose(
        found.directions[:, 1], np.asarray(base.directions).mean(1), atol=1e-5
    )
    assert found.common.shape == (1, 3, 2)


def test_a_sighting_weighs_errors_by_the_measured_covariance():
    covariance = np.tile(np.diag([0.01**2, 0.02**2]), (2, 1, 1))
    model = landmark_model.LandmarkModel(np.zeros((2, 2)), np.zeros((0, 2, 2)), covariance)
    places = np.array([[0.0, 0.0], [100.0, 0.0]])  # A face 100 px wide.
    found = landmark_model.sighting(places, np.array([True, False]), model)
    np.testing.assert_allclose(found.factor[0] @ [1.0, 0], [1, 0])  # 1 px is one deviation in x.
    np.testing.assert_allclose(found.factor[0] @ [0, 2.0], [0, 1])
    np.testing.assert_allclose(found.seen, [1, 0])


def test_the_triangles_of_a_mesh_are_the_circles_of_three_edges_that_are_not_around_others():
    layout = np.array([[0.0, 0], [10, 0], [5, 9], [5, 3], [-5, 9], [15, 9], [5, -8]])
    edges = [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]
    edges += [(4, 0), (4, 2), (5, 1), (5, 2), (6, 0), (6, 1)]  # Each outer edge has a neighbour.
    triangles = mediapipe_mesh.triangles_of(np.array(edges), layout)
    found = {tuple(sorted(own)) for own in triangles.tolist()}
    assert (0, 1, 2) not in found
    assert found == {(0, 1, 3), (1, 2, 3), (0, 2, 3), (0, 2, 4), (1, 2, 5), (0, 1, 6)}
    assert (mediapipe_mesh.signed_areas(layout, triangles) > 0).all()


def test_a_turned_mesh_hides_its_far_side():
    vertices, triangles = surface.from_prediction(bumpy_face.position_map_of(0, 24), ordered=True)
    for degrees, side in ((50, 1), (-50, -1)):
        angle = np.radians(degrees)
        x = np.cos(angle) * vertices[:, 0] + np.sin(angle) * vertices[:, 2]
        z = -np.sin(angle) * vertices[:, 0] + np.cos(angle) * vertices[:, 2]
        seen = mediapipe_mesh.is_seen(np.column_stack([x, -vertices[:, 1]]), -z, triangles)
        left, right = vertices[:, 0] > 40, vertices[:, 0] < -40
        near, far = (right, left) if side > 0 else (left, right)
        assert seen[near].mean() > seen[far].mean() + 0.3


def test_mediapipes_mesh_comes_at_the_size_and_pose_of_the_mean_face():
    vertices, triangles = surface.from_prediction(bumpy_face.position_map_of(0, 24), ordered=True)
    peer = peer_methods.Peer(None, None, triangles, vertices)
    camera = vertices * [1, -1, -1] * 0.4 + [80, 90, 0]  # Pixels; y down, depth away.
    mesh = peer_methods.own_mesh(peer, camera[:, :2], camera[:, 2])
    np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-3)
    assert peers.to_surface_mm(vertices[::7] + [0, 0, 1.0], mesh) < 0.2


def _scores():
    found = []
    for person, own, other in (('a', 1.0, 1.5), ('b', 1.2, 1.6), ('c', 0.8, 1.9)):
        score = [('mean_face', None, 2.0), ('flagship', 1, own), ('mediapipe + filter', 1, other)]
        found += [
            peers.PeerScore('ict', person, method, count, 'scan_to_mesh_mm', value)
            for method, count, value in score
        ]
    return found


def test_rows_average_people_and_test_each_method_against_the_flagship():
    rows = {row['method']: row for row in peers.rows_of(_scores())}
    assert rows['flagship']['mean_mm'] == pytest.approx(1.0)
    assert rows['flagship']['p_value'] is None
    assert rows['mediapipe + filter']['p_value'] == pytest.approx(0.25)  # 2 of 8 patterns of signs.
    assert rows['mean_face']['p_value'] == pytest.approx(0.25)


def test_the_table_holds_errors_and_the_time_of_a_frame(tmp_path):
    seconds = {'ict': {'mediapipe': [0.01, 0.02, 0.03], 'flagship': [0.1], 'other': []}}
    text = peers.write(str(tmp_path), _scores(), seconds, {'workdir': 'x'})
    assert '| ict | 3 | scan_to_mesh_mm | flagship | 1 | 1.00 [' in text
    assert '| ict | mediapipe | 20 |' in text
    assert (tmp_path / 'peers.md').read_text() == text
    assert '"median_seconds"' in (tmp_path / 'peers.json').read_text()


def test_without_an_environment_a_sentence_says_so(tmp_path):
    with pytest.raises(mediapipe_mesh.NoPeerError, match='holds no MediaPipe 0.10.21'):
        mediapipe_mesh.python_of(str(tmp_path), install=False)
    with pytest.raises(mediapipe_mesh.NoPeerError, match='ended with status'):
        mediapipe_mesh.find(sys.executable, [np.zeros((8, 8, 3), np.uint8)])


def test_the_files_of_people_are_named_if_they_cannot_be_read(tmp_path):
    from seqface_jax.errors import UserError

    with pytest.raises(UserError, match='absent.npz: cannot be read'):
        peers.read_kinds([str(tmp_path / 'absent.npz')], True, sys.executable)


def test_the_region_has_triangles_where_few_vertices_are_scored():
    x, y = np.meshgrid(np.arange(7.0), np.arange(7.0))
    grid = np.stack([x.ravel() * 10, y.ravel() * 10, np.zeros(49)], 1)
    corner = (np.arange(6)[:, None] * 7 + np.arange(6)).ravel()
    triangles = np.concatenate(
        [corner[:, None] + np.array([0, 1, 8]), corner[:, None] + np.array([0, 8, 7])]
    )
    peer = peer_methods.Peer(None, None, triangles, grid)
    near = np.zeros(49, bool)
    near[[0, 16, 24, 32]] = True  # No triangle's three; the first is on the rim.
    eyes = np.array([[49, 50, 51]])
    region = peer_methods.region_of(peer, grid, np.concatenate([triangles, eyes]), near)
    assert list(np.flatnonzero(region.vertices)) == [16, 24, 32]
    assert region.triangles.sum() == 2 * 4 * 4 and not region.triangles[-1]
