import numpy as np
import pytest

from seqface_jax.reconstruction import photo_light


def _normals(count=3000, seed=0):
    """Returns unit normals [count, 3] towards the camera."""
    normals = np.random.default_rng(seed).standard_normal((count, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _lamp(direction, colour=(1.0, 1.0, 1.0)):
    """Returns harmonics [9, 3] of light from everywhere and one lamp."""
    light = np.zeros((9, 3))
    light[0] = 0.6 * np.array(colour)
    light[1:4] = 0.25 * np.outer(direction, colour)
    return light


def test_harmonics_are_orthonormal_over_the_sphere():
    normals = np.random.default_rng(1).standard_normal((200_000, 3))
    values = photo_light.harmonics(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    np.testing.assert_allclose(values.T @ values / len(values), np.eye(9), atol=0.02)


def test_colours_go_to_linear_light_and_back():
    levels = np.arange(256, dtype=np.uint8)
    assert photo_light.to_linear(levels)[[0, 255]].tolist() == [0, 1]
    np.testing.assert_allclose(
        photo_light.from_linear(photo_light.to_linear(levels)), levels, atol=1e-3
    )


def test_the_light_of_a_known_surface_is_found_though_a_third_of_it_lies_in_shadow():
    normals, light = _normals(), _lamp([0.8, 0.2, 0.56])
    albedo = np.full((len(normals), 3), (0.5, 0.35, 0.3))
    colors = albedo * photo_light.shade(light, normals)
    colors[::3] *= 0.2
    found = photo_light.fit_one(colors, normals, np.ones(len(normals)), albedo)
    shown, true = (photo_light.shade(own, normals) for own in (found, light))
    assert np.abs(shown / true - 1).mean() < 0.06


def test_one_skin_under_three_lamps_gets_one_colour_again():
    normals, rng = _normals(), np.random.default_rng(2)
    albedo = np.full((len(normals), 3), (0.5, 0.35, 0.3))
    albedo[rng.random(len(normals)) < 0.15] *= 0.3  # Brows and a beard.
    lamps = [_lamp(d) for d in ([0.9, 0, 0.4], [-0.9, 0, 0.4], [0, 0.9, 0.4])]
    colors = np.stack([albedo * photo_light.shade(lamp, normals) for lamp in lamps])
    normals, weights = np.stack([normals] * 3), np.ones(colors.shape[:2])
    light = photo_light.fit(colors, normals, weights)
    found = colors.sum(0) / light.sum(0)
    ratio = found / albedo
    assert ratio.std() / ratio.mean() < 0.05
    baked = colors.sum(0) / albedo
    assert baked.std() / baked.mean() > 2 * ratio.std() / ratio.mean()


@pytest.mark.parametrize('order', [0, 2])
def test_brightness_of_photos_is_told_and_is_one_on_average(order):
    normals = np.stack([_normals()] * 2)
    colors = np.stack([np.full(normals.shape[1:], level) for level in (0.1, 0.4)])
    light = photo_light.fit(colors, normals, np.ones(normals.shape[:2]), order)
    np.testing.assert_allclose(light[0], 0.5, rtol=0.02)
    np.testing.assert_allclose(light[1], 2.0, rtol=0.02)


def test_what_no_photo_shows_says_nothing():
    normals = np.stack([_normals()] * 2)
    colors = np.full(normals.shape, 0.2)
    weights = np.ones(normals.shape[:2])
    weights[1] = 0
    assert np.isfinite(photo_light.fit(colors, normals, weights)).all()
