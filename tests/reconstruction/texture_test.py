import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import photo_light, texture
from tests.helpers import bumpy_face

_CAMERA = pose_fitting.Camera(1000.0, np.array([128.0, 128.0]))
_LEFT, _RIGHT = (200, 60, 40), (40, 90, 210)  # Colours of the photo's halves.


def _pose(yaw=0.0, score=1.0):
    turn = Rotation.from_euler('Y', yaw).as_matrix()
    return pose_fitting.Pose(
        RigidTransform(turn, [0, 0, -1000] - turn @ pose_fitting.CENTRE), _CAMERA, score
    )


def _photo():
    photo = np.full((256, 256, 3), _RIGHT, np.uint8)
    photo[:, :128] = _LEFT
    return photo


@pytest.fixture(scope='module')
def face():
    points = bumpy_face.position_map_of(0)
    return points, bumpy_face.mask_of(points)


@pytest.fixture(scope='module')
def seen(face):
    return texture.add(texture.empty(64, 64), _photo(), _pose(), *face)


def test_the_photo_s_left_is_the_texture_s_left(seen):
    picture = texture.finish(seen)
    np.testing.assert_allclose(picture[32, 26], _LEFT, atol=5)
    np.testing.assert_allclose(picture[32, 37], _RIGHT, atol=5)


def _texel(layer, u, v):
    """Returns the weight of a layer where a texture of 64 texels has (u, v)."""
    unit = 64 // len(layer.weights)
    return layer.weights[v // unit, u // unit]


def test_what_is_seen_flatly_counts_less(seen):
    assert _texel(seen.layers[0], 32, 32) > 3 * _texel(seen.layers[0], 52, 32) > 0


def test_a_photo_counts_by_its_weight(face, seen):
    gray = np.full((256, 256, 3), 100, np.uint8)
    twice = texture.add(seen, gray, _pose(score=0.5**0.25), *face)
    first, second = (_texel(layer, 32, 32) for layer in twice.layers)
    np.testing.assert_allclose(second, first / 2, rtol=1e-3)
    # The better photo gives still more of what is fine: the cube.
    share = (twice.weights - seen.weights)[32, 32] / seen.weights[32, 32]
    np.testing.assert_allclose(share, 1 / 8, rtol=1e-3)


def test_the_side_that_no_photo_shows_mirrors_the_other(face):
    turned = texture.add(texture.empty(64, 64), np.full((256, 256, 3), _LEFT, np.uint8),
                         _pose(yaw=1.2), *face)  # fmt: skip
    # The head turns to its left, so its right cheek, the texture's left, is seen.
    assert _texel(turned.layers[0], 12, 32) > 0 and _texel(turned.layers[0], 51, 32) == 0
    np.testing.assert_allclose(texture.finish(turned)[32, 51], _LEFT, atol=3)


def test_no_photo_at_all_is_gray():
    assert (texture.finish(texture.empty(8)) == 128).all()


def test_memory_does_not_grow(face, seen):
    for _ in range(60):
        seen = texture.add(seen, _photo(), _pose(), *face)
    assert seen.details.shape == (64, 64, 3) and seen.num_photos == 61
    assert len(seen.layers) <= 25


def test_the_texture_grows_with_what_photos_show(face):
    seen = texture.add(texture.empty(64, 256), _photo(), _pose(), *face)
    assert len(seen.weights) > 64  # A pixel is a millimetre, a texel would be four.
    far = _pose()._replace(camera=pose_fitting.Camera(200.0, np.array([128.0, 128.0])))
    assert len(texture.add(texture.empty(64, 256), _photo(), far, *face).weights) == 64
    again = texture.add(seen, _photo(), far, *face)
    assert len(again.weights) == len(seen.weights)
    np.testing.assert_allclose(texture.finish(seen)[90, 90], _LEFT, atol=5)


def test_fine_lines_are_not_doubled_by_a_photo_whose_pose_is_a_little_off(face):
    stripes = np.full((256, 256, 3), 120, np.uint8)
    stripes[:, ::16] = 60
    sharp = texture.add(texture.empty(128, 128), stripes, _pose(), *face)
    off = texture.add(sharp, np.roll(stripes, 8, 1), _pose(score=0.6), *face)
    fine, mixed = (texture.finish(own)[50:78, 50:78].astype(float).std() for own in (sharp, off))
    assert mixed > 0.85 * fine


def test_a_texture_that_grows_keeps_what_it_saw_before(face):
    far = _pose()._replace(camera=pose_fitting.Camera(200.0, np.array([128.0, 128.0])))
    seen = texture.add(texture.empty(64, 256), _photo(), far, *face)
    grown = texture.add(seen, _photo(), _pose(), *face)
    assert len(grown.weights) > len(seen.weights) and len(grown.layers) == 2
    assert texture.finish(grown).shape == (*grown.weights.shape, 3)


@pytest.mark.parametrize(
    ('deviation_mm', 'copies', 'least', 'most'), [(0, 1, 0.2, 1), (4, 1, 0, 0), (4, 3, 0, 0)]
)
def test_a_wall_beside_a_face_is_not_painted_where_the_face_s_outline_is_not_sure(
    face, deviation_mm, copies, least, most
):
    points, mask = face
    x = _pose().project(points)[mask][:, 0]
    photo = np.full((256, 256, 3), 250, np.uint8)
    photo[:, int(x.min()) + 4 : int(x.max()) - 3] = _LEFT  # 3 mm narrower than it is believed.
    confidence = np.full(len(x), 1 / (1 + deviation_mm))
    seen = texture.empty(256, 256)
    for _ in range(copies):
        seen = texture.add(seen, photo, _pose(), points, mask, confidence)
    middle = texture.finish(seen)[96:160].astype(int)  # Beyond, the mesh ends before the face does.
    assert least <= (np.abs(middle - _LEFT).max(-1) > 40).mean() <= most


def test_each_place_is_shown_in_the_mean_light_of_all_photos_not_of_those_that_show_it():
    y, x = np.meshgrid(np.linspace(-0.7, 0.7, 32), np.linspace(-0.7, 0.7, 32), indexing='ij')
    normals = np.stack([x, -y, np.sqrt(1 - x * x - y * y)], -1)
    lights = [photo_light.shade(_lamp(*way), normals) for way in ((-0.3, 0.0), (0.0, 0.3))]
    sides = (np.where(x < 0, 1.0, 0.1), np.where(x < 0, 0.1, 1.0))
    layers = tuple(
        texture.Layer(0.4 * light, normals, side, np.ones_like(x))
        for light, side in zip(lights, sides, strict=True)
    )
    seen = texture.Texture(np.zeros((32, 32, 3)), np.ones((32, 32)), layers, num_photos=2)
    expected = np.sqrt(lights[0] * lights[1])
    baked = (lights[0] * sides[0][..., None] + lights[1] * sides[1][..., None]) / 1.1
    ratio = photo_light.to_linear(texture.finish(seen)) / expected
    assert ratio.std() / ratio.mean() < 0.06
    assert (baked / expected).std() / (baked / expected).mean() > 0.1


def _lamp(to_left, up):
    """Returns harmonics [4, 3] of light from everywhere and a lamp."""
    return np.array([[0.6] * 3, [to_left] * 3, [up] * 3, [0.1] * 3])


def test_a_place_that_is_nowhere_sure_is_confirmed_from_elsewhere_only():
    weights, sure = np.ones((2, 1)), np.zeros((2, 1))
    ahead = np.array([0.0, 0.0, 1.0])
    turned = np.array([np.sin(0.5), 0.0, np.cos(0.5)])  # By 29 degrees.
    same = texture._confirmed(weights, np.stack([ahead, ahead])[:, None], sure)
    other = texture._confirmed(weights, np.stack([ahead, turned])[:, None], sure)
    np.testing.assert_allclose((same, other), [np.zeros((2, 1)), np.full((2, 1), 0.5)])
