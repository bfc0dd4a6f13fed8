"""Photos, a video or a camera of one person to a face on disk."""

import collections
import contextlib
import csv
import os
import signal
import sys
import threading
from typing import Any, NamedTuple

import numpy as np
import tqdm

from seqface_jax import (
    checkpoints,
    face_detection,
    figures,
    reconstruct,
    smoothing,
    video,
    viewer,
)
from seqface_jax.errors import UserError

SMOOTHINGS = ('none', 'causal', 'offline')
_SHOWN_FRAMES = 8  # At least so many, evenly spread, are kept for the picture; at most twice.
_COLUMNS = ('photo', 'result', 'detail', 'sharpness', 'x0', 'y0', 'x1', 'y1')
_COLUMNS += ('confidence', 'jitter_mm_per_frame2')
_BLOCK = 64  # Vertices that are smoothed together: bounds the memory.
_LONGEST_LIST = 20  # Frames that are named one by one; frames.csv has all.


class Moment(NamedTuple):
    """One frame of a stream and what came of it.

    Attributes:
        frame: video.Frame.
        observation: reconstruct.Observation; None if the frame could not be read.
        state: reconstruct.State after it.
        face: reconstruct.Face after it; None if it was not used.
    """

    frame: video.Frame
    observation: Any
    state: reconstruct.State
    face: Any

    @property
    def detail(self):
        """A few words on how the face was found, or why the frame was not used."""
        return self.frame.problem or self.observation.reason


def stream(reconstructor, frames, state):
    """Yields a Moment per frame of `frames`, an iterable of video.Frame, on from `state`."""
    for frame in frames:
        observation, face = None, None
        if frame.photo is not None:
            observation = reconstructor.examine(state, frame.photo)
            state, face = reconstructor.update(state, frame.photo, observation)
        yield Moment(frame, observation, state, face)


def run(
    workdir,
    source,
    output,
    checkpoint='best_validation',
    *,
    state_path=None,
    max_frames=0,
    faces=False,
    smooth='none',
    page=None,
):
    """Reconstructs the face of the person on the frames.

    Writes into `output`: face.ply, face.png (frames and shaded face), state.npz (to go on from),
    frames.csv (which frame was used, or why not) and, if asked, faces.npy, [T, V, 3] float32 mm,
    the face after each used frame. A first Ctrl-C ends the stream and writes all of it.

    Args:
        workdir: of the run; None for the one that comes with the package.
        source: as of video.open_source.
        output: folder, made if missing.
        checkpoint: one of checkpoints.WHICH.
        state_path: a state.npz to go on from, or None.
        max_frames: stop after so many; 0: at the end.
        faces: whether to write faces.npy.
        smooth: one of SMOOTHINGS, of faces.npy.
        page: viewer.Viewer that shows the face as it comes, or None.

    Returns:
        list of str, what was done.

    Raises:
        UserError: no such run, file or camera, or no face in any frame.
    """
    _check_choice(checkpoint, checkpoints.WHICH, 'checkpoint')
    _check_choice(smooth, SMOOTHINGS, 'smoothing')
    opened = video.open_source(source)
    with contextlib.closing(opened.frames), stop_on_interrupt() as stop:
        reconstructor = reconstruct.Reconstructor.restore(workdir, checkpoint)
        state = reconstructor.initial_state()
        if state_path is not None:  # The last face's place is of another source.
            state = reconstructor.load_state(state_path)._replace(detection=None)
        _say('compiling the network: once per machine where the cache can be kept')
        reconstructor.compile()
        with _Record(output, keep_faces=faces, causal=smooth == 'causal') as record:
            total = min(max_frames or sys.maxsize, opened.count or sys.maxsize)
            bar = tqdm.tqdm(total=None if total == sys.maxsize else total, unit='frame')
            with bar:
                for moment in stream(reconstructor, opened.frames, state):
                    record.add(moment)
                    if page is not None and moment.face is not None:
                        page.add(_close_up(moment), moment.face)
                    bar.update()
                    if stop.is_set() or record.num_frames == max_frames:
                        break
            if record.face is None:
                raise UserError(_no_face(record, source, stop.is_set()))
            if page is not None:
                page.refresh()
            lines = record.lines(stop.is_set())
            return lines + record.write(reconstructor, smooth)


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
    with stop_on_interrupt() as stop:
        page.wait(stop)


def _close_up(moment):
    """Returns the face on its photo, square, finer than the network sees it."""
    box = face_detection.crop_box(moment.observation.detection.box)
    return face_detection.cut_out(moment.frame.photo, box)


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


class _Record:
    """What became of the frames so far, in memory of constant size; the rest is on disk."""

    def __init__(self, output, *, keep_faces, causal):
        self.num_frames, self.face, self._state = 0, None, None
        self._output, self._keep_faces, self._causal = output, keep_faces, causal
        self._reasons, self._first_skipped = collections.Counter(), []
        self._num_used, self._motion = 0, None
        self._shown, self._show_every = [], 1
        self._last = collections.deque(maxlen=3)  # Faces, for the jitter.
        self._jitters = collections.deque(maxlen=30)

    def __enter__(self):
        self._files = contextlib.ExitStack()
        try:
            os.makedirs(self._output, exist_ok=True)
            table = open(self._path('frames.csv'), 'w', newline='', encoding='utf-8')
            self._table = self._files.enter_context(table)
            if self._keep_faces:
                self._raw = self._files.enter_context(open(self._path('faces.tmp'), 'wb'))
                self._files.callback(os.remove, self._path('faces.tmp'))
        except OSError as error:
            self._files.close()
            raise UserError(
                f'cannot write to {self._output} ({error.strerror}): choose another --output'
            ) from error
        self._rows = csv.writer(self._table, lineterminator='\n')
        self._rows.writerow(_COLUMNS)
        return self

    def __exit__(self, *error):
        self._files.close()

    def add(self, moment):
        """Takes note of a Moment."""
        self.num_frames += 1
        result = 'skipped' if moment.face is None else 'used'
        measured = ('',) * 7
        if moment.observation is not None and moment.observation.detection is not None:
            box = (f'{value:.1f}' for value in moment.observation.detection.box)
            measured = (f'{moment.observation.sharpness:.3f}', *box, '', '')
        if moment.face is None:
            problem = 'not readable' if moment.observation is None else None
            self._reasons[problem or moment.observation.rejection.value] += 1
            if len(self._first_skipped) < _LONGEST_LIST:
                self._first_skipped.append(f'{moment.frame.name}: skipped: {moment.detail}')
        else:
            self._use(moment)
            jitter = f'{self._jitters[-1]:.4f}' if len(self._last) == 3 else ''
            measured = (*measured[:5], f'{moment.face.confidence.mean():.3f}', jitter)
        self._rows.writerow((moment.frame.name, result, moment.detail, *measured))
        self._table.flush()

    def _use(self, moment):
        self.face, self._state = moment.face, moment.state
        self._last.append(moment.face.vertices)
        if len(self._last) == 3:
            self._jitters.append(float(smoothing.jitter(np.stack(self._last))[0]))
        if self._num_used % self._show_every == 0:
            self._shown.append(moment.observation.frame)
        if len(self._shown) > 2 * _SHOWN_FRAMES:
            self._shown, self._show_every = self._shown[::2], 2 * self._show_every
        self._num_used += 1
        if self._keep_faces:
            vertices = moment.face.vertices
            if self._causal:
                self._motion = smoothing.causal_step(self._motion, vertices)
                vertices = self._motion.vertices
            self._raw.write(np.ascontiguousarray(vertices, '<f4').tobytes())

    def lines(self, stopped):
        """Returns what to tell a person, a list of str."""
        lines = ['stopped; saving what there is'] if stopped else []
        lines += self._first_skipped
        skipped = [f'{count} {reason}' for reason, count in self._reasons.most_common()]
        lines.append(
            f'used {self._num_used} of {self.num_frames} frames'
            + (f'; skipped: {", ".join(skipped)}' if skipped else '')
        )
        if self._jitters:
            lines.append(
                f'the face still moves by {np.mean(self._jitters):.4f} mm/frame^2 (mean over the '
                f'last {len(self._jitters)} frames)'
            )
        return lines

    def reasons(self):
        """Returns the reasons why frames were skipped, most frequent first, one str."""
        return ', '.join(reason for reason, _ in self._reasons.most_common())

    def write(self, reconstructor, smooth):
        """Writes the face and the rest; returns a list of str, a line per file."""
        mesh, picture, state = map(self._path, ('face.ply', 'face.png', 'state.npz'))
        self.face.save(mesh)
        reconstructor.save_state(state, self._state)
        drawn = figures.demo(
            self._shown, self.face.vertices, self.face.triangles, num_frames=self._num_used
        )
        figures.save(drawn, picture)
        paths = [mesh, picture, state, self._path('frames.csv')]
        if self._keep_faces:
            self._raw.flush()
            paths.append(self._path('faces.npy'))
            shape = (self._num_used, *self.face.vertices.shape)
            write_faces(paths[-1], np.memmap(self._raw.name, '<f4', 'r', shape=shape), smooth)
        return [f'wrote {path}' for path in paths]

    def _path(self, name):
        return os.path.join(self._output, name)


def write_faces(path, faces, smooth):
    """Writes faces [T, V, 3] as .npy, whole or not at all, a few vertices at a time.

    Args:
        path: of the file.
        faces: [T, V, 3] float32 mm, may be a memory map.
        smooth: 'offline' smooths them over time; others copy.
    """
    draft = path + '.tmp'
    written = np.lib.format.open_memmap(draft, 'w+', np.float32, faces.shape)
    for start in range(0, faces.shape[1], _BLOCK):
        block = np.asarray(faces[:, start : start + _BLOCK])
        written[:, start : start + _BLOCK] = (
            smoothing.offline(block) if smooth == 'offline' else block
        )
    written.flush()
    os.replace(draft, path)


def _no_face(record, source, stopped):
    if stopped:
        return f'stopped before the first face was found in {source}: nothing to save'
    return (
        f'no face in any of the {record.num_frames} frames of {source} ({record.reasons()}): take '
        'sharp photos that show one face, upright and from the front'
    )


def _check_choice(name, choices, what):
    if name not in choices:
        raise UserError(f"there is no {what} '{name}': choose of {', '.join(choices)}")


def _say(line):
    sys.stderr.write(line + '\n')
