import numpy as np
import pytest

from benchmarks import doubtful_photos
from benchmarks.doubtful_photos import Measured


def _picture():
    """Returns a gray picture with a white dot and where its middle is, px."""
    picture = np.full((80, 80, 3), 90, np.uint8)
    picture[20:25, 30:35] = 255
    return picture, np.array([[32.5, 22.5]])


def test_the_points_move_with_a_picture_that_is_turned():
    picture, places = _picture()
    shown = list(doubtful_photos.damaged(picture, places, np.random.default_rng(0)))
    names = [name for name, _, _ in shown]
    _, turned, moved = shown[names.index('turned')]
    y, x = np.nonzero(turned[..., 0] > 170)
    np.testing.assert_allclose(moved[0], [x.mean() + 0.5, y.mean() + 0.5], atol=0.6)
    assert np.linalg.norm(moved - places) > 3


@pytest.mark.parametrize('damage', doubtful_photos.DAMAGES)
def test_every_damage_changes_the_picture_and_keeps_its_size(damage):
    picture, _ = _picture()
    shown = damage(picture.astype(np.float32), np.random.default_rng(1))
    assert shown.shape == picture.shape
    assert np.abs(shown - picture).max() > 5


def test_the_table_counts_the_used_and_correlates_over_all_damages():
    rows = [Measured('dark', 0.9, 0.02, True), Measured('dark', 0.5, 0.04, True)]
    rows += [Measured('cut', 0.2, 0.10, False)]
    head, dark, cut, every = doubtful_photos.lines(rows)
    assert 'rank correlation' in head
    assert dark.split() == ['dark', '2', 'of', '2', '3.0', '%', 'nan', '%', 'nan']
    assert cut.split()[:4] == ['cut', '0', 'of', '1']
    assert every.split() == ['all', '2', 'of', '3', '3.0', '%', '10.0', '%', '-1.00']
