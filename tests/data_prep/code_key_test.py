"""What makes a work file old: the code and the constants behind it, found from its imports."""

import os
import subprocess
import sys

import pytest

import data_prep
import seqface_jax
from data_prep import code_key, preparation_inputs, sources

ROOT = os.path.dirname(data_prep.__path__[0])


def _names(*modules):
    return {os.path.relpath(path, ROOT) for path in code_key.files_of(*modules)}


def test_the_learnt_constants_and_what_reads_photos_are_part_of_it():
    found = {os.path.basename(name) for name in _names(*preparation_inputs.READERS)}
    assert found >= {'pose_regression.py', 'head_pose.npz', 'photo_file.py', 'video_geometry.py'}
    assert not found & {'prepare.py', '__main__.py', 'records.py', 'bu4dfe.py', 'train.py'}


@pytest.mark.slow
def test_every_module_that_reading_imports_is_part_of_it():
    code = f'import {", ".join(preparation_inputs.READERS)}, sys; print(*sys.modules)'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known = _names(*preparation_inputs.READERS)
    for name in done.stdout.split():
        if name.partition('.')[0] in ('data_prep', 'seqface_jax'):
            path = name.replace('.', os.sep)
            assert {path + '.py', os.path.join(path, '__init__.py')} & known, name


def test_a_source_is_part_of_its_own_data_set_only():
    own = _names(*preparation_inputs.READERS, sources.module_of('florence'))
    assert os.path.join('data_prep', 'sources', 'florence_scans.py') in own
    assert os.path.join('data_prep', 'sources', 'folder.py') not in own


@pytest.mark.parametrize('changed', ['a.py', 'table.npz', os.path.join('weights', 'x.bin')])
def test_it_changes_with_every_file(tmp_path, monkeypatch, changed):
    (tmp_path / 'weights').mkdir()
    text = "from seqface_jax import errors\nNAMES = 'table.npz', 'weights'\n"
    (tmp_path / 'a.py').write_text(text)
    (tmp_path / 'table.npz').write_bytes(b'1')
    (tmp_path / 'weights' / 'x.bin').write_bytes(b'2')
    monkeypatch.setattr(seqface_jax, '__path__', [*seqface_jax.__path__, str(tmp_path)])
    before = code_key.of_modules('seqface_jax.a')
    assert before == code_key.of_modules('seqface_jax.a')
    with open(tmp_path / changed, 'ab') as file:
        file.write(b'#')
    assert code_key.of_modules('seqface_jax.a') != before
