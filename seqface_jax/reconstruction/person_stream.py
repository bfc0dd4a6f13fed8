"""The frames of one person, streamed through a Reconstructor into the person's files."""

import contextlib
import functools
import os
import signal
import sys
import threading
from typing import Any, NamedTuple

from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.photos import crops, own_files, video
from seqface_jax.reconstruction import (
    background_tasks,
    continued_state,
    demo_record,
    full_head,
    mouth,
    overlay,
    viewer,
)
from seqface_jax.reconstruction.photo_observation import State

# What face.html offers for download, where it is written.
_MESHES = ('face.glb', 'face.ply', 'face.obj', 'face.mtl', 'face_texture.png')
_ANIMATED = ('face_animated.glb', 'face_expressions.glb')


class Moment(NamedTuple):
    """One frame of a stream and what came of it.

    Attributes:
        frame: video.Frame.
        observation: photo_observation.Observation; None if the frame could not be read.
        state: State after it.
        face: Face after it; None if it was not used.
    """

    frame: video.Frame
    observation: Any
    state: State
    face: Any

    @property
    def detail(self):
        """A few words on how the face was found, or why the frame was not used."""
        return self.frame.problem or self.observation.reason


def stream(reconstructor, frames, state, *, ordered=True):
    """Yields a Moment per frame of `frames`, an iterable of video.Frame, on from `state`.

    `ordered` says that the frames follow one another in time: photos do not, and where the face
    was on one says nothing about the next.
    """
    for frame in frames:
        observation, face = None, None
        if frame.photo is not None:
            state = state if ordered else state._replace(detection=None)
            observation = reconstructor.examine(state, frame.photo, video=ordered)
            state, face = reconstructor.update(state, frame.photo, observation)
        yield Moment(frame, observation, state, face)


class DemoOptions(NamedTuple):
    """What is made of a person's frames.

    Attributes:
        max_frames: stop after so many; 0: at the end.
        texture: whether to gather the face's colours.
        delight: whether the photos' light is divided out of them.
        animate: whether to write face_animated.glb and face_expressions.glb.
        head: whether to write full_head.FILES, the face on a whole head that is guessed; head.glb
            moves as the frames' expressions did where `animate` is asked for too.
    """

    max_frames: int = 0
    texture: bool = True
    delight: bool = False
    animate: bool = False
    head: bool = False


class PersonOutput:
    """One person's files, collected while frames come; a context that closes them.

    Colours are gathered and overlays drawn on a thread of their own, frame by frame in order: the
    face is found on the next frame meanwhile.
    """

    def __init__(self, reconstructor, output, opened, options):
        """Begins without a frame.

        Args:
            reconstructor: reconstruct.Reconstructor, or the flagship's.
            output: folder, made if missing.
            opened: video.FrameSource that the frames are of.
            options: DemoOptions.

        Raises:
            UserError: a head is asked for, of a run whose faces have another topology.
        """
        if options.head and not reconstructor.blendshape_names:
            raise UserError('--head is for faces of the flagship: leave it out, or --workdir')
        self._reconstructor, self.output, self._options = reconstructor, output, options
        self.record = demo_record.Record(
            output,
            painter=reconstructor.painter(paints=options.texture, delight=options.delight),
            blendshape_names=reconstructor.blendshape_names,
            ordered=opened.kind != 'photos',
            keep_keyframes=options.animate,
        )
        self._results = reconstructor.result_files(output, opened.kind, opened.rate)
        self._tasks = background_tasks.BackgroundTasks()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.record)
            if self._results is not None:
                stack.enter_context(self._results)
            stack.enter_context(self._tasks)  # Left first: the files stay open for it.
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def add(self, moment):
        """Takes note of a Moment, soon.

        Raises:
            UserError: a file could not be written, of this Moment or of one before.
        """
        self._tasks.add(functools.partial(self._add, moment))

    def _add(self, moment):
        self.record.add(moment)
        if self._results is not None:
            _show(self._results, moment)

    def finish(self):
        """Waits until `record` and the files know all Moments; may raise what `add` does."""
        self._tasks.finish()

    def write(self, source, *, stopped=False):
        """Writes what there is of the person; returns a list of str, what was done.

        Args:
            source: str, what the frames are of, for the page's title.
            stopped: whether a person ended the stream.
        """
        self.finish()
        record = self.record
        lines = record.lines(stopped) + record.write(self._reconstructor)
        heads = self._write_head() if self._options.head else []
        if self._results is not None:
            title = f'{record.num_used} of {record.num_frames} frames of '
            title += files.printable(source)
            names = [*_MESHES, *(_ANIMATED if self._options.animate else ()), own_files.TABLE]
            paths = [os.path.join(self.output, name) for name in names]
            more = [path for path in paths + heads[:1] if os.path.exists(path)]
            face = self._reconstructor.final_face(record.face)
            paths = self._results.write(title, face, more)
            lines += [f'wrote {path}' for path in paths] + self._results.notes
        return lines + [f'wrote {path}' for path in heads]

    def _write_head(self):
        face, names = mouth.closed(self.record.face), self._reconstructor.blendshape_names
        shifts = self._reconstructor.final_face(self.record.face).shifts
        movement = self._results.movement if self._options.animate else ()
        return full_head.save(self.output, face, names, shifts, *movement)


def num_frames(opened, max_frames):
    """Returns how many frames will come of a video.FrameSource; None if nobody knows."""
    total = min(max_frames or sys.maxsize, opened.count or sys.maxsize)
    return None if total == sys.maxsize else total


def one_person(reconstructor, person, opened, state, source, max_frames, stop, bar, page=None):
    """Streams a source of one person into a PersonOutput, and writes it.

    Args:
        reconstructor, person, opened: Reconstructor, PersonOutput and video.FrameSource.
        state: State to go on from.
        source: str, what a person called the source.
        max_frames: as of DemoOptions.
        stop: threading.Event that ends the stream.
        bar: tqdm.tqdm that counts frames.
        page: viewer.Viewer, or None.

    Returns:
        list of str, what was done.

    Raises:
        UserError: no face in any frame.
    """
    with person:
        record, count = person.record, 0
        continued = continued_state.ContinuedState(reconstructor, state)
        for moment in stream(reconstructor, opened.frames, state, ordered=record.ordered):
            person.add(moment)
            count += moment.frame.is_photo
            if moment.face is not None:
                continued.add(moment.observation)
            if page is not None and moment.face is not None:
                page.add(*_close_up(moment), reconstructor.mesh_overlay)
            bar.update(moment.frame.is_photo)
            if stop.is_set() or 0 < max_frames <= count:
                break
        person.finish()
        if record.face is None:
            raise UserError(_no_face(record, source, stop.is_set()) + record.set_aside())
        if page is not None:
            page.refresh()
        lines = continued.keep(person.output)
        shown = f'{source}, perhaps of another person than the state' if lines else source
        lines += person.write(shown, stopped=stop.is_set())
        if page is not None and record.face.texture is not None:
            page.set_texture(record.face.uv, record.face.texture)
        return lines


@contextlib.contextmanager
def stop_on_interrupt():
    """Turns a first Ctrl-C (or SIGTERM) into an event; a second one ends the program as usual.

    Yields:
        threading.Event.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Signals go to the main thread only.
        return

    def handle(number, stack):
        del stack
        stop.set()
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(results, moment):
    """Hands a Moment to result_files.ResultFiles."""
    frame, face = moment.frame, moment.face
    if not frame.is_photo:
        return
    if face is None:
        results.skip(frame.name, frame.photo, moment.detail)
    else:
        results.use(
            frame.name,
            frame.photo,
            face.frame,
            face.band_mm,
            face.vertices,
            scale=frame.scale,
            seconds=frame.seconds,
        )


def _close_up(moment):
    """Returns the face on its photo, square, finer than the network sees it; the Face; its fit."""
    photo, face = moment.frame.photo, moment.face
    if face.frame is None:
        box = crops.crop_box(moment.observation.detection.box)
        return crops.cut_out(photo, box), face, None
    picture, fit = overlay.close_up(photo, face.frame, viewer.PICTURE_PX)
    return picture, face, fit


def _no_face(record, source, stopped):
    if stopped:
        return f'stopped before the first face was found in {source}: nothing to save'
    if not record.num_readable:
        return f'none of the {record.num_frames} photos of {source} can be read: {record.problem}'
    return (
        f'no face in any of the {record.num_frames} frames of {source} ({record.reasons()}): take '
        'sharp photos that show one face, upright and from the front'
    )
