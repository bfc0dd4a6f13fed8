import functools
import os
import shutil
import subprocess
import sys

import h5py
import jax
import numpy as np
import pytest

from configs import bu4dfe_thesis
from seqface_jax import checkpoints, import_keras
from seqface_jax.errors import UserError
from tests.helpers.compiling import quick_jit

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NARROW = os.path.join(ROOT, 'tests', 'helpers', 'keras2_narrow.h5')  # Saved by Keras 2.

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def imported(tmp_path_factory):
    """Returns the workdir that the command writes for the file of Keras 2."""
    workdir = tmp_path_factory.mktemp('imported') / 'run'
    command = ['-m', 'seqface_jax.import_keras', f'--h5={NARROW}', f'--workdir={workdir}']
    command += ['--scale_mm=80', '--config.data.dir=elsewhere']
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope='module')
def example():
    """Returns frames and the points of Keras 2 for them."""
    with h5py.File(NARROW) as file:
        return file['test_frames'][:], file['test_points'][:]


@pytest.fixture
def copy(tmp_path):
    """Returns the path of a copy of the file of Keras 2, to change."""
    return shutil.copy(NARROW, tmp_path / 'model.h5')


def relative_error(position_map, points):
    """Compares the last map, in mm, with the points of Keras, in units of 80 mm."""
    offset_mm = [0, -4, 58]
    unit = (np.asarray(position_map).reshape(points.shape) - offset_mm) / 80
    return np.abs(unit - points).max() / np.abs(points).max()


def test_an_imported_run_gives_the_points_of_keras_2(imported, example):
    _, model, variables = checkpoints.load(imported, 'best_validation')
    frames, points = example
    apply = quick_jit(functools.partial(model.apply, train=False, last_only=True))
    prediction = apply(variables, frames)
    assert np.abs(points[0] - points[1]).max() > 1e-3
    assert relative_error(prediction.position_map, points) < 1e-4


def test_an_imported_run_streams(imported, example):
    _, model, variables = checkpoints.load(imported, 'best_validation')
    frames, points = example
    state = model.initial_state(len(frames))
    step = quick_jit(functools.partial(model.apply, method='step'))
    for t in range(frames.shape[1]):
        state, prediction = step(variables, state, frames[:, t])
    assert relative_error(prediction.position_map, points) < 1e-4


def test_the_config_of_an_imported_run_is_that_of_the_file(imported):
    config = checkpoints.read_config(imported)
    assert (config.data.image_size, config.data.num_frames) == (32, 3)
    assert config.data.dir == 'elsewhere'
    assert config.data.normalization == 'min_max_bgr'
    kinds = [layer['kind'] for layer in config.model.encoder]
    assert kinds == ['conv_lstm', 'inverted_residual'] * 2 + ['conv_lstm'] * 2
    assert config.model.encoder[3] == {
        'kind': 'inverted_residual',
        'features': 10,
        'kernel': 3,
        'stride': 2,
        'expansion': 6,
        'repeats': 2,
        'squeeze': True,
    }
    assert [layer['features'] for layer in config.model.decoder] == [16, 8, 6, 3]


def test_names_cut_into_parts_are_joined(copy):
    expected = import_keras.read(copy).variables
    with h5py.File(copy, 'a') as file:
        for group in file['model_weights'].values():
            names = group.attrs['weight_names']
            del group.attrs['weight_names']
            group.attrs['weight_names0'], group.attrs['weight_names1'] = names[:1], names[1:]
    jax.tree.map(np.testing.assert_array_equal, import_keras.read(copy).variables, expected)


def change_config(path, old, new):
    with h5py.File(path, 'a') as file:
        text = import_keras._text(file.attrs['model_config'])
        assert old in text
        file.attrs['model_config'] = text.replace(old, new)


@pytest.mark.parametrize(
    ('old', 'new', 'sentence'),
    [
        ('"Add"', '"Subtract"', 'does not hold the network of the thesis: where a Conv2D should'),
        ('"epsilon": 0.001', '"epsilon": 0.1', 'has epsilon=0.1, not 0.001'),
        ('"recurrent_activation": "hard_sigmoid"', '"recurrent_activation": "relu"', 'relu'),
        ('"filters": 16', '"filters": 15', 'is inconsistent: its arrays do not fit its layers'),
        ('[null, 3, 32, 32, 3]', '[null, 3, 32, 40, 3]', 'only square RGB frames'),
        ('[null, 3, 32, 32, 3]', '[null, 32, 32, 3]', 'does not take sequences of frames'),
        ('"layers"', '"layer"', 'truncated or not a model saved by Keras 2'),
    ],
)
def test_a_file_of_another_network_is_refused(copy, old, new, sentence):
    change_config(copy, old, new)
    with pytest.raises(UserError, match=sentence):
        import_keras.read(copy)


def test_a_truncated_file_is_refused(copy):
    os.truncate(copy, os.path.getsize(copy) // 2)
    with pytest.raises(UserError, match='cannot be read .*truncated'):
        import_keras.read(copy)


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    path = tmp_path / 'model.h5'
    path.write_text('not a model')
    with pytest.raises(UserError, match='cannot be read'):
        import_keras.read(path)


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match='there is no file nowhere.h5: give'):
        import_keras.read('nowhere.h5')


def test_weights_without_a_model_are_refused(copy):
    with h5py.File(copy, 'a') as file:
        del file.attrs['model_config']
    with pytest.raises(UserError, match='needs the attribute model_config'):
        import_keras.read(copy)


def test_a_missing_array_is_named(copy):
    with h5py.File(copy, 'a') as file:
        name = next(n for n in file['model_weights'] if n.startswith('conv_lst'))
        del file['model_weights'][name][name]
    with pytest.raises(UserError, match='cannot be read'):
        import_keras.read(copy)


def test_a_file_of_keras_3_is_refused(copy):
    with h5py.File(copy, 'a') as file:
        file.attrs['keras_version'] = '3.15.1'
    with pytest.raises(UserError, match='was saved by Keras 3.15.1: only Keras 2 is read'):
        import_keras.read(copy)


def test_a_run_that_is_there_is_not_overwritten_by_another_network(imported):
    network = import_keras.read(NARROW)
    network.fields['recurrent_activation'] = 'sigmoid'
    with pytest.raises(UserError, match='holds a run of another config'):
        import_keras.write_run(network, imported, bu4dfe_thesis.get_config(), 80.0)


def weight(file):
    """Returns the group and the name of the first array of a file."""
    layer = next(name for name in file['model_weights'] if name.startswith('conv_lst'))
    name = import_keras._read_names(file['model_weights'][layer].attrs, 'weight_names')[0]
    place, _, last = name.rpartition('/')
    return file['model_weights'][layer][place], last


def link_out(group, name):
    group[name] = h5py.ExternalLink('/etc/passwd', '/')


def store_outside(group, name):
    group.create_dataset(name, (3, 3), 'f4', external=[('/etc/passwd', 0, 36)])


def point_at_another_file(group, name):
    layout = h5py.VirtualLayout((3,), 'f4')
    layout[:] = h5py.VirtualSource('/etc/passwd', 'x', (3,))
    group.create_virtual_dataset(name, layout)


def announce_too_much(group, name):
    group.create_dataset(name, (10**6, 10**6), 'f4', chunks=(1000, 1000))


def hold_text(group, name):
    group.create_dataset(name, data=[b'import os'], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    'change', [link_out, store_outside, point_at_another_file, announce_too_much, hold_text]
)
def test_only_numbers_inside_the_file_are_read(copy, change):
    with h5py.File(copy, 'a') as file:
        group, name = weight(file)
        del group[name]
        change(group, name)
    with pytest.raises(UserError, match='cannot be read .*(another place|of its own|announces)'):
        import_keras.read(copy)


@pytest.mark.parametrize('config', ['[' * 100_000, '[]', '{"config": {"layers": [5]}}', '"x"'])
def test_a_description_that_is_no_network_is_refused(copy, config):
    with h5py.File(copy, 'a') as file:
        del file.attrs['model_config']
        file.attrs.create('model_config', config[:60_000])
    with pytest.raises(UserError, match='cannot be read'):
        import_keras.read(copy)
