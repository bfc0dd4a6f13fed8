"""The picture face.png: some of the frames, and below them the face from two sides."""

import cv2
import numpy as np
from PIL import Image, ImageDraw

from seqface_jax.geometry import rendering
from seqface_jax.reconstruction import contact_sheet

_VIEWS_RAD = {'front': 0.0, 'three-quarter': np.radians(40)}
_MAX_FRAMES = 8
_WIDTH_PX, _GAP_PX = 1100, 8
_FRAME_PX = (_WIDTH_PX - _GAP_PX) // _MAX_FRAMES - _GAP_PX
_DRAWN_PX = 480  # Faces are drawn finer than they are shown: their edges are smooth then.
_TITLE_PX, _CAPTION_PX = 30, 24  # Heights.
_INK, _PAPER = (0, 0, 0), (255, 255, 255)


def draw(frames, face, *, num_frames=None):
    """Draws the input frames and below them the face from two views, also in its texture if any.

    Args:
        frames: list of uint8 [H, W, 3]; of more than eight, eight evenly spread are drawn.
        face: face.Face.
        num_frames: of the face, where `frames` are but some of them.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    shown = rendering.whole(face.vertices)
    views = [
        rendering.View(shown, face.triangles, azimuth, _DRAWN_PX) for azimuth in _VIEWS_RAD.values()
    ]
    faces = [view.shaded() for view in views]
    if face.texture is not None:
        faces += [view.painted(face.uv, face.texture) for view in views]
    chosen = [frames[k] for k in np.unique(np.linspace(0, len(frames) - 1, _MAX_FRAMES, dtype=int))]
    side = min(_DRAWN_PX, (_WIDTH_PX - _GAP_PX) // len(faces) - _GAP_PX)
    below = _TITLE_PX + _FRAME_PX + _CAPTION_PX  # Where the faces begin.
    page = Image.new('RGB', (_WIDTH_PX, below + side + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(page)
    count = num_frames or len(frames)
    title = f'{count} input frame' + ('s' if count > 1 else '')
    _write(pen, (_WIDTH_PX // 2, _TITLE_PX // 2), title)
    for x, frame in zip(_columns(len(chosen), _FRAME_PX), chosen, strict=True):
        page.paste(Image.fromarray(_fitted(frame, _FRAME_PX)), (x, _TITLE_PX))
    names = [*_VIEWS_RAD] * (len(faces) // len(views))
    for x, picture, name in zip(_columns(len(faces), side), faces, names, strict=True):
        page.paste(Image.fromarray(_fitted(picture, side)), (x, below))
        _write(pen, (x + side // 2, below - _CAPTION_PX // 2), name)
    return np.asarray(page)


def _columns(count, width):
    """Returns where each of so many pictures in the middle of a row begins, px."""
    step = width + _GAP_PX
    return [(_WIDTH_PX - count * step + _GAP_PX) // 2 + number * step for number in range(count)]


def _fitted(picture, side):
    """Returns a picture with its longer side `side` pixels long."""
    zoom = side / max(picture.shape[:2])
    height, width = (max(1, round(zoom * length)) for length in picture.shape[:2])
    kind = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=kind)


def _write(pen, middle, text):
    pen.text(middle, text, _INK, contact_sheet.font(), anchor='mm')
