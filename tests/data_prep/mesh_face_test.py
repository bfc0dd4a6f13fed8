"""Faces from meshes: the frame, the warp to the embedded head, people and scans made of them."""

import numpy as np
import open3d as o3d
import pytest

from data_prep import synthetic_raw
from data_prep.scans import scan_io
from data_prep.synthetic import appearance, faces, head
from data_prep.synthetic.person import Person
from seqface_jax.errors import UserError
from tests.helpers import small_face_model


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return small_face_model.write(tmp_path_factory.mktemp('FaceXModel'))


@pytest.fixture(scope='module')
def face(folder):
    return faces.open_face('ict', folder)


def test_the_mean_nose_tip_lies_90_mm_before_the_origin(face):
    np.testing.assert_allclose(face.mean[face.landmarks['nose_tip']], [0, 0, 90], atol=1.5)


def test_the_neutral_face_is_linear_in_the_identity(face):
    one, two = np.array([1.0, 0.0, 0.5]), np.array([0.0, -1.0, 0.5])
    expected = face.neutral(one) + face.neutral(two) - face.mean
    np.testing.assert_allclose(face.neutral(one + two), expected, atol=1e-3)


def test_identities_are_normal_without_caricatures(face):
    rng = np.random.default_rng(0)
    samples = np.stack([face.sample_identity(rng) for _ in range(400)])
    assert np.abs(samples).max() <= 2.3
    np.testing.assert_allclose(samples.mean(axis=0), 0.0, atol=0.15)
    np.testing.assert_allclose(samples.std(axis=0), 0.9, atol=0.12)


def test_a_face_like_the_embedded_one_is_painted_where_the_embedded_one_is(face):
    (skin,) = (part for part in face.parts(fine=True, all_round=True) if part.name == 'skin')
    thin = small_face_model.THINNING
    shape = head.mean_head().grid[::thin, ::thin].shape[:2]
    corners = skin.triangles[skin.cells]
    row, column = skin.place(skin.cells, np.zeros((len(skin.cells), 2)))
    place = face.mean[corners[:, 0]]
    near = np.abs(place[:, 1] - 10.0) < 55.0  # Brows to mouth.
    near &= (place[:, 2] > 30.0) & (np.abs(place[:, 0]) > 12.0)
    error = np.hypot(
        row - thin * (corners[:, 0] // shape[1]), column - thin * (corners[:, 0] % shape[1])
    )
    assert np.median(error[near]) < 2.0  # About 1 mm is usual; landmarks are 3 steps apart.
    assert np.quantile(error[near], 0.9) < 5.0


def test_hair_grows_on_the_same_scalp(face):
    grid = head.mean_head().grid
    scalp = face.scalp(face.mean)
    haired = (grid[..., 1] > 100.0) & (grid[..., 1] < 145.0)
    error = np.linalg.norm(scalp - grid, axis=-1)[haired]
    assert np.median(error) < 2.5


def test_the_mouth_opens_as_far_as_the_jaw_drops(face):
    weights = np.eye(6)[synthetic_raw.expressions.NAMES.index('Surprise')]
    opened = face.express(face.mean, weights)
    closed = face.mouth_opening(face.mean)
    assert 10.0 < face.mouth_opening(opened) - closed < 20.0


def test_a_person_has_hair_and_clothes_over_the_face(face):
    looks = appearance.sample_appearance(np.random.default_rng(4), 'F')
    assert looks.hair_style != 'shaved'
    person = Person(np.zeros(3), looks, face)
    names = [part.name for part in person.parts]
    assert names[:5] == ['skin', 'gums', 'teeth', 'left_eye', 'right_eye']
    assert names[-1] == 'bust' and 'hair' in names
    surface = person.surface(np.zeros(6), 0.0, np.eye(3), np.zeros(3))
    assert person.triangles.max() < len(surface)
    assert len(person.triangles) == len(person.triangle_part) == len(person.triangle_cell)


def test_a_raw_tree_of_such_people_has_scans_on_their_true_surface(folder, tmp_path):
    settings = synthetic_raw.Settings(
        frames=1, seed=3, scan_vertices=4000, photo_height=120, face='ict', face_dir=folder,
        scans='neutral',
    )  # fmt: skip
    synthetic_raw.write(tmp_path, 1, 1, settings)
    with np.load(tmp_path / 'truth' / 'F001.npz') as truth:
        moved = truth['vertices'] @ truth['rotations'][0].T + truth['translations'][0]
        triangles, tip = truth['triangles'], moved[np.argmax(truth['vertices'][:, 2])]
        assert truth['sequences'][0] == 'Angry'
    scan = scan_io.read_scan(tmp_path / 'F001' / 'Angry' / '000.wrl')
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(moved.astype(np.float32)), o3d.core.Tensor(triangles.astype(np.uint32))
    )
    used = scan.vertices[np.unique(scan.triangles)]
    near = used[np.linalg.norm(used - tip, axis=1) < 55.0]
    distance = scene.compute_distance(o3d.core.Tensor(near)).numpy()
    assert len(near) > 300
    assert np.quantile(distance, 0.9) < 0.6


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('klingon',), 'known are: embedded, ict'),
        (('ict',), 'needs --face_dir'),
        (('embedded', 'somewhere'), 'face_dir is for'),
        (('ict', '/nowhere'), 'is not a folder'),
    ],
)
def test_a_face_that_cannot_be_opened_is_told_in_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        faces.open_face(*arguments)
