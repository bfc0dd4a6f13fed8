"""A face from photos, a video or a camera: `python run_demo.py --input=FOLDER --output=OUT`."""

import contextlib
import os
import sys

from absl import app, flags, logging

from seqface_jax import errors
from seqface_jax.commands import command_line, garbage

_WORKDIR = flags.DEFINE_string('workdir', None, 'The trained run; the packaged one if left out.')
_INPUT = flags.DEFINE_string(
    'input', None, 'A photo, a folder of photos, a video, or the number of a camera, of one person.'
)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder for face.ply, .obj, .glb, .png and more.')
_CHECKPOINT = flags.DEFINE_string('checkpoint', 'best_validation', 'Or best_training, latest.')
_STATE = flags.DEFINE_string('state', None, 'A state.npz of an earlier run, to go on from.')
_MAX_FRAMES = flags.DEFINE_integer(
    'max_frames', 0, 'Stop after so many; 0: at the end.', lower_bound=0
)
_TEXTURE = flags.DEFINE_bool('texture', True, "Gather the face's colours from the frames.")
_DELIGHT = flags.DEFINE_bool(
    'delight', False, "Divide the photos' light out of the face's colours."
)
_ANIMATE = flags.DEFINE_bool(
    'animate', False, 'Also face_animated.glb, the face as it improved, and its expressions.'
)
_HEAD = flags.DEFINE_bool('head', False, 'Also head.glb, .obj, .ply: the whole head, guessed.')
_PEOPLE = flags.DEFINE_enum(
    'people',
    None,
    ['folders', 'all'],
    'Several people: each folder in --input is one; or all who are on the photos or the video.',
)
_VIEW = flags.DEFINE_bool('view', False, 'Show the face in a browser, while frames come and after.')
_HOST = flags.DEFINE_string(
    'host', '127.0.0.1', 'Address of the page; 0.0.0.0: for other machines too.'
)
_PORT = flags.DEFINE_integer('port', 8080, 'Port of the page; 0: any free one.', lower_bound=0)
command_line.require(
    input='FOLDER of photos, a photo, a video or the number of a camera',
    output='FOLDER to write to',
)


@errors.exit_on_user_error
def main(argv):
    """Makes a face of what --input names, and prints what was written."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'OFF')  # Our own sentences say what is wrong.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    # The matrices are small: a second thread of BLAS would wait for them by spinning.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # NumPy reads it when it is imported.
    with garbage.left_alone():
        from seqface_jax import demo, files
        from seqface_jax.commands import compilation_cache

    compilation_cache.turn_on()
    options = {
        'max_frames': _MAX_FRAMES.value,
        'texture': _TEXTURE.value,
        'delight': _DELIGHT.value,
        'animate': _ANIMATE.value,
        'head': _HEAD.value,
    }
    if _PEOPLE.value is not None:
        if _VIEW.value or _STATE.value is not None:
            raise errors.UserError('--view and --state are of one person: leave --people out')
        lines = demo.run_people(
            _PEOPLE.value,
            _WORKDIR.value,
            _INPUT.value,
            _OUTPUT.value,
            _CHECKPOINT.value,
            **options,
        )
        sys.stdout.write(files.printable('\n'.join(lines)) + '\n')
        return
    with contextlib.ExitStack() as stack:
        page = None
        if _VIEW.value:
            page = stack.enter_context(demo.open_page(_OUTPUT.value, _HOST.value, _PORT.value))
        lines = demo.run(
            _WORKDIR.value,
            _INPUT.value,
            _OUTPUT.value,
            _CHECKPOINT.value,
            state_path=_STATE.value,
            page=page,
            **options,
        )
        sys.stdout.write(files.printable('\n'.join(lines)) + '\n')
        sys.stdout.flush()
        if page is not None:
            demo.keep_page(page)


if __name__ == '__main__':
    app.run(main, flags_parser=command_line.parse)
