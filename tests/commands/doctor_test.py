import importlib.metadata
import shutil

import cv2
import pytest

from seqface_jax import checkpoints, doctor
from seqface_jax.commands import compilation_cache, compiler_fault, extras
from seqface_jax.doctor import BROKEN, MISSING, WORKS
from tests.helpers import forked_commands, small_run
from tests.photos.video_test import Camera


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Leaves JAX's settings and the user's cache folder alone."""
    monkeypatch.setattr(compilation_cache, 'turn_on', lambda: '/cache')


def test_here_the_required_things_work():
    found = {
        finding.what: finding.mark
        for finding in (
            doctor.python(),
            doctor.packages(),
            doctor.devices(),
            doctor.compiler(),
            doctor.face_detector(),
            doctor.picture_codecs(),
            doctor.video_codecs(),
            doctor.compilation_cache_folder(),
        )
    }
    assert set(found.values()) == {WORKS}, found


def test_a_missing_package_is_named_with_what_to_do(monkeypatch):
    def version(name):
        if name == 'flax':
            raise importlib.metadata.PackageNotFoundError
        return '1'

    monkeypatch.setattr(importlib.metadata, 'version', version)
    finding = doctor.packages()
    assert finding.mark == BROKEN and finding.found == 'missing: flax' and 'pip' in finding.advice


def test_a_gpu_that_jax_does_not_use_is_said(monkeypatch):
    import jax

    monkeypatch.setattr(jax, 'default_backend', lambda: 'cpu')
    monkeypatch.setattr(shutil, 'which', lambda name: '/usr/bin/nvidia-smi')
    finding = doctor.devices()
    assert finding.mark == MISSING and '.[cuda]' in finding.advice


def test_a_missing_library_is_named_by_its_debian_package(monkeypatch):
    monkeypatch.setattr(doctor.ctypes.util, 'find_library', lambda name: None)
    assert 'apt-get install libegl1 libgl1 libusb-1.0-0' in doctor.debian_libraries().advice


def test_a_missing_optional_package_breaks_nothing(monkeypatch):
    monkeypatch.setattr(extras, 'EXTRAS', {'dreams': extras.Extra('dreams', ('no_such_package',))})
    (finding,) = doctor.optional_packages()
    assert finding.mark == MISSING and "pip install -e '.[dreams]'" in finding.advice


def test_cameras_are_listed_with_their_size_or_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(doctor.glob, 'glob', lambda pattern: ['/dev/video2'])
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: Camera(3))
    assert doctor.cameras() == (WORKS, 'cameras', '2 (4 x 4)', '')
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: Camera(0))
    assert 'usermod -aG video' in doctor.cameras().advice
    monkeypatch.setattr(doctor.glob, 'glob', lambda pattern: [])
    monkeypatch.setattr(doctor.platform, 'system', lambda: 'Linux')
    assert doctor.cameras()[:3] == (MISSING, 'cameras', 'none')


def test_a_run_that_answers_works_and_none_is_broken(tmp_path, monkeypatch):
    finding = doctor.checkpoint(small_run.write(tmp_path / 'run'))
    assert finding.mark == WORKS and "'fusion' at 32 pixels answers" in finding.found
    monkeypatch.setattr(checkpoints, 'PRETRAINED', str(tmp_path / 'none'))
    finding = doctor.checkpoint(None)
    assert finding.mark == BROKEN and 'no pretrained run' in finding.found


@pytest.mark.slow
def test_the_command_ends_with_status_1_and_the_advice(tmp_path):
    command = ['-m', 'seqface_jax.doctor', '--nocamera', f'--workdir={tmp_path}']
    done = forked_commands.run(*command, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert 'x checkpoint' in done.stdout and '-> train one' in done.stdout
    assert done.stdout.endswith('broken: checkpoint\n')


def test_a_missing_device_is_answered_with_its_setting_not_with_an_installation(monkeypatch):
    import jax

    def jit(function):
        raise RuntimeError("Unable to initialize backend 'cuda': no device")

    monkeypatch.setattr(jax, 'jit', jit)
    monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
    finding = doctor.devices()
    assert finding.mark == BROKEN and finding.advice.startswith('unset JAX_PLATFORMS (it is cuda)')


def test_a_compiler_that_computes_wrongly_is_said_with_the_setting(monkeypatch):
    monkeypatch.setattr(compiler_fault, 'computes_rightly', lambda: False)
    finding = doctor.compiler()
    assert finding.mark == BROKEN and compiler_fault.FLAG in finding.advice


def test_libraries_write_nothing_past_the_findings(capfd):
    doctor.video_codecs()
    doctor.picture_codecs()
    said = capfd.readouterr()
    assert not said.err and not said.out
