"""Photos, a video or a camera of one person, or of several, to faces on disk."""

import contextlib
import functools
import sys

import tqdm

from seqface_jax import checkpoints, reconstruct
from seqface_jax.commands import garbage
from seqface_jax.errors import check_choice
from seqface_jax.photos import video
from seqface_jax.reconstruction import demo_people, person_stream, quick_compilation, viewer


def run(
    workdir,
    source,
    output,
    checkpoint='best_validation',
    *,
    state_path=None,
    max_frames=0,
    texture=True,
    delight=False,
    animate=False,
    head=False,
    page=None,
):
    """Reconstructs the face of the person on the frames.

    Writes into `output`: the face as face.ply, face.obj and face.glb, all with its colours where
    the head's pose was found in a frame; face.png (frames and face), state.npz (to go on from),
    frames.csv (which frame was used, or why not) and, if asked, face_animated.glb, the face as it
    improved, and face_expressions.glb, the final face as its expression moved (of a network that
    says it). A flagship's run also writes what result_files.py lists. A first Ctrl-C ends the
    stream and writes all of it. What a run before has left there and this one does not write again
    goes; a run that finds no face moves it to `previous`.

    Args:
        workdir: of the run; None for the one that comes with the package.
        source: as of video.open_source.
        output: folder, made if missing.
        checkpoint: one of checkpoints.WHICH.
        state_path: a state.npz to go on from, or None.
        max_frames, texture, delight, animate, head: as of person_stream.DemoOptions.
        page: viewer.Viewer that shows the face as it comes, or None.

    Returns:
        list of str, what was done.

    Raises:
        UserError: no such run, file or camera, or no face in any frame.
    """
    check_choice(checkpoint, checkpoints.WHICH, 'checkpoint')
    options = person_stream.DemoOptions(max_frames, texture, delight, animate, head)
    opened = video.open_source(source)
    with contextlib.closing(opened.frames), person_stream.stop_on_interrupt() as stop:
        quick = quick_compilation.pays(opened)
        reconstructor = _restore(workdir, checkpoint, quick=quick)
        state = reconstructor.initial_state()
        if state_path is not None:  # The last face's place is of another source.
            state = reconstructor.load_state(state_path)._replace(detection=None)
        total = person_stream.num_frames(opened, max_frames)
        with tqdm.tqdm(total=total, unit='frame') as bar:
            person = person_stream.PersonOutput(reconstructor, output, opened, options)
            return person_stream.one_person(
                reconstructor, person, opened, state, source, max_frames, stop, bar, page
            )


def run_people(way, workdir, source, output, checkpoint='best_validation', **options):
    """Reconstructs several people, each into a folder of its own below `output`.

    Args:
        way, source, output: as of demo_people.run.
        workdir, checkpoint: as of `run`.
        options: of person_stream.DemoOptions.

    Returns:
        list of str, what was done.

    Raises:
        UserError: no such run or source, or no face of anybody.
    """
    check_choice(checkpoint, checkpoints.WHICH, 'checkpoint')
    restore = functools.partial(_restore, workdir, checkpoint)
    return demo_people.run(way, restore, source, output, person_stream.DemoOptions(**options))


def open_page(output, host=viewer.HOST, port=viewer.PORT):
    """Returns a viewer.Viewer whose save button writes into `output`; tells where it is.

    Raises:
        UserError: viser is not installed, or the port is taken.
    """
    page = viewer.Viewer(output, host, port)
    _say(f'the face comes at {page.address}')
    return page


def keep_page(page):
    """Serves the page until Ctrl-C."""
    _say(f'the face stays at {page.address}; Ctrl-C ends')
    with person_stream.stop_on_interrupt() as stop:
        page.wait(stop)


def _restore(workdir, checkpoint, *, quick=False):
    """Returns the compiled Reconstructor of a run; `quick` as of Reconstructor.restore."""
    with garbage.left_alone():
        reconstructor = reconstruct.Reconstructor.restore(workdir, checkpoint, quick=quick)
        _say('compiling the network: once per machine where the cache can be kept')
        if not quick:  # The first of few photos compiles as well as a look at nothing.
            reconstructor.compile()
    return reconstructor


def _say(line):
    sys.stderr.write(line + '\n')
