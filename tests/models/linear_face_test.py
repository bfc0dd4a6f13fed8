import numpy as np

from seqface_jax.models import linear_face
from tests.helpers import bumpy_face


def test_the_movements_of_training_frames_and_their_mirror_images_lie_in_the_space():
    rng = np.random.default_rng(0)
    deformation = rng.normal(size=(2, 128, 128)).astype(np.float32)
    mask = np.ones(deformation.shape, bool)
    mask[:, :5] = False
    table = {'deformation': deformation, 'deformation_mask': mask}
    basis = linear_face.expression_components(table, 6).reshape(6, -1)
    for movement in mask * deformation, (mask * deformation)[:, :, ::-1]:
        movement = movement.reshape(2, -1)
        codes = movement @ np.linalg.pinv(basis[:4])
        np.testing.assert_allclose(codes @ basis[:4], movement, atol=1e-3)
    np.testing.assert_array_equal(basis[4:], 0)  # About no movement: four of them span four.


def test_the_training_faces_and_their_mirror_images_lie_in_the_space():
    maps = np.stack([bumpy_face.position_map_of(seed) for seed in range(2)])
    table = {'position_map': maps, 'mask': np.ones(maps.shape[:3], bool)}
    found = linear_face.principal_components(table, 6)
    basis = found['basis'].reshape(6, -1)
    for face in (maps[0], maps[1][:, ::-1] * np.float32([-1, 1, 1])):
        deviation = (face - found['mean_map']).ravel()
        code, *_ = np.linalg.lstsq(basis[:3].T, deviation, rcond=None)
        np.testing.assert_allclose(code @ basis[:3], deviation, atol=0.01)
    np.testing.assert_array_equal(found['basis'][4:], 0)  # Four faces span three directions.
    assert found['mean_mask'].min() == 1
