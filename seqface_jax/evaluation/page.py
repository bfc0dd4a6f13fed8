"""Parts of the HTML pages: one file that needs no network, with faces to turn in it."""

import base64
import html
import json
import os

import cv2
import numpy as np

UNITS_PER_MM = 100  # Points are stored as int16: up to 327 mm, to 0.005 mm.
_FOLDER = os.path.dirname(__file__)


def fill(template, parts):
    """Returns the text of a page.

    Args:
        template: path of an HTML file with {{NAME}} where a part goes.
        parts: dict of name -> str, TITLE among them; HEAD and VIEWER, which all pages share, are
            added. A page runs scripts only if it has the VIEWER.
    """
    text = _read(template)
    head = {
        'TITLE': parts['TITLE'],
        'STYLE': _read(os.path.join(_FOLDER, 'page_style.css')),
        'SCRIPTS': "; script-src 'unsafe-inline'" if '{{VIEWER}}' in text else '',
    }
    shared = {
        'HEAD': _filled(_read(os.path.join(_FOLDER, 'page_head.html')), head),
        'VIEWER': _read(os.path.join(_FOLDER, 'page_viewer.js')),
    }
    return _filled(text, shared | parts)


def _filled(text, parts):
    """Returns text with its {{NAME}} replaced, once: what a part holds is not looked at again."""
    filled, *rest = text.split('{{')
    for piece in rest:
        name, tail = piece.split('}}', 1)
        filled += parts[name] + tail
    return filled


def script_json(values):
    """Returns plain values as JSON that may stand in a script element."""
    return json.dumps(values, allow_nan=False).replace('<', '\\u003c')  # None may end it.


def table(rows, kind=''):
    """Returns an HTML table.

    Args:
        rows: lists of str, the head first.
        kind: class of the table.
    """
    marks = ['th'] + ['td'] * (len(rows) - 1)
    lines = [f'<div class="wide"><table class="{kind}">']
    for mark, row in zip(marks, rows, strict=True):
        cells = ''.join(f'<{mark}>{html.escape(cell)}</{mark}>' for cell in row)
        lines.append(f'<tr>{cells}</tr>')
    return '\n'.join(lines) + '</table></div>'


def definitions(words):
    """Returns an HTML list of what is said of each thing, of a dict of str by str."""
    items = [f'<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>' for k, v in words.items()]
    return f'<dl>{"".join(items)}</dl>'


class Topologies:
    """Triangles as texts, each kept once.

    Attributes:
        texts: list of base64 uint16 [F, 3].
    """

    def __init__(self):
        self.texts = []

    def add(self, triangles):
        """Returns the index of triangles [F, 3] in `texts`."""
        text = base64_text(np.asarray(triangles, np.uint16))
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def points_text(vertices):
    """Returns vertices [V, 3] mm as base64 int16."""
    points = np.clip(np.rint(np.asarray(vertices) * UNITS_PER_MM), -32767, 32767)
    return base64_text(points.astype(np.int16))


def base64_text(array):
    """Returns the bytes of an array as text."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def picture_address(picture, quality=85):
    """Returns [H, W, 3] uint8 RGB as a data address of a JPEG; [H, W, 4], with alpha, of a PNG."""
    if picture.shape[2] == 4:
        data = cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))[1].tobytes()
        return 'data:image/png;base64,' + base64.b64encode(data).decode()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    data = cv2.imencode('.jpg', picture[..., ::-1], options)[1].tobytes()
    return 'data:image/jpeg;base64,' + base64.b64encode(data).decode()


def _read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()
