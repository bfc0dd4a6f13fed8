import numpy as np
import pytest
from skimage import data

from data_prep.package_files import package_run
from seqface_jax import checkpoints
from seqface_jax.errors import UserError
from seqface_jax.reconstruction import flagship
from seqface_jax.reconstruction.flagship import Eyes


def test_pairs_that_arkit_has_as_one_are_added_up_and_sides_are_spelt_out():
    names, groups = flagship.arkit_groups(
        ['browInnerUp_L', 'browInnerUp_R', 'eyeBlink_L', 'jawOpen']
    )
    assert names == ('browInnerUp', 'eyeBlinkLeft', 'jawOpen')
    np.testing.assert_array_equal(groups, [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_a_blendshape_that_arkit_does_not_have_is_named():
    with pytest.raises(UserError, match='earWiggle_L'):
        flagship.arkit_groups(['earWiggle_L'])


def test_eyes_move_with_the_middle_of_their_lids():
    face = np.zeros((4, 3))
    eyes = Eyes(np.ones((2, 3)), np.array([0, 1]), np.array([[0, 1], [2, 3]]), np.zeros((2, 3)))
    face[2:] = [0.0, 2.0, 0.0]  # The right eye's lids go up by 2 mm.
    np.testing.assert_allclose(eyes.joined(face)[4:], [[1, 1, 1], [1, 3, 1]])


def test_the_usual_lens_looks_through_the_middle_of_the_photo():
    lens = flagship.usual_lens((300, 400))
    np.testing.assert_allclose(lens.middle, [200, 150])
    assert np.exp(lens.log_focal) == pytest.approx(500)  # 45 mm on a 36 mm film.


def test_a_square_cut_out_around_a_face_is_250_mm_wide_from_a_metre():
    lens = flagship.crop_lens((256, 256))
    np.testing.assert_allclose(lens.middle, [128, 128])
    assert 256 / np.exp(lens.log_focal) * 1000 == pytest.approx(250)


def test_rounding_keeps_eleven_binary_digits_and_other_types():
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    kept = package_run.rounded(values)
    assert np.abs(kept / values - 1).max() < 2**-11
    assert (kept.view(np.uint32) & 0x1FFF == 0).all()
    assert package_run.rounded(np.arange(3)).tolist() == [0, 1, 2]
    assert np.isfinite(package_run.rounded(np.float32([3.4e38]))).all()


def test_a_stream_of_another_geometry_fits_by_it_and_leaves_the_first_as_it_was():
    _, model, variables = checkpoints.load(checkpoints.PRETRAINED, 'best_validation')
    geometry = flagship.read_geometry(flagship.geometry_path(checkpoints.PRETRAINED))
    stream = flagship.Stream(model, variables, geometry)
    photo = data.astronaut()
    (sighting, *_) = stream.finder.find(photo)
    first, _ = stream.fit(photo, sighting)
    doubtful = geometry._replace(
        settings=geometry.settings.replace(tempering=geometry.settings.tempering / 10)
    )
    other = stream.with_geometry(doubtful)
    less, _ = other.fit(photo, sighting)
    assert np.trace(less.information) < 0.5 * np.trace(first.information)
    assert other.finder is stream.finder
    again, _ = stream.fit(photo, sighting)
    np.testing.assert_array_equal(again.information, first.information)
