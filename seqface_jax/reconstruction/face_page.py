"""A reconstruction as one page, face.html: the face to turn, and what each frame says and added.

Everything is in the file: it opens without network. The page's own code is face_template.html.
"""

import base64
import dataclasses
import html
import os
from typing import Any

import numpy as np

from seqface_jax.evaluation import page
from seqface_jax.files import write_text
from seqface_jax.reconstruction import frame_fit

_TEMPLATE = os.path.join(os.path.dirname(__file__), 'face_template.html')
MAX_PICTURES = 32  # Frames that are shown with their overlays; all are in the charts.
PICTURE_PX = 480
_BANDS_PER_MM = 20  # Half widths are stored as uint8: up to 12.7 mm.
_STRONGEST = 3  # Blendshapes that are named beside a frame,
_MIN_WEIGHT = 0.15  # if they have at least such a weight.
_MAX_DOWNLOAD_BYTES = 30_000_000  # Browsers do not save longer addresses.
_MEDIA = {
    '.glb': 'model/gltf-binary',
    '.json': 'application/json',
    '.csv': 'text/csv',
    '.obj': 'model/obj',
}
_SPAN = 1.15  # Height of the view, in heights of the face.


@dataclasses.dataclass(frozen=True)
class PageFrame:
    """One frame of the run.

    Attributes:
        name: str.
        fit: frame_fit.FrameFit, of the photo; None for a frame that was not used.
        reason: str, why it was not used.
        band_mm: stated_band.half_width_mm of the face after this frame; or None.
        picture: [S, S, 3] uint8 RGB, the face with its overlay (shown if the frame was used).
        neutral: [V, 3] mm, the neutral face as known after this frame; or None.
    """

    name: str
    fit: Any = None
    reason: str = ''
    band_mm: float | None = None
    picture: Any = None
    neutral: Any = None


def write(path, title, face, frames, blendshape_names, files):
    """Writes the page, whole or not at all.

    Args:
        path: of the file.
        title: str.
        face: dict of vertices [V, 3] mm, triangles [F, 3], band_mm [V], the half widths of
            stated_band.py, or None, uv [V, 2] and texture [H, W, 3] uint8 RGB, or None;
            texture_light str, as of face.Face; inside_from int, from which vertex on all lie inside
            the mouth, or None.
        frames: list of PageFrame, in order; pictures of at most MAX_PICTURES are shown.
        blendshape_names: [E].
        files: paths of files to offer for download.
    """
    parts = {
        'TITLE': html.escape(title),
        'DATA': page.script_json(scene(face, frames, blendshape_names, files)),
    }
    write_text(path, page.fill(_TEMPLATE, parts))


def scene(face, frames, blendshape_names, files):
    """Returns what the page shows as plain values; the arguments are those of `write`."""
    vertices = np.asarray(face['vertices'], np.float64)
    topologies = page.Topologies()
    band = face['band_mm']
    low, high = vertices.min(0), vertices.max(0)
    used = [frame.fit is not None and frame.picture is not None for frame in frames]
    pictured = np.flatnonzero(used)
    chosen = np.linspace(0, len(pictured) - 1, min(len(pictured), MAX_PICTURES)).round()
    pictured = {int(pictured[int(place)]) for place in chosen}
    has_texture = face['texture'] is not None
    return {
        'units_per_mm': page.UNITS_PER_MM,
        'mesh': {
            'points': page.points_text(vertices),
            'triangles': topologies.add(face['triangles']),
        },
        'triangles': topologies.texts,
        'center': ((low + high) / 2).tolist(),
        'span_mm': float(_SPAN * (high - low)[1]),
        'band': None if band is None else _band_text(band),
        'bands_per_mm': _BANDS_PER_MM,
        'most_mm': _scale_end(band),
        'uv': _uv_text(face['uv']) if has_texture else None,
        'texture': page.picture_address(face['texture'], 90) if has_texture else None,
        'texture_light': face['texture_light'] if has_texture else None,
        'inside_from': face['inside_from'],
        'frames': [
            _frame(frame, place in pictured, blendshape_names) for place, frame in enumerate(frames)
        ],
        'downloads': [_download(path) for path in files if _fits(path)],
    }


def _frame(frame, is_pictured, names):
    values = {'name': frame.name, 'reason': frame.reason, 'reprojection_px': None}
    if frame.fit is None:
        return values
    fit = frame.fit
    order = np.argsort(fit.expression)[::-1][:_STRONGEST]
    shown = frame.picture if is_pictured else None
    return values | {
        'reprojection_px': float(fit.reprojection_px),
        'band_mm': None if frame.band_mm is None else float(frame.band_mm),
        'angles_deg': frame_fit.angles_deg(fit).round(1).tolist(),
        'confidence': float(fit.confidence),
        'strongest': [
            [names[k], float(fit.expression[k])] for k in order if fit.expression[k] >= _MIN_WEIGHT
        ],
        'picture': None if shown is None else page.picture_address(shown, 80),
        'expression': None if shown is None else page.points_text(fit.vertices),
        'before': None
        if shown is None or frame.neutral is None
        else page.points_text(frame.neutral),
    }


def _band_text(band_mm):
    stored = np.clip(np.rint(np.asarray(band_mm) * _BANDS_PER_MM), 0, 254)
    return page.base64_text(stored.astype(np.uint8))


def _scale_end(band_mm):
    """Returns the mm at which the colours end, a round number; above it lie hair and neck."""
    if band_mm is None:
        return 1.0
    most = float(np.percentile(band_mm, 80))
    return next((end for end in (0.5, 1.0, 2.0, 3.0, 5.0, 8.0) if most <= end), 12.0)


def _uv_text(uv):
    return page.base64_text(np.rint(np.clip(uv, 0, 1) * 65535).astype(np.uint16))


def _fits(path):
    return os.path.getsize(path) <= _MAX_DOWNLOAD_BYTES


def _download(path):
    with open(path, 'rb') as file:
        content = file.read()
    media = _MEDIA.get(os.path.splitext(path)[1], 'application/octet-stream')
    address = f'data:{media};base64,{base64.b64encode(content).decode()}'
    return {'name': os.path.basename(path), 'bytes': len(content), 'address': address}
