import numpy as np
import pytest

from seqface_jax.photos import turned_crops
from seqface_jax.photos.turned_crops import Crop


def test_a_place_goes_to_the_photo_and_back():
    crop = Crop(np.array([40.0, 25.0]), 30.0, 0.4)
    places = np.random.default_rng(0).random((7, 2))
    np.testing.assert_allclose(crop.from_photo(crop.to_photo(places)), places, atol=1e-12)


def test_the_middle_of_a_crop_is_its_centre_and_its_right_side_is_turned_clockwise():
    crop = Crop(np.array([40.0, 25.0]), 30.0, np.pi / 2)
    np.testing.assert_allclose(crop.to_photo([0.5, 0.5]), [40.0, 25.0])
    np.testing.assert_allclose(crop.to_photo([1.0, 0.5]), [40.0, 40.0], atol=1e-12)


@pytest.mark.parametrize('turn', [0.0, 0.6, np.pi])
@pytest.mark.parametrize('side', [24.0, 90.0])
def test_cut_shows_a_dot_where_from_photo_says(turn, side):
    photo = np.zeros((120, 160, 3), np.uint8)
    photo[60:63, 70:73] = 255  # Middle at (71.5, 61.5).
    crop = Crop(np.array([75.0, 58.0]), side, turn)
    shown = crop.cut(photo, 48).astype(float).sum(-1)
    rows, columns = np.mgrid[:48, :48] + 0.5
    found = np.array([(columns * shown).sum(), (rows * shown).sum()]) / shown.sum() / 48
    np.testing.assert_allclose(found, crop.from_photo([71.5, 61.5]), atol=0.02)


def test_a_recentred_crop_shows_the_mean_layout_where_the_points_were_a_similarity_of_it():
    layout = 0.5 + 0.2 * np.random.default_rng(1).standard_normal((30, 2))
    wanted = Crop(np.array([33.0, 71.0]), 52.0, -0.3)
    first = Crop(np.array([30.0, 66.0]), 70.0, 0.1)
    places = first.from_photo(wanted.to_photo(layout))
    found = turned_crops.recentred(first, places, np.ones(30), layout)
    np.testing.assert_allclose(found.center, wanted.center)
    np.testing.assert_allclose([found.side, found.turn_rad], [wanted.side, wanted.turn_rad])


def test_a_photo_is_made_smaller_once_for_all_crops_of_a_side(monkeypatch):
    photo = np.random.default_rng(2).integers(0, 255, (120, 160, 3), np.uint8)
    crops = [Crop(np.array([75.0, 58.0]), side, turn) for side in (90.0, 60.0) for turn in (0, 1)]
    alone = [crop.cut(photo, 24) for crop in crops]
    resize, sizes = turned_crops.cv2.resize, []

    def counted(image, size, **options):
        sizes.append(size)
        return resize(image, size, **options)

    monkeypatch.setattr(turned_crops.cv2, 'resize', counted)
    np.testing.assert_array_equal(list(turned_crops.cut_all(photo, crops, 24)), alone)
    assert len(sizes) == 2
