import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

from seqface_jax import freeze, frozen
from seqface_jax.errors import UserError
from seqface_jax.models.network import FaceNetwork
from tests.helpers import forked_commands, small_run

CROPS = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('frozen') / 'face.frozen')
    freeze.freeze(path, *small_run.make())
    return path


def _live():
    config, model, variables = small_run.make()
    network = FaceNetwork(config, model, variables)
    step, state = jax.jit(network.step), network.initial_state(variables)
    for crop in CROPS:
        state, vertices, confidence, _ = step(variables, state, crop[None])
    return network.triangles, np.asarray(vertices), np.asarray(confidence)


def test_the_frozen_network_equals_the_live_one(path):
    network = frozen.load(path)
    state = network.initial_state()
    for crop in CROPS:
        state, vertices, confidence = network.step(state, crop)
    triangles, expected_vertices, expected_confidence = _live()
    np.testing.assert_allclose(vertices, expected_vertices, atol=1e-4)
    np.testing.assert_allclose(confidence, expected_confidence, atol=1e-6)
    np.testing.assert_array_equal(network.triangles, triangles)
    assert network.image_size == 32 and network.settings['unit'] == 'mm'


def test_the_frozen_network_is_compiled_once(path):
    network = frozen.load(path)
    state = network.initial_state()
    for crop in CROPS:
        state, *_ = network.step(state, crop)
    assert network._step._cache_size() == 1


@pytest.mark.slow
def test_the_loader_needs_nothing_of_this_project(path, tmp_path):
    with open(frozen.__file__) as file:
        (tmp_path / 'loader.py').write_text(file.read())
    program = (
        'import sys, numpy, loader\n'
        f'network = loader.load({path!r})\n'
        'assert network.image_size == 32\n'
        "assert not [name for name in sys.modules if name.startswith(('seqface', 'flax', 'cv2'))]\n"
    )
    subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)


def test_a_crop_of_another_size_or_type_is_refused(path):
    network = frozen.load(path)
    for crop in (CROPS[0, :16], CROPS[0].astype(np.float32)):
        with pytest.raises(ValueError, match=r'a crop must be uint8 RGB \[32, 32, 3\]'):
            network.step(network.initial_state(), crop)


def test_a_foreign_file_and_another_format_are_refused(path, tmp_path):
    (tmp_path / 'x').write_bytes(b'something else')
    with pytest.raises(ValueError, match='not a frozen network'):
        frozen.load(str(tmp_path / 'x'))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / 'new', 'w') as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(ValueError, match='has format 2'):
        frozen.load(str(tmp_path / 'new'))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(UserError, match='cannot write .*choose another --output'):
        freeze.freeze(str(tmp_path / 'none' / 'x'), *small_run.make())


@pytest.mark.slow
def test_the_command_says_what_is_missing():
    done = forked_commands.run('-m', 'seqface_jax.freeze', '--workdir=none', '--output=x')
    assert done.returncode == 1
    assert 'error: none is not the workdir of a run' in done.stderr
