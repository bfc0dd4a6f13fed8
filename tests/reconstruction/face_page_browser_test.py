"""The page in a browser without a window, where there is Chromium."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from seqface_jax.reconstruction import face_page
from tests.helpers import small_fit

_CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
_FLAGS = ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--enable-logging=stderr')
_FLAGS += ('--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader')


@pytest.mark.slow
@pytest.mark.skipif(_CHROMIUM is None, reason='Chromium is not installed')
def test_the_page_builds_itself_without_an_error(tmp_path):
    vertices, triangles, _ = small_fit.mesh()
    face = {
        'vertices': vertices,
        'triangles': triangles,
        'band_mm': np.linspace(0.2, 2, len(vertices)),
        'uv': np.zeros((len(vertices), 2)),
        'texture': np.full((8, 8, 3), 90, np.uint8),
        'texture_light': 'divided out',
        'inside_from': len(vertices) - 3,
    }
    fit = small_fit.make(expression=(0.5, 0.0))
    frames = [
        face_page.PageFrame('a.jpg', fit, band_mm=2.0, picture=small_fit.photo()),
        face_page.PageFrame('b.jpg', reason='blurred'),
        face_page.PageFrame('c.jpg', fit, band_mm=1.5, picture=small_fit.photo()),
    ]
    path = tmp_path / 'face.html'
    face_page.write(str(path), 'A face', face, frames, ['jawOpen', 'jawLeft'], [])
    command = [_CHROMIUM, *_FLAGS, '--virtual-time-budget=3000', '--dump-dom', f'file://{path}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert 'CONSOLE' not in done.stderr
    text = done.stdout
    assert 'texture (light: divided out)' in text
    assert '2 of 3 frames were used.' in text and 'frame 3 of 3: c.jpg' in text
    assert 'the 90 % band is 0.50 mm narrower; jawOpen 0.50' in text
    assert re.search(r'<td>b\.jpg</td><td>blurred</td>', text)
    assert text.count('class="mark"') == 4  # Two dots and two bars.
