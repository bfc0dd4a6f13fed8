"""Says what works on this machine, and what to do about the rest.

python -m seqface_jax.doctor [--workdir=RUN] [--nocamera]

Exit status 0: a face can be reconstructed here (what is merely missing is marked `-`).
Exit status 1: something that every use needs is broken (marked `x`).
"""

import contextlib
import ctypes.util
import glob
import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from typing import NamedTuple

import numpy as np
from absl import app, flags, logging

from seqface_jax import errors
from seqface_jax.commands import command_line, extras
from seqface_jax.errors import UserError

WORKS, MISSING, BROKEN = '+', '-', 'x'
REQUIRED = ('jax', 'flax', 'orbax-checkpoint', 'numpy', 'scipy', 'opencv-python-headless')
# Shared libraries that Open3D needs, and their Debian packages.
DEBIAN = {'EGL': 'libegl1', 'GL': 'libgl1', 'usb-1.0': 'libusb-1.0-0'}
PICTURE_CODECS = ('.jpg', '.png', '.webp', '.tiff', '.bmp', '.jp2', '.avif')
VIDEO_CODECS = (('MJPG', '.avi'), ('mp4v', '.mp4'), ('VP80', '.webm'))
_MIN_FREE_GB = 1.0


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        mark: WORKS, MISSING or BROKEN.
        what: str, a word or two.
        found: str, what was found.
        advice: str, what to do about it; empty if it works.
    """

    mark: str
    what: str
    found: str
    advice: str = ''

    def __str__(self):
        line = f'{self.mark} {self.what:<12} {self.found}'
        return line + (f'\n{"":15}-> {self.advice}' if self.advice else '')


def examine(workdir=None, *, camera=True):
    """Looks at everything.

    Args:
        workdir: of a run to try; None for the one that comes with the package.
        camera: whether to open the cameras.

    Yields:
        Findings, in an order to read.
    """
    yield python()
    yield packages()
    yield devices()
    yield compiler()
    yield from optional_packages()
    yield debian_libraries()
    yield face_detector()
    yield picture_codecs()
    yield video_codecs()
    if camera:
        yield cameras()
    yield compilation_cache_folder()
    yield disk()
    yield checkpoint(workdir)


def python():
    """Which interpreter is it? (pip refuses one that is too old.)"""
    found = f'{platform.python_version()} on {platform.system()} {platform.machine()}'
    return Finding(WORKS, 'Python', found)


def packages():
    """Are the packages there that every use needs?"""
    found, missing = [], []
    for name in REQUIRED:
        try:
            found.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        advice = 'run ./setup.sh, or: pip install -e .'
        return Finding(BROKEN, 'packages', f'missing: {", ".join(missing)}', advice)
    return Finding(WORKS, 'packages', ', '.join(found))


def devices():
    """Does JAX compute, and on what? A GPU that it does not use is said."""
    try:
        import jax

        value = float(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((8, 8))))
        kinds = [f'{device.platform} ({device.device_kind})' for device in jax.local_devices()]
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding.
        reason = f'JAX does not compute: {_first_line(error)}'
        return Finding(BROKEN, 'devices', reason, _device_advice(error))
    if value != 512:
        reason = f'JAX computes wrongly: {value} instead of 512'
        return Finding(BROKEN, 'devices', reason, 'try JAX_PLATFORMS=cpu; update the driver')
    found = ', '.join(kinds)
    if jax.default_backend() == 'cpu' and shutil.which('nvidia-smi'):
        advice = "pip install -e '.[cuda]' (driver 580 or newer; '.[cuda12]' for 525 or newer)"
        return Finding(MISSING, 'devices', f'{found}; an NVIDIA GPU is not used', advice)
    return Finding(WORKS, 'devices', found)


def _device_advice(error):
    wanted = os.environ.get('JAX_PLATFORMS')
    if wanted:
        return f'unset JAX_PLATFORMS (it is {wanted}), or set it to cpu'
    if errors.device_error(error):
        return 'set JAX_PLATFORMS=cpu to do without a GPU; end what fills its memory'
    return "install what this project needs: pip install -e . (a GPU: '.[cuda]')"


def compiler():
    """Does XLA compute a maximum over windows rightly on the CPU, as compiler_fault.py tells?"""
    from seqface_jax.commands import compiler_fault

    try:
        is_right = compiler_fault.computes_rightly()
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding.
        return Finding(BROKEN, 'compiler', _first_line(error), _device_advice(error))
    state = compiler_fault.state()
    if not is_right:
        advice = f'set XLA_FLAGS={compiler_fault.FLAG}'
        return Finding(BROKEN, 'compiler', 'XLA computes wrongly on this CPU', advice)
    if state == compiler_fault.GUARDED:
        return Finding(
            WORKS, 'compiler', f"jaxlib's fault on CPUs is avoided: {os.environ['XLA_FLAGS']}"
        )
    return Finding(WORKS, 'compiler', 'computes rightly on the CPU')


def optional_packages():
    """Yields a Finding for each package that only some uses need."""
    for extra, (purpose, modules) in extras.EXTRAS.items():
        try:
            found = [importlib.import_module(name) for name in modules]
        except (ImportError, OSError) as error:
            advice = f"for {purpose}: pip install -e '.[{extra}]'"
            yield Finding(MISSING, extra, _first_line(error), advice)
        else:
            versions = (f'{m.__name__} {getattr(m, "__version__", "")}'.strip() for m in found)
            yield Finding(WORKS, extra, f'{", ".join(versions)}, for {purpose}')


def debian_libraries():
    """Are the shared libraries there that Open3D needs?"""
    missing = [
        package for name, package in DEBIAN.items() if ctypes.util.find_library(name) is None
    ]
    if missing:
        advice = f'for preparing raw scans: apt-get install {" ".join(missing)}'
        return Finding(MISSING, 'libraries', f'missing: {", ".join(missing)}', advice)
    return Finding(WORKS, 'libraries', ', '.join(DEBIAN.values()))


def face_detector():
    """Are OpenCV's cascades there?"""
    try:
        from seqface_jax.photos import face_detection

        face_detection.FaceDetector()
        import cv2
    except (UserError, ImportError) as error:
        advice = "pip install 'opencv-python-headless>=4.11,<5'; remove other OpenCV packages"
        return Finding(BROKEN, 'faces', _first_line(error), advice)
    return Finding(WORKS, 'faces', f'OpenCV {cv2.__version__} with its cascades')


def picture_codecs():
    """Which kinds of photo can be written and read back?"""
    try:
        import cv2
    except ImportError as error:
        return Finding(BROKEN, 'photos', _first_line(error), 'pip install -e .')
    picture = np.full((64, 64, 3), 90, np.uint8)
    with _quiet():
        works = [ending for ending in PICTURE_CODECS if _survives(cv2, ending, picture)]
    lacking = [ending for ending in PICTURE_CODECS if ending not in works]
    if '.jpg' in lacking or '.png' in lacking:
        advice = 'use the wheel from PyPI: pip install "opencv-python-headless>=4.11,<5"'
        return Finding(BROKEN, 'photos', f'OpenCV lacks {", ".join(lacking)}', advice)
    if lacking:
        advice = 'convert such photos to JPEG or PNG'
        return Finding(MISSING, 'photos', f'OpenCV lacks {", ".join(lacking)}', advice)
    from seqface_jax.photos import photo_file

    if not photo_file.can_read_heic():
        advice = 'for HEIC photos of iPhones: pip install pillow-heif'
        return Finding(MISSING, 'photos', f'{", ".join(works)}; no HEIC', advice)
    return Finding(WORKS, 'photos', f'{", ".join(works)}, .heic')


def video_codecs():
    """Which kinds of video can be written and read back, and is H.264 decoded?"""
    try:
        import cv2
    except ImportError as error:
        return Finding(BROKEN, 'videos', _first_line(error), 'pip install -e .')
    with tempfile.TemporaryDirectory() as folder, _quiet():
        works = [
            f'{codec} ({ending})'
            for codec, ending in VIDEO_CODECS
            if _plays(cv2, os.path.join(folder, f'{codec}{ending}'), codec)
        ]
    has_ffmpeg = any(
        'FFMPEG' in line and 'YES' in line for line in cv2.getBuildInformation().splitlines()
    )
    found = ', '.join(works + (['FFmpeg, which decodes H.264 and HEVC'] if has_ffmpeg else []))
    if not works or not has_ffmpeg:
        advice = (
            'use the wheel of opencv-python-headless from PyPI; or turn a video into photos: '
            'ffmpeg -i film.mp4 photos/%05d.jpg'
        )
        return Finding(MISSING, 'videos', found or 'OpenCV reads none', advice)
    return Finding(WORKS, 'videos', found)


def cameras():
    """Which cameras give a picture?"""
    numbers = sorted(
        int(path[len('/dev/video') :])
        for path in glob.glob('/dev/video*')
        if path[len('/dev/video') :].isdecimal()
    )
    if not numbers and platform.system() == 'Linux':
        return Finding(MISSING, 'cameras', 'none', 'to use one, connect it: photos need none')
    from seqface_jax.photos import video

    works = []
    for number in numbers or [0]:
        try:
            with _quiet():
                source = video.open_source(str(number))
        except UserError:
            continue
        height, width = next(source.frames).photo.shape[:2]
        source.frames.close()
        works.append(f'{number} ({width} x {height})')
    if not works:
        advice = (
            "close what uses it; on Linux, join the group 'video': sudo usermod -aG video $USER"
        )
        return Finding(MISSING, 'cameras', f'{numbers or "one"} do not open', advice)
    return Finding(WORKS, 'cameras', ', '.join(works))


def compilation_cache_folder():
    """Can compiled networks be kept?"""
    from seqface_jax.commands import compilation_cache

    folder = compilation_cache.turn_on()
    if folder is None:
        advice = 'set JAX_COMPILATION_CACHE_DIR to a folder that you may write to'
        folder = compilation_cache.default_folder()
        return Finding(MISSING, 'cache', f'{folder} cannot be written to', advice)
    return Finding(WORKS, 'cache', folder)


def disk():
    """Is there room in the folder that the program was started in?"""
    free_gb = shutil.disk_usage(os.getcwd()).free / 1e9
    found = f'{free_gb:.1f} GB free in {os.getcwd()}'
    if free_gb < _MIN_FREE_GB:
        return Finding(MISSING, 'disk', found, 'free some: a run and its data need gigabytes')
    return Finding(WORKS, 'disk', found)


def checkpoint(workdir):
    """Does a trained run answer to a frame?"""
    try:
        from seqface_jax import checkpoints, reconstruct

        workdir = workdir or checkpoints.pretrained()
        reconstructor = reconstruct.Reconstructor.restore(workdir)
        reconstructor.compile()
    except (UserError, ImportError) as error:
        advice = 'train one (./setup.sh train) and name it: --workdir=runs/quickstart'
        if errors.device_error(error):
            advice = 'see devices above: the run itself may be whole'
        return Finding(BROKEN, 'checkpoint', _first_line(error), advice)
    size = reconstructor.config.data.image_size
    name = reconstructor.config.model.name
    return Finding(WORKS, 'checkpoint', f"{workdir}: '{name}' at {size} pixels answers")


def _survives(cv2, ending, picture):
    try:
        is_written, data = cv2.imencode(ending, picture)
        return is_written and cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    except cv2.error:
        return False


def _plays(cv2, path, codec):
    """Returns whether a video of three frames can be written and the third be read."""
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
    for _ in range(3):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    capture = cv2.VideoCapture(path)
    is_read = [capture.read()[0] for _ in range(3)]
    capture.release()
    return all(is_read)


@contextlib.contextmanager
def _quiet():
    """Keeps back what libraries write to stderr by themselves, past Python and its settings."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, 'wb') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _first_line(error):
    return str(error).partition('\n')[0] or type(error).__name__


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'A run to try; the packaged one if left out.')
    flags.DEFINE_bool('camera', True, 'Whether to switch the cameras on for a moment.')


def main(argv):
    """Prints the findings; ends with status 1 if something is broken."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.ERROR)
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'OFF')  # Our own sentences say what is wrong.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    findings = []
    for finding in examine(flags.FLAGS.workdir, camera=flags.FLAGS.camera):
        findings.append(finding)
        sys.stdout.write(f'{finding}\n')
        sys.stdout.flush()
    broken = [finding.what for finding in findings if finding.mark == BROKEN]
    if broken:
        sys.stdout.write(f'broken: {", ".join(broken)}\n')
        sys.exit(1)
    sys.stdout.write('all that every use needs works\n')


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
