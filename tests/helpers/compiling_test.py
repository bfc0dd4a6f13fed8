import os

import jax
import numpy as np
import pytest
from jax._src import compiler
from jax.experimental.compilation_cache import compilation_cache

from tests.helpers import compiling


def _compile_a_new_program():
    number = float(np.random.default_rng().random())
    return jax.jit(lambda x: x + number)(1.0)


@pytest.fixture
def kept(tmp_path):
    """A folder of compiled programs of this process alone."""
    folder = jax.config.jax_compilation_cache_dir
    for own in (str(tmp_path), folder):
        jax.config.update('jax_compilation_cache_dir', own)
        compilation_cache.reset_cache()
        if own != folder:
            yield tmp_path


def test_programs_are_kept_but_for_those_that_are_compiled_as_shipped(kept):
    def num_kept():
        return len(os.listdir(kept))

    before = num_kept()
    with compiling.as_shipped():
        _compile_a_new_program()
        assert not jax.config.read('jax_disable_most_optimizations')
        assert num_kept() == before
    _compile_a_new_program()
    assert num_kept() > before
    assert jax.config.read('jax_disable_most_optimizations')


def test_the_emitters_are_a_user_s_where_it_is_compiled_as_shipped(monkeypatch):
    setting = 'xla_cpu_use_fusion_emitters'
    monkeypatch.setenv('XLA_FLAGS', f'--{setting}=false')

    def overrides():
        return dict(compiler.get_compile_options(1, 1).env_option_overrides)

    with compiling.as_shipped():
        assert overrides()[setting] is True
    assert setting not in overrides()


def test_a_folder_that_has_grown_too_large_is_emptied(tmp_path, monkeypatch):
    (tmp_path / 'traced').mkdir()
    for name in ('program', 'traced/program'):
        (tmp_path / name).write_bytes(b'12345')
    compiling.empty_if_large(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['program', 'traced']
    monkeypatch.setattr(compiling, '_LARGEST_BYTES', 9)
    compiling.empty_if_large(tmp_path)
    assert [path.name for path in tmp_path.rglob('*')] == ['traced']
