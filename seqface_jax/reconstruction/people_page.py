"""Several people of one run: people.csv, a row for each, and index.html, which links to them."""

import csv
import html
import io
import os
import urllib.parse
from typing import Any, NamedTuple

from seqface_jax.evaluation import page
from seqface_jax.files import printable, write_text
from seqface_jax.geometry import rendering

TABLE, PAGE = 'people.csv', 'index.html'
_TEMPLATE = os.path.join(os.path.dirname(__file__), 'people_template.html')
_COLUMNS = ('person', 'result', 'detail', 'frames_used', 'frames', 'band_mm', 'page')
_PICTURE_PX, _TURN = 240, 0.4


class PersonRow(NamedTuple):
    """What came of one person.

    Attributes:
        name: str.
        folder: relative to the output, where their files are.
        detail: str, a sentence.
        used, frames: of the frames, how many were used.
        face: face.Face; None if there is none.
    """

    name: str
    folder: str
    detail: str = ''
    used: int = 0
    frames: int = 0
    face: Any = None


def row_of(row, record):
    """Returns a PersonRow with what a demo_record.Record knows of the person."""
    detail = f'used {record.num_used} of {record.num_frames} frames'
    if record.num_used < record.num_frames:
        detail += f' (others: {record.reasons()})'
    return row._replace(
        detail=detail, used=record.num_used, frames=record.num_frames, face=record.face
    )


def write(output, title, rows):
    """Writes people.csv and index.html, each whole or not at all.

    Args:
        output: folder, which holds the people's folders.
        title: str.
        rows: list of PersonRow.

    Returns:
        list of str, a line for each file.
    """
    os.makedirs(output, exist_ok=True)
    table, index = os.path.join(output, TABLE), os.path.join(output, PAGE)
    write_text(table, printable(_table(output, rows)))
    parts = {
        'TITLE': html.escape(printable(title)),
        'PEOPLE': ''.join(_card(output, row) for row in rows),
    }
    write_text(index, page.fill(_TEMPLATE, parts))
    return [f'wrote {index}', f'wrote {table}']


def _table(output, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(_COLUMNS)
    for row in rows:
        band = '' if row.face is None else f'{row.face.band_mm:.3f}'
        result = 'skipped' if row.face is None else 'used'
        link = _link(output, row) or ''
        writer.writerow((row.name, result, row.detail, row.used, row.frames, band, link))
    return text.getvalue()


def _link(output, row):
    """Returns the path of a person's page, or of their face where there is no page."""
    for name in ('face.html', 'face.png'):
        if row.face is not None and os.path.exists(os.path.join(output, row.folder, name)):
            return f'{row.folder}/{name}'
    return None


def _card(output, row):
    name, detail = (html.escape(printable(text)) for text in (row.name, row.detail))
    if row.face is None:
        return f'<li class="none"><b>{name}</b><p>{detail}</p></li>'
    face = row.face
    picture = rendering.render(
        rendering.whole(face.vertices),
        face.triangles,
        azimuth_rad=_TURN,
        size=_PICTURE_PX,
        uv=face.uv,
        texture=face.texture,
        transparent=True,  # For light and dark pages.
    )
    link = urllib.parse.quote(os.fsencode(_link(output, row) or row.folder))
    return (
        f'<li><a href="{link}"><img alt="the face of {name}" width="{_PICTURE_PX}" '
        f'height="{_PICTURE_PX}" src="{page.picture_address(picture)}"><b>{name}</b></a>'
        f'<p>{detail}; 90 % band &plusmn; {face.band_mm:.1f} mm</p></li>'
    )
