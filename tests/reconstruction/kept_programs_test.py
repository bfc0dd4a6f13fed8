import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.geometric_filter.point_fit import FitSettings
from seqface_jax.reconstruction import kept_programs
from seqface_jax.reconstruction.kept_programs import KeptFunction


class Pair(NamedTuple):
    scaled: jax.Array
    total: jax.Array


@pytest.fixture
def traced():
    """A list that grows with every trace of `_kept`'s function."""
    return []


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'programs'


def _kept(folder, traced, closed_over=''):
    """Returns a KeptFunction as another process would make it."""

    def scale(values, settings):
        traced.append(None)
        total = jnp.sum(values['b']) + settings.num_steps
        return Pair(settings.tempering * values['a'], {'sum': total})

    return KeptFunction(scale, str(folder), closed_over, options=None)


_VALUES = {'a': np.arange(3, dtype=np.float32), 'b': np.ones((2, 2), np.float32)}
_SETTINGS = FitSettings(tempering=3.0, num_steps=5)


def _check(pair, settings=_SETTINGS):
    assert isinstance(pair, Pair)
    np.testing.assert_array_equal(pair.scaled, settings.tempering * _VALUES['a'])
    assert pair.total['sum'] == 4 + settings.num_steps


def test_a_kept_function_is_traced_once_per_machine(folder, traced):
    for _ in range(2):
        kept = _kept(folder, traced)
        for _ in range(2):
            _check(kept(_VALUES, _SETTINGS))
    assert len(traced) == 1


def _other_release(monkeypatch):
    monkeypatch.setattr(jax, '__version__', '0.0.0')


def _other_source(monkeypatch):
    monkeypatch.setattr(kept_programs, '_source_digest', lambda: 'other')


def _other_setting(monkeypatch):
    values = jax.config.values | {'jax_default_matmul_precision': 'float32'}
    monkeypatch.setattr(type(jax.config), 'values', values)


@pytest.mark.parametrize('change', [_other_release, _other_source, _other_setting])
def test_it_is_traced_again_where_what_it_depends_on_has_changed(
    folder, traced, monkeypatch, change
):
    _check(_kept(folder, traced)(_VALUES, _SETTINGS))
    change(monkeypatch)
    _check(_kept(folder, traced)(_VALUES, _SETTINGS))
    assert len(traced) == 2
    assert len(os.listdir(folder)) == 1  # The older program has gone.


def test_other_arguments_have_another_program(folder, traced):
    _kept(folder, traced)(_VALUES, _SETTINGS)
    longer = _VALUES | {'a': np.arange(4, dtype=np.float32)}
    assert _kept(folder, traced)(longer, _SETTINGS).scaled.shape == (4,)
    whole = _VALUES | {'a': np.arange(3, dtype=np.int32)}
    assert _kept(folder, traced)(whole, _SETTINGS).scaled.dtype == np.float32
    steps = FitSettings(tempering=3.0, num_steps=6)
    _check(_kept(folder, traced)(_VALUES, steps), steps)
    _kept(folder, traced, closed_over='something else')(_VALUES, _SETTINGS)
    assert len(traced) == len(os.listdir(folder)) == 5
    tempered = FitSettings(tempering=4.0, num_steps=5)
    _check(_kept(folder, traced)(_VALUES, tempered), tempered)  # A number is no shape.
    assert len(traced) == 5


@pytest.mark.parametrize('place', [0, 40, -1])
def test_a_damaged_program_is_made_anew(folder, traced, place):
    _kept(folder, traced)(_VALUES, _SETTINGS)
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        _check(_kept(folder, traced)(_VALUES, _SETTINGS))
    assert len(traced) == 2


def test_it_works_where_nothing_can_be_kept(tmp_path, traced):
    (tmp_path / 'file').touch()
    for _ in range(2):
        _check(_kept(tmp_path / 'file' / 'programs', traced)(_VALUES, _SETTINGS))
    assert len(traced) == 2


def test_every_source_file_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_programs, '_PACKAGE', tmp_path)
    (tmp_path / 'room').mkdir()
    digests = set()
    for text in ('SIDE = 1', 'SIDE = 2'):
        for name in ('one.py', 'room/two.py'):
            (tmp_path / name).write_text(text)
            digests.add(kept_programs._source_digest.__wrapped__())
    assert len(digests) == 4
