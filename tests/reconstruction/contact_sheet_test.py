import numpy as np

from seqface_jax.reconstruction import contact_sheet, overlay
from tests.helpers import small_fit


def test_a_caption_names_the_photo_its_error_and_the_pose():
    lines = contact_sheet.caption('a.jpg', small_fit.make(yaw_deg=20))
    assert lines == ['a.jpg', '1.2 px off; yaw 20, pitch 0, roll 0 deg']


def test_a_sheet_has_a_tile_for_each_photo_and_names_the_skipped_in_red():
    _, triangles, landmarks = small_fit.mesh()
    fit = small_fit.make()
    tile = contact_sheet.tile(small_fit.photo(), fit, overlay.MeshOverlay(triangles, landmarks))
    skipped = contact_sheet.skipped_tile(small_fit.photo())
    tiles = [(tile, contact_sheet.caption('a.jpg', fit), True), (skipped, ['b', 'blurred'], False)]
    page = contact_sheet.sheet('two photos', tiles)
    assert (page == (196, 43, 43)).all(-1).any()
    only_used = contact_sheet.sheet('two photos', tiles[:1])
    assert not (only_used == (196, 43, 43)).all(-1).any()


def test_a_sheet_of_many_frames_stays_readable():
    tile = contact_sheet.skipped_tile(None)
    page = contact_sheet.sheet('many', [(tile, ['x'], True)] * 500)
    assert page.shape[0] < 8 * 400 + 120  # 48 tiles in rows of 6.


def test_the_legend_of_one_photo_is_whole():
    page = contact_sheet.sheet('one', [(contact_sheet.skipped_tile(None), ['x'], True)])
    paper = page[0, 0]
    legend = (page[50:70] != paper).any((0, 2))
    assert legend[: len(legend) // 2].any()
    assert not legend[-12:].any()
    wide = contact_sheet.sheet('many', [(contact_sheet.skipped_tile(None), ['x'], True)] * 6)
    assert (wide[50:70] != paper).any(-1).sum() == (page[50:70] != paper).any(-1).sum()


def test_a_skipped_photo_keeps_its_shape():
    photo = np.zeros((50, 100, 3), np.uint8)
    tile = contact_sheet.skipped_tile(photo, 40)
    assert (tile[10:30] == 125).all() and (tile[:10] == 225).all() and (tile[30:] == 225).all()


def test_a_long_path_keeps_its_end():
    text = contact_sheet._shorten('a/' * 100 + 'photo.jpg', 200)
    assert text.startswith('…') and text.endswith('photo.jpg')
