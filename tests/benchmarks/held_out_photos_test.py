import dataclasses
import pathlib

import numpy as np
import pytest

from benchmarks import held_out_photos
from seqface_jax import samples
from seqface_jax.photos import photo_file
from seqface_jax.reconstruction import photo_light
from tests.helpers import small_fit


def test_a_tenth_of_the_range_off_everywhere_is_twenty_decibels():
    colors = np.zeros((40, 3))
    assert held_out_photos.psnr(colors, colors + 25.5) == pytest.approx(20.0)


def test_a_photo_shows_the_texels_of_the_face_where_its_fit_has_them():
    vertices, triangles, _ = small_fit.mesh()
    uv = np.zeros((len(vertices), 2), np.float32)
    uv[:, 0] = vertices[:, 0] > 0  # The person's left is the texture's right.
    fit = dataclasses.replace(small_fit.make(), vertices=vertices)
    place, normals, pixel = held_out_photos.seen_texels(fit, triangles, uv, small_fit.PHOTO_PX)
    column = pixel % small_fit.PHOTO_PX
    assert place[column < 90, 0].max() == pytest.approx(0)
    assert place[column > 110, 0].min() == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    assert normals[:, 2].max() < 0  # Towards the camera, which looks along +z.


def test_a_photo_in_another_light_is_met_by_the_harmonics_and_not_by_its_brightness():
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = rng.integers(60, 160, (2000, 3)).astype(np.uint8)
    light = np.zeros((9, 3))
    light[0], light[1] = 0.6, (0.3, 0.25, 0.2)
    lit = photo_light.to_linear(colors) * photo_light.shade(light, normals)
    photo = np.round(photo_light.from_linear(lit)).astype(np.uint8)
    flat, shaded = (held_out_photos.compared(colors, normals, photo, n) for n in (0, 2))
    assert shaded > 35 and shaded > flat + 8


@pytest.mark.slow
def test_a_textured_face_meets_a_held_out_picture_better_than_one_of_one_colour(packaged):
    folder = pathlib.Path(samples.FOLDER) / 'made_up_ict'
    photos = [photo_file.read(str(path)) for path in sorted(folder.glob('*.jpg'))]
    (rows,) = held_out_photos.scores(packaged, photos)
    plain, baked, delit = rows.T
    assert baked[0] > plain[0] + 1.0 and (delit > plain + 1.0).all()
