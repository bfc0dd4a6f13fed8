import types

import numpy as np
import pytest

from seqface_jax.reconstruction import lip_texture

_SIDE = 192
_SKIN, _LIPS, _TEETH, _DARK = (205, 160, 135), (190, 100, 100), (225, 218, 205), (40, 20, 18)


def _ellipse(count, width, height):
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([0.5 + width * np.cos(turn), 0.5 + height * np.sin(turn)], 1)


@pytest.fixture(scope='module')
def lips():
    """Returns the LipTexels of lips in the middle of the texture, 44 by 28 pixels of the grid."""
    uv = np.concatenate([_ellipse(12, 0.12, 0.08), _ellipse(8, 0.09, 0.03)])
    mouth = types.SimpleNamespace(outer=np.arange(12), inner=np.arange(12, 20))
    return lip_texture.LipTexels(uv, mouth, _SIDE)


def _photo(between=_LIPS):
    """Returns a photo that shows lips just where they are in the texture, 2 pixels to one."""
    y, x = (np.mgrid[:384, :384] + 0.5) / 384 - 0.5
    photo = np.full((384, 384, 3), _SKIN, np.uint8)
    photo[np.hypot(x / 0.12, y / 0.08) < 1] = _LIPS
    photo[np.hypot(x / 0.09, y / 0.03) < 1] = between
    return photo


def _hidden(lips, photo, *, is_open=False):
    rows, columns = (np.arange(_SIDE)[own] for own in lips.region)
    place = 2.0 * np.stack(np.meshgrid(columns, rows), -1) + 1
    hidden = np.zeros((_SIDE, _SIDE), bool)
    hidden[lips.region] = lips.hidden(photo, place, is_open=is_open)
    return hidden


def _with_teeth(photo):
    """Returns a photo whose teeth reach 4 pixels of the grid down over the lower lip."""
    made = photo.copy()
    made[190:214, 165:219] = _TEETH  # The lower lip begins at 203.
    return made


def test_lips_that_are_shut_keep_all_their_colours(lips):
    assert not _hidden(lips, _photo()).any()
    assert not _hidden(lips, _photo(between=_DARK)).any()  # The line between them is theirs.


def test_teeth_on_the_lower_lip_give_it_no_colour_and_what_is_below_does(lips):
    hidden = _hidden(lips, _with_teeth(_photo(between=_DARK)))
    assert hidden[95:107, 84:108].all()
    assert not hidden[110:].any() and not hidden[:86].any()


def test_a_bright_spot_in_the_middle_of_a_lip_is_gloss(lips):
    photo = _photo()
    photo[212:216, 180:200] = (240, 235, 230)
    assert not _hidden(lips, photo).any()


def test_what_is_dark_is_the_inside_of_a_mouth_that_is_open(lips):
    photo = _photo(between=_DARK)
    photo[195:212, 165:219] = _DARK
    assert not _hidden(lips, photo).any()
    assert _hidden(lips, photo, is_open=True)[96:106, 84:108].all()


def test_teeth_are_told_on_dark_skin_in_warm_light(lips):
    warm = _with_teeth(_photo(between=_DARK)) * np.array([0.55, 0.42, 0.3])
    assert _hidden(lips, warm.astype(np.uint8))[95:107, 84:108].all()
