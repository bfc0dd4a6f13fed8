import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from seqface_jax import checkpoints
from seqface_jax.commands import compiler_fault
from tests.helpers import compiling

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_here_the_compiler_computes_rightly(shipped):
    assert compiler_fault.computes_rightly()
    assert compiler_fault.state() != compiler_fault.UNGUARDED


def test_the_flag_is_set_for_releases_with_the_fault_and_not_for_others(monkeypatch):
    for release, expected in (
        ('0.10.2', f'--other=1 {compiler_fault.FLAG}'),
        ('0.12.0.1', f'--other=1 {compiler_fault.FLAG}'),
        ('0.9.2', '--other=1'),
    ):
        monkeypatch.setenv('XLA_FLAGS', '--other=1')
        monkeypatch.setattr(compiler_fault.importlib.metadata, 'version', lambda name, r=release: r)
        for _ in range(2):
            compiler_fault.guard()
            assert os.environ['XLA_FLAGS'] == expected


def test_what_a_person_says_of_the_setting_stays(monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', f'{compiler_fault.SETTING}=')
    compiler_fault.guard()
    assert os.environ['XLA_FLAGS'] == f'{compiler_fault.SETTING}='


@pytest.mark.slow
def test_importing_the_package_guards_and_leaves_opencv_as_it_was():
    program = (
        'import cv2; cv2.setNumThreads(3)\n'
        'from seqface_jax.commands import compiler_fault\n'
        'from seqface_jax.data import input_pipeline\n'
        'from seqface_jax.photos import face_detection\n'
        'assert cv2.getNumThreads() == 3\n'
        'assert compiler_fault.state() != compiler_fault.UNGUARDED\n'
    )
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    subprocess.run([sys.executable, '-c', program], cwd=_ROOT, env=environment, check=True)


@pytest.mark.slow
@pytest.mark.skipif(not compiler_fault.is_faulty(), reason='this jaxlib computes rightly')
def test_what_was_compiled_without_the_guard_is_not_taken_for_guarded(tmp_path):
    """Two programs keep what they compile in one folder, as all tests do; one is unguarded."""
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    environment |= {'JAX_COMPILATION_CACHE_DIR': str(tmp_path), 'JAX_PLATFORMS': 'cpu'}
    found = []
    for is_guarded in (False, True):
        program = (
            'import os\n'
            'from seqface_jax.commands import compiler_fault\n'
            f'os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"] if {is_guarded} else ""\n'
            'print(compiler_fault.computes_rightly())\n'
        )
        done = subprocess.run(
            [sys.executable, '-c', program],
            cwd=_ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append((done.stdout.strip(), len(list(tmp_path.iterdir()))))
    (unguarded, _), (guarded, num_kept) = found
    assert (unguarded, guarded) == ('False', 'True')
    assert num_kept > found[0][1] > 0


@pytest.mark.slow
def test_the_packaged_network_answers_compiled_as_it_does_operation_by_operation():
    config, model, variables = checkpoints.load(checkpoints.pretrained(), 'best_validation')
    size = config.data.image_size
    frames = np.random.default_rng(0).random((1, size, size, 3)).astype(np.float32)
    eager = model.apply(variables, frames)
    with compiling.as_shipped():
        compiled = jax.jit(model.apply)(variables, frames)
    for one, two in zip(jax.tree.leaves(eager), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4 * np.abs(one).max())
