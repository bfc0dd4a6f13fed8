"""Draws the pictures of README and docs/ that show faces; run again after a new packaged run.

    python -m benchmarks.doc_pictures

docs/astronaut.png, a photograph in the public domain and the packaged run's face of it;
docs/photos.png, which photos work; and docs/made_up.png, four pictures of a made-up person and the
packaged run's face of them. The last two say that nobody looks so.
"""

import pathlib

import cv2
import numpy as np
from absl import app
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from seqface_jax import samples
from seqface_jax.commands import compilation_cache
from seqface_jax.geometry import rendering
from seqface_jax.photos import photo_file
from seqface_jax.reconstruct import Reconstructor
from seqface_jax.reconstruction import contact_sheet, overlay

_DOCS = pathlib.Path(__file__).resolve().parent.parent / 'docs'
_PERSON = 'made_up_ict'
_TILE_PX, _GAP_PX, _TEXT_PX = 208, 10, 26
_LARGE_PX = 2 * _TILE_PX + _TEXT_PX + _GAP_PX  # As high as two rows of tiles.
_GOOD = ('front', 'to one side', 'to the other side', 'another expression')
_CREDIT = 'Eileen Collins; NASA, public domain.'
_NOTE = 'A made-up person: drawn, no photograph. Nobody looks like this.'


def photos_of(name=_PERSON):
    """Returns the pictures of a made-up person of the samples, list of [H, W, 3] uint8 RGB."""
    folder = pathlib.Path(samples.FOLDER) / name
    return [photo_file.read(str(path)) for path in sorted(folder.glob('*.jpg'))]


def spoilt(photo):
    """Returns what does not work: dict of caption to picture, of a photo [H, W, 3] uint8 RGB."""
    height, width = photo.shape[:2]
    small = cv2.resize(photo, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    far = np.full_like(photo, 110)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    far[top : top + small.shape[0], left : left + small.shape[1]] = small
    covered = photo.copy()
    covered[height * 5 // 12 : height * 3 // 4, width // 6 : width * 5 // 6] = (70, 110, 150)
    light = np.where(np.arange(width)[None, :, None] < 0.46 * width, 0.12, 1.0)
    return {
        'blurred': cv2.GaussianBlur(photo, (0, 0), 5),
        'too small': far,
        'covered': covered,
        'hard shadow': (photo * light).astype(np.uint8),
    }


def grid(rows, note=_NOTE, large=None):
    """Puts captioned tiles in rows and a note below them.

    Args:
        rows: list of dicts of caption to picture [H, W, 3] uint8 RGB.
        note: str.
        large: a dict of one caption and a picture, which stands at the left of two rows; or None.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    across, down = _TILE_PX + _GAP_PX, _TILE_PX + _TEXT_PX + _GAP_PX
    left = _LARGE_PX + 2 * _GAP_PX if large else _GAP_PX
    width = max(map(len, rows)) * across + left
    sheet = Image.new('RGB', (width, len(rows) * down + _TEXT_PX + _GAP_PX), 'white')
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)

    def put(caption, picture, x, y, side):
        tile = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        sheet.paste(Image.fromarray(tile), (x, y))
        pen.text((x, y + side + 3), caption, 'black', font)

    for caption, picture in (large or {}).items():
        put(caption, picture, _GAP_PX, _GAP_PX, _LARGE_PX)
    for row, tiles in enumerate(rows):
        for column, (caption, picture) in enumerate(tiles.items()):
            put(caption, picture, left + column * across, _GAP_PX + row * down, _TILE_PX)
    pen.text((_GAP_PX, len(rows) * down + _GAP_PX // 2), note, (93, 107, 122), font)
    return np.asarray(sheet)


def guide(photos):
    """Returns the picture of which photos work, of the four pictures of a person."""
    good = {f'works: {caption}': p for caption, p in zip(_GOOD, photos, strict=True)}
    bad = {f'does not: {caption}': p for caption, p in spoilt(photos[0]).items()}
    return grid([good, bad])


def reconstructed(reconstructor, photos):
    """Returns the last picture of a person with the mesh over it, and the face of all of them.

    Args:
        reconstructor: the flagship's.
        photos: list of [H, W, 3] uint8 RGB.

    Returns:
        two dicts of caption to picture: the mesh over the photo, and the face.
    """
    state, face = reconstructor.initial_state(), None
    shown = reconstructor.mesh_overlay
    painter = reconstructor.painter(paints=True)
    for photo in photos:
        state, new = reconstructor.update(state, photo)
        if new is not None:
            face, drawn = new, shown.draw(*overlay.close_up(photo, new.frame, _LARGE_PX))
            painter.add(photo, None, new)
    painted = painter.paint(face)
    paint = {'uv': painted.uv, 'texture': painted.texture}
    views = [
        rendering.render(face.vertices, face.triangles, azimuth_rad=turn, size=2 * _TILE_PX, **own)
        for turn, own in ((0.0, {}), (0.7, {}), (0.7, paint))
    ]
    made = dict(zip(('its face', 'from its left', 'with its colours'), views, strict=True))
    return {f'the mesh over the {"last picture" if len(photos) > 1 else "photograph"}': drawn}, made


def astronaut(reconstructor):
    """Returns scikit-image's photograph of an astronaut and the face that it gives."""
    photo = data.astronaut()
    drawn, made = reconstructed(reconstructor, [photo])
    tiles = list(({'the photograph': photo[:320, 60:380]} | made).items())
    return grid([dict(tiles[:2]), dict(tiles[2:])], _CREDIT, drawn)


def made_up(reconstructor, photos):
    """Returns a made-up person's pictures, the last one's overlay, and the face of all of them."""
    top = {f'picture {number}': photo for number, photo in enumerate(photos, start=1)}
    drawn, made = reconstructed(reconstructor, photos)
    return grid([top, made], large=drawn)


def main(argv):
    """Writes the pictures."""
    del argv
    compilation_cache.turn_on()
    photos = photos_of()
    contact_sheet.save_picture(str(_DOCS / 'photos.png'), guide(photos))
    reconstructor = Reconstructor.restore()
    contact_sheet.save_picture(str(_DOCS / 'made_up.png'), made_up(reconstructor, photos))
    contact_sheet.save_picture(str(_DOCS / 'astronaut.png'), astronaut(reconstructor))


if __name__ == '__main__':
    app.run(main)
