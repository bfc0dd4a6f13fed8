"""The wheel, built and installed into an environment of its own, makes a face."""

import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import cv2
import pytest
from skimage import data

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_NOT_SOURCE = {'.git', '.pytest_cache', 'raw', 'data', 'runs', 'out', 'build', 'tests'}
_NOT_SOURCE |= {'benchmarks'}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _skip(folder, names):
    if os.path.samefile(folder, _ROOT):
        return _NOT_SOURCE | {name for name in names if name.startswith('.venv')}
    return {'__pycache__'}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Builds the wheel from a copy, for a build leaves files; returns its path."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    shutil.copytree(_ROOT, source, ignore=_skip)
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '--wheel-dir', folder, source], check=True)
    (path,) = glob.glob(str(folder / '*.whl'))
    return path


@pytest.fixture(scope='module')
def environment(wheel, tmp_path_factory):
    """Installs the wheel alone; what it depends on is lent by this environment."""
    folder = tmp_path_factory.mktemp('environment')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    command = [sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python']
    subprocess.run([*command, 'install', '-q', '--no-deps', '--no-index', wheel], check=True)
    (packages,) = glob.glob(str(folder / 'lib' / '*' / 'site-packages'))
    lent = dict.fromkeys(sysconfig.get_path(name) for name in ('purelib', 'platlib'))
    with open(os.path.join(packages, 'lent.pth'), 'w', encoding='utf-8') as file:
        file.write('\n'.join(lent) + '\n')
    return folder


def test_the_wheel_holds_the_code_the_trained_run_and_the_licences(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        'seqface_jax/commands/seqface_command.py',
        'seqface_jax/reconstruction/face_template.html',
        'seqface_jax/evaluation/page_viewer.js',
        'seqface_jax/evaluation/page_head.html',
        'seqface_jax/evaluation/page_style.css',
        'seqface_jax/pretrained/config.json',
        'seqface_jax/sample_photos/made_up_ict/1.jpg',
        'data_prep/sources/splits/bu4dfe.csv',
        'configs/cpu.py',
        'run_demo.py',
    ):
        assert name in names
    assert {os.path.basename(name) for name in names if '/licenses/' in name} == {
        'LICENSE',
        'NOTICE',
    }
    assert not [name for name in names if name.startswith('tests')]


def test_every_package_of_the_project_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ('seqface_jax', 'data_prep', 'configs'):
        for path in glob.glob(os.path.join(_ROOT, package, '**', '*.py'), recursive=True):
            assert os.path.relpath(path, _ROOT) in names


def test_the_installed_command_makes_a_face_of_a_photograph(environment, tmp_path):
    photo = str(tmp_path / 'astronaut.png')
    cv2.imwrite(photo, data.astronaut()[..., ::-1])
    settings = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    command = [environment / 'bin' / 'seqface', 'demo', f'--input={photo}', '--output=out']
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out' / 'face.glb').exists()
    where = 'import seqface_jax; print(seqface_jax.__file__)'
    python = [environment / 'bin' / 'python', '-c', where]
    found = subprocess.run(python, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert found.stdout.startswith(str(environment))
