"""docs/first_face.ipynb, cell by cell, without Jupyter."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from seqface_jax.reconstruct import Face, Reconstructor

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PATH = os.path.join(_ROOT, 'docs', 'first_face.ipynb')


def _cells():
    with open(_PATH, encoding='utf-8') as file:
        return json.load(file)['cells']


@pytest.fixture(scope='module')
def names(packaged, tmp_path_factory):
    """Returns the names after all code cells ran in order, in a folder of their own; `results`."""
    names = {'results': []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reconstructor, 'restore', lambda: packaged)
        patch.chdir(tmp_path_factory.mktemp('notebook'))
        for number, cell in enumerate(_cells()):
            if cell['cell_type'] != 'code':
                continue
            *body, last = ''.join(cell['source']).splitlines()
            try:  # As Jupyter does: the value of a last expression is shown.
                shown = compile(last, f'cell {number}', 'eval')
            except SyntaxError:
                exec(compile('\n'.join([*body, last]), f'cell {number}', 'exec'), names)
                continue
            exec(compile('\n'.join(body), f'cell {number}', 'exec'), names)
            names['results'].append(eval(shown, names))
        names['files'] = sorted(os.listdir())
    return names


def test_the_notebook_runs_and_writes_what_it_says(names):
    assert isinstance(names['better'], Face) and names['state'].num_frames == 2
    assert names['files'] == ['face.glb', 'state.npz']
    assert 0 < names['moved_mm'] < 5


def test_the_notebook_shows_a_photo_an_overlay_and_two_views(names):
    photo, drawn, views = (r for r in names['results'] if isinstance(r, Image.Image))
    np.testing.assert_array_equal(np.asarray(photo), names['photo'])
    yellow = np.abs(np.asarray(drawn).astype(int) - [255, 214, 10]).max(-1) < 40
    assert yellow.sum() > 68
    assert views.size == (640, 320) and np.asarray(views).std() > 20
    (strongest,) = (r for r in names['results'] if isinstance(r, list))
    assert len(strongest) == 5 and 0 < strongest[-1][1] <= strongest[0][1] <= 1


def test_the_notebook_carries_no_outputs_of_one_machine():
    for cell in _cells():
        if cell['cell_type'] == 'code':
            assert not cell['outputs'] and cell['execution_count'] is None
