"""What became of the frames of a demo, and the files that are written of it."""

import collections
import contextlib
import csv
import os

import numpy as np

from seqface_jax import files
from seqface_jax.errors import writing_to
from seqface_jax.photos import own_files
from seqface_jax.reconstruction import (
    background_tasks,
    export,
    face_picture,
    frame_fit,
    frame_tables,
    view_coverage,
)

_SHOWN_FRAMES = 8  # At least so many, evenly spread, are kept for the picture; at most twice.
_COLUMNS = ('photo', 'result', 'detail', 'sharpness', 'x0', 'y0', 'x1', 'y1')
_COLUMNS += ('confidence', 'jitter_mm_per_frame2', 'yaw_deg', 'pitch_deg', 'roll_deg')
_FIT_COLUMNS = tuple(name for name in frame_tables.FIT_COLUMNS if name not in _COLUMNS)
_PICTURE = 'face.png'
_DRAFT = own_files.TABLE + '.tmp'  # The table takes its place with the face that it tells of.
_LONGEST_LIST = 20  # Frames that are named one by one; frames.csv has all.
# Growth of the frames used between two keyframes; a face improves most at first.
_KEYFRAME_GROWTH = 1.1
_KEYFRAME_S = 0.25
# Frames painted of each doubling of a long video: all of the first thousand, of the next thousand
# every second, of the next two thousand every fourth. They say the same, and poses take time.
_PAINTED = 500
_PAINTED_FITTED = 120  # The same of photos where the pose is known and only colours are gathered.


class Record:
    """What became of the frames so far, in memory of constant size; the rest is on disk."""

    def __init__(
        self, output, *, painter=None, blendshape_names=(), keep_keyframes=False, ordered=True
    ):
        """Begins without a frame.

        Args:
            output: folder to write into.
            painter: texture_painter.TexturePainter; None: colours are not gathered.
            blendshape_names: of the weights that the faces' frames hold; none if they hold none.
            keep_keyframes: whether to keep how the face improved.
            ordered: whether the frames follow one another in time.
        """
        self.num_frames, self.num_readable, self.problem = 0, 0, None
        self.face, self._state, self.ordered = None, None, ordered
        self._output = output
        self._reasons, self._first_skipped = collections.Counter(), []
        self._num_used = 0
        self._shown, self._show_every = [], 1
        self._last = collections.deque(maxlen=3)  # Faces, for the jitter.
        self._jitters = collections.deque(maxlen=30)
        self._painter, self._names = painter, tuple(blendshape_names)
        self._coverage = view_coverage.ViewCoverage()
        self._columns = _COLUMNS
        if self._names:
            self._columns += _FIT_COLUMNS + frame_tables.weight_columns(self._names)
        self._num_posed, self._num_sought, self._others = 0, 0, collections.Counter()
        self._is_settled = False
        self._keyframes = [] if keep_keyframes else None
        self._next_keyframe = 1
        self._expressions, self._express_every = [], 1

    def __enter__(self):
        self._files = contextlib.ExitStack()
        with writing_to(self._output):
            os.makedirs(self._output, exist_ok=True)
            table = open(self._path(_DRAFT), 'w', newline='', encoding='utf-8')
        self._table = self._files.enter_context(table)
        self._rows = csv.writer(self._table, lineterminator='\n')
        self._rows.writerow(self._columns)
        return self

    def __exit__(self, *error):
        self.set_aside()
        self._place_table()

    def _place_table(self):
        """Puts the table, which is whole now, in the place of an earlier one's; once."""
        if not self._table.closed:
            self._files.close()
            os.replace(self._path(_DRAFT), self._path(own_files.TABLE))

    def set_aside(self):
        """Moves the face of an earlier run away, unless this run has one to take its place.

        Returns:
            str, what to add to the sentence that tells why there is none.
        """
        old = own_files.products(self._output)
        if self._is_settled or not old:
            return ''
        self._is_settled = True
        folder = self._path(own_files.PREVIOUS)
        for path in own_files.products(folder):
            os.remove(path)
        for path in old:
            moved = os.path.join(folder, os.path.relpath(path, self._output))
            os.makedirs(os.path.dirname(moved), exist_ok=True)
            os.replace(path, moved)
        return f'; the face of an earlier run is in {folder} now'

    def add(self, moment):
        """Takes note of a Moment."""
        if not moment.frame.is_photo:
            self._others[moment.frame.reason] += 1
            row = (moment.frame.name, 'skipped', moment.frame.problem)
            self._rows.writerow(row + ('',) * (len(self._columns) - len(row)))
            return
        self.num_frames += 1
        self.num_readable += moment.frame.photo is not None
        self.problem = self.problem or moment.frame.problem
        if moment.face is None:
            self._skip(moment)
            row = (moment.frame.name, 'skipped', moment.detail, *self._found(moment))
            if moment.observation is not None and moment.observation.outcome is not None:
                row += (f'{moment.observation.outcome.confidence:.3f}',)
            row += ('',) * (len(_COLUMNS) - len(row))
        else:
            pose, why_none = self._use(moment)
            jitter = f'{self._jitters[-1]:.4f}' if self._jitters else ''
            angles = ('',) * 3 if pose is None else [f'{value:.1f}' for value in pose]
            detail = moment.detail + (f'; {why_none}' if pose is None else '')
            row = (moment.frame.name, 'used', detail, *self._found(moment))
            row += (f'{_confidence(moment.face):.3f}', jitter, *angles)
        fit = self._fit_values(moment) if self._names else ()
        self._rows.writerow((*row, *fit))
        self._table.flush()

    def _found(self, moment):
        """Returns sharpness and box as str, in pixels of the file, whatever was looked at."""
        observation = moment.observation
        if observation is None or observation.detection is None:
            return ('',) * 5
        box = np.asarray(observation.detection.box) / moment.frame.scale
        return f'{observation.sharpness:.3f}', *(f'{value:.1f}' for value in box)

    def _skip(self, moment):
        problem = moment.frame.reason if moment.observation is None else None
        self._reasons[problem or moment.observation.rejection.value] += 1
        if len(self._first_skipped) < _LONGEST_LIST:
            self._first_skipped.append(f'{moment.frame.name}: skipped: {moment.detail}')

    def _use(self, moment):
        """Returns the head's yaw, pitch, roll in degrees; or None and a few words why."""
        self.face, self._state = moment.face, moment.state
        self._last.append(moment.face.vertices)
        if len(self._last) == 3 and self.ordered:
            self._jitters.append(float(jitter(np.stack(self._last))[0]))
        if self._num_used % self._show_every == 0:
            self._shown.append(moment.observation.frame)
        if len(self._shown) > 2 * _SHOWN_FRAMES:
            self._shown, self._show_every = self._shown[::2], 2 * self._show_every
        self._num_used += 1
        if self._keyframes is not None and self._num_used == self._next_keyframe:
            self._keyframes.append(moment.face.vertices)
            grown = int(np.ceil(_KEYFRAME_GROWTH * self._num_used))
            self._next_keyframe = max(self._num_used + 1, grown)
        if self._keyframes is not None and moment.face.frame_vertices is not None:
            self._keep_expression(moment.face)
        return self._paint(moment)

    def _fit_values(self, moment):
        """Returns the values of _FIT_COLUMNS and the weights as str; empty ones without a face."""
        face = moment.face
        frame = None if face is None else frame_fit.rescaled(face.frame, 1 / moment.frame.scale)
        band = None if face is None else face.band_mm
        values = dict(zip(frame_tables.FIT_COLUMNS, frame_tables.fit_row(frame, band), strict=True))
        weights = frame_tables.weight_row(frame, self._names)
        return [*(values[name] for name in _FIT_COLUMNS), *weights]

    def _keep_expression(self, face):
        """Keeps how the face of every so many-th frame differs from the neutral one."""
        if (self._num_used - 1) % self._express_every:
            return
        self._expressions.append(face.frame_vertices - face.vertices)
        if len(self._expressions) > export.MAX_KEYFRAMES:
            self._expressions, self._express_every = self._expressions[::2], 2 * self._express_every

    def _paint(self, moment):
        """Paints the face, of a long video fewer and fewer frames; returns what `_use` does."""
        fit = moment.face.frame
        angles = None if fit is None else frame_fit.angles_deg(fit)
        if self._painter is None:
            return angles, 'no pose: the points of this network have no order'
        box = moment.observation.detection.box
        if fit is not None and self.ordered:
            size_px = np.sqrt(np.prod(np.subtract(box[2:], box[:2])))
            if not self._coverage.adds(angles, moment.observation.sharpness * size_px):
                return angles, ''
        else:
            most = _PAINTED if fit is None else _PAINTED_FITTED
            every = 2 ** max(0, int(np.log2(self._num_used / most)))
            if self._num_used % every:
                return angles, f'no pose: of a video this long it is sought in one frame of {every}'
        pose = self._painter.add(moment.frame.photo, box, moment.face)
        self._num_sought += 1
        self._num_posed += pose is not None
        if pose is not None and fit is None:
            angles = np.degrees(pose.angles_rad)
        return angles, 'no pose: none fits well'

    def lines(self, stopped):
        """Returns what to tell a person, a list of str."""
        lines = ['stopped; saving what there is'] if stopped else []
        lines += self._first_skipped
        skipped = [f'{count} {reason}' for reason, count in self._reasons.most_common()]
        lines.append(
            f'used {self._num_used} of {self.num_frames} frames'
            + (f'; skipped: {", ".join(skipped)}' if skipped else '')
        )
        if self._others:
            counts = [f'{count} {reason}' for reason, count in self._others.most_common()]
            lines.append(f'left out, as {own_files.TABLE} says: {", ".join(counts)}')
        if self._jitters:
            lines.append(
                f'the face still moves by {np.mean(self._jitters):.4f} mm/frame^2 (mean over the '
                f'last {len(self._jitters)} frames)'
            )
        if self._num_posed < self._num_sought:
            lines.append(
                f'the pose of the head fits well in {self._num_posed} of {self._num_sought} '
                'frames: the others give no colours'
            )
        return lines

    @property
    def num_used(self):
        """Frames that were used so far."""
        return self._num_used

    def reasons(self):
        """Returns the reasons why frames were skipped, most frequent first, one str."""
        return ', '.join(reason for reason, _ in self._reasons.most_common())

    def write(self, reconstructor):
        """Writes the face and the rest; returns a list of str, a line per file.

        No frame can be added any more.
        """
        self._is_settled = True
        reconstructor.save_state(self._path(own_files.STATE), self._state)
        self.face.save(self._path('face.ply'))  # First of all: what follows adds to it.
        lines = self._colour()
        paths = [self._path(name) for name in ('face.ply', 'face.obj', 'face.glb')]
        with background_tasks.BackgroundTasks() as tasks:
            tasks.add(self._write_picture)  # It takes as long as all the others.
            for path in paths:
                self.face.save(path)
        paths += [self._path(name) for name in (_PICTURE, own_files.STATE, own_files.TABLE)]
        if self._keyframes is not None:
            paths.append(self._path('face_animated.glb'))
            self.face.save(paths[-1], self._animation())
        if self._expressions:
            paths.append(self._path('face_expressions.glb'))
            seconds = _KEYFRAME_S * np.arange(len(self._expressions))
            # Moves the final face: what was wrong with earlier ones is no expression.
            moving = self.face.vertices + np.stack(self._expressions)
            self.face.save(paths[-1], export.Animation(moving, seconds))
        self._place_table()
        self._remove_old(paths)
        return lines + [f'wrote {path}' for path in paths]

    def _write_picture(self):
        drawn = face_picture.draw(self._shown, self.face, num_frames=self._num_used)
        files.write_atomically(self._path(_PICTURE), lambda file: file.write(export.png(drawn)))

    def _remove_old(self, paths):
        """Removes what an earlier run made of its face and this run has not written again."""
        written = {os.path.basename(path) for path in paths}
        if self.face.texture is not None:
            written |= {'face.mtl', 'face_texture.png'}
        for path in own_files.products(self._output):
            if os.path.basename(path) not in written:
                os.remove(path)
        with contextlib.suppress(OSError):  # Where it is empty now.
            os.rmdir(self._path(own_files.OVERLAYS))

    def _colour(self):
        """Gives the face its texture; returns what to tell of it, a list of str."""
        if self._painter is None or not self._painter.paints:
            return []
        if not self._painter.num_painted:
            return ['no texture: the pose of the head fits well in no frame']
        self.face = self._painter.paint(self.face)
        light = self.face.texture_light
        return [f'the texture is of {self._painter.num_painted} frames; their light: {light}']

    def _animation(self):
        keyframes = self._keyframes
        if not np.array_equal(keyframes[-1], self.face.vertices):
            keyframes = [*keyframes, self.face.vertices]
        seconds = _KEYFRAME_S * np.arange(len(keyframes))
        return export.Animation(np.stack(keyframes), seconds)

    def _path(self, name):
        return os.path.join(self._output, name)


def _confidence(face):
    """Returns how far a used photo can be believed, where its network says; else the face."""
    return face.confidence.mean() if face.frame is None else face.frame.confidence


def jitter(vertices):
    """Measures how much faces shake.

    Args:
        vertices: [T, V, 3] mm, T at least 3.

    Returns:
        [T - 2] mm / frame^2, the length of the second difference, averaged over vertices: 0 for a
        face that stands still or moves steadily.
    """
    second = vertices[2:] - 2 * vertices[1:-1] + vertices[:-2]
    return np.linalg.norm(second, axis=-1).mean(axis=-1)
