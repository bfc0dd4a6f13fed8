"""Reading a FaceXModel folder: units, modes, expressions, and folders that are something else."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from data_prep.synthetic import expressions, ict_facekit
from seqface_jax.errors import UserError
from tests.helpers import small_face_model


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ICT-FaceKit') / 'FaceXModel'
    small_face_model.write(folder)
    return folder


@pytest.fixture(scope='module')
def data(folder):
    return ict_facekit.read(folder)


def _used(vertices):
    return vertices[:-10]  # The lashes, written last, are not read.


def test_centimetres_become_millimetres(data):
    expected = _used(small_face_model.vertices_mm()) + 10.0 * small_face_model.SHIFT_CM
    np.testing.assert_allclose(data.mean, expected, atol=1e-3)


def test_every_mode_is_a_displacement_of_one_standard_deviation(data):
    vertices = _used(small_face_model.vertices_mm())
    expected = [small_face_model.mode_mm(k, vertices) for k in range(3)]
    np.testing.assert_allclose(data.identity, expected, atol=2e-3)


def test_the_lashes_are_left_out_and_quads_become_triangles(data):
    names = [name for name, _, _ in data.pieces]
    assert names == ['skin', 'gums', 'teeth', 'left_eye', 'right_eye']
    assert max(triangles.max() for _, _, triangles in data.pieces) == len(data.mean) - 1
    (gums,) = (triangles for name, _, triangles in data.pieces if name == 'gums')
    assert gums.shape == (8, 3)


def test_an_expression_is_the_weighted_sum_of_both_halves_of_its_shapes(data):
    weights = ict_facekit.WEIGHTS['Surprise']
    upper_lip = np.flatnonzero(data.mean[:, 1] - 4.0 > -30.0)[0]
    halves = {'browInnerUp': 2, 'browOuterUp': 2, 'eyeWide': 2, 'mouthFunnel': 1}
    shift = sum(
        weights[name] * len(name if count == 1 else f'{name}_L') / 100.0 * count
        for name, count in halves.items()
    )
    surprise = data.expressions[expressions.NAMES.index('Surprise')]
    np.testing.assert_allclose(surprise[upper_lip], shift, atol=5e-3)
    chin = np.argmin(data.mean[:, 1])
    np.testing.assert_allclose(surprise[chin, 1], shift - 20.0 * weights['jawOpen'], atol=5e-3)


def test_the_folder_around_it_will_do(folder):
    assert ict_facekit.read(folder.parent).name == 'ict'


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda folder: shutil.rmtree(folder), 'is not a folder'),
        (lambda folder: (folder / 'generic_neutral_mesh.obj').unlink(), 'holds no generic'),
        (lambda folder: (folder / 'eyeWide_R.obj').unlink(), r'eyeWide_R\.obj: is missing'),
        (lambda folder: (folder / 'vertex_indices.json').unlink(), 'landmarks cannot be read'),
        (
            lambda folder: (folder / 'vertex_indices.json').write_text(
                json.dumps({'idx_to_landmark_verts': [1, 2]})
            ),
            'no 68 landmarks',
        ),
        (
            lambda folder: (folder / 'identity001.obj').write_text('v 1 2 3\n'),
            r'identity001\.obj: has 1 vertices',
        ),
        (
            lambda folder: (folder / 'identity001.obj').write_text('v 1 2 x\n'),
            'does not hold three numbers',
        ),
        (
            lambda folder: (folder / 'generic_neutral_mesh.obj').write_text('v 1 2 3\n'),
            'lacks the material',
        ),
        (lambda folder: [p.unlink() for p in folder.glob('identity*')], r'no identity000\.obj'),
    ],
)
def test_a_folder_that_is_something_else_is_told_in_one_sentence(folder, tmp_path, damage, message):
    copy = pathlib.Path(shutil.copytree(folder, tmp_path / 'FaceXModel', symlinks=True))
    damage(copy)
    with pytest.raises(UserError, match=message) as caught:
        ict_facekit.read(copy)
    assert '\n' not in str(caught.value)
