"""Overlays as pictures for a person: captioned tiles and one sheet of them all."""

import functools
import importlib.util
import os

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqface_jax import files
from seqface_jax.photos import own_files
from seqface_jax.reconstruction import frame_fit, overlay

TILE_PX = 320
MAX_TILES = 48  # On a sheet; of more frames, evenly chosen ones.
_COLUMNS = 6
_GAP_PX = 12
_CAPTION_PX = 54  # Height below each tile.
_TEXT_PX = 15
_INK, _SOFT, _PAPER = (29, 39, 51), (93, 107, 122), (255, 255, 255)
_WARNING = (196, 43, 43)
_JPEG_QUALITY = 88


def caption(name, fit):
    """Returns the two lines below the overlay of a used photo."""
    yaw, pitch, roll = frame_fit.angles_deg(fit)
    return [
        name,
        f'{fit.reprojection_px:.1f} px off; yaw {yaw:.0f}, pitch {pitch:.0f}, roll {roll:.0f} deg',
    ]


def tile(photo, fit, mesh_overlay, side_px=TILE_PX):
    """Returns the face on its photo with its overlay, [side_px, side_px, 3] uint8 RGB."""
    return mesh_overlay.draw(*overlay.close_up(photo, fit, side_px))


def skipped_tile(photo, side_px=TILE_PX):
    """Returns a photo that was not used, pale; a gray square if it could not be read.

    Args:
        photo: [H, W, 3] uint8 RGB, or None.
        side_px: of the tile.

    Returns:
        [side_px, side_px, 3] uint8 RGB.
    """
    picture = np.full((side_px, side_px, 3), 225, np.uint8)
    if photo is None:
        return picture
    height, width = photo.shape[:2]
    zoom = side_px / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    small = cv2.cvtColor(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    top, left = (side_px - size[1]) // 2, (side_px - size[0]) // 2
    pale = (0.45 * small + 125).astype(np.uint8)[..., None]
    picture[top : top + size[1], left : left + size[0]] = pale
    return picture


def sheet(title, tiles, num_frames=None):
    """Puts tiles on one page.

    Args:
        title: str.
        tiles: list of (picture [S, S, 3] uint8 RGB, lines of its caption, is_used).
        num_frames: of the run, where `tiles` are but some of them.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    places = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), MAX_TILES)).round())
    tiles = [tiles[int(place)] for place in places] if tiles else []
    columns = min(_COLUMNS, max(2, len(tiles)))
    rows = -(-len(tiles) // columns)
    step = TILE_PX + _GAP_PX
    top = 84
    width = _GAP_PX + max(columns * step, _legend_width())
    page = Image.new('RGB', (width, top + rows * (step + _CAPTION_PX) + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(page)
    total = num_frames or len(tiles)
    some = f' ({len(tiles)} of {total} frames are shown)' if total > len(tiles) else ''
    pen.text((_GAP_PX, 14), title + some, _INK, font(20))
    _legend(pen, (_GAP_PX, 50))
    for place, (picture, lines, is_used) in enumerate(tiles):
        x = _GAP_PX + place % columns * step
        y = top + place // columns * (step + _CAPTION_PX)
        if picture.shape[:2] != (TILE_PX, TILE_PX):
            picture = cv2.resize(picture, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
        page.paste(Image.fromarray(picture), (x, y))
        for row, line in enumerate(lines[:2]):
            color = _INK if row == 0 else _SOFT if is_used else _WARNING
            pen.text((x, y + TILE_PX + 5 + 20 * row), _shorten(line, TILE_PX), color, font())
    return np.asarray(page)


def _legend_names():
    """Returns what the overlay's colours say, a list of (text, color)."""
    return [
        ('fitted mesh', overlay.EDGE_COLOR),
        ('landmark', overlay.LANDMARK_COLOR),
        ('hidden landmark', overlay.HIDDEN_COLOR),
        ("x: the person's left", overlay.AXIS_COLORS[0]),
        ('y: up', overlay.AXIS_COLORS[1]),
        ('z: out of the face', overlay.AXIS_COLORS[2]),
    ]


def _legend_step(text):
    return 36 + int(font().getlength(text))


def _legend_width():
    return sum(_legend_step(text) for text, _ in _legend_names())


def _legend(pen, place):
    x, y = place
    for text, color in _legend_names():
        pen.rectangle((x, y + 5, x + 12, y + 13), fill=color)
        pen.text((x + 18, y), text, _SOFT, font())
        x += _legend_step(text)


def _shorten(text, width_px):
    """Returns the text, its beginning left out where it is too wide: a path ends in its name."""
    if font().getlength(text) <= width_px:
        return text
    while text and font().getlength('…' + text) > width_px:
        text = text[1:]
    return '…' + text


@functools.cache
def font(size=_TEXT_PX):
    """Returns the font of pictures: it has the letters of most alphabets of file names."""
    # Matplotlib's own, found without importing matplotlib: that takes longer than to draw a sheet.
    (folder,) = importlib.util.find_spec('matplotlib').submodule_search_locations
    return ImageFont.truetype(f'{folder}/mpl-data/fonts/ttf/DejaVuSans.ttf', size)


def save_picture(path, picture):
    """Writes [H, W, 3] uint8 RGB as .jpg or .png, whole or not at all."""
    ending = os.path.splitext(path)[1]
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if ending == '.jpg' else []
    data = cv2.imencode(ending, picture[..., ::-1], options)[1].tobytes()
    data = own_files.marked_jpeg(data) if ending == '.jpg' else data
    files.write_atomically(path, lambda file: file.write(data))
