"""The files that show and hold what came of a run: overlays, tables, the rigged face, the page.

Written into one folder: overlay.jpg (all overlays on one sheet), overlay/ (an overlay per photo) or
overlay.mp4 (of a video), landmarks.json, expression.csv, face_rigged.glb and face.html.
"""

import dataclasses
import os
import shutil
from typing import Any

import numpy as np

from seqface_jax.errors import writing_to
from seqface_jax.files import write_text
from seqface_jax.photos import own_files
from seqface_jax.reconstruction import (
    contact_sheet,
    export,
    expression_smoothing,
    face_page,
    frame_fit,
    frame_tables,
    overlay,
    overlay_video,
    rigged_glb,
    stated_band,
)

PHOTOS_PER_SECOND = 2.0  # Rate of the animation where the frames are photos without a time.
_PHOTO_PX = 1600  # Longest side of a picture in overlay/.
_MAX_KEPT = 2 * contact_sheet.MAX_TILES  # Pictures in memory; beyond it every second goes.


@dataclasses.dataclass(frozen=True)
class FinalFace:
    """The neutral face after all frames, on the template's topology.

    Attributes:
        vertices: [V, 3] mm, canonical frame.
        triangles: [F, 3], counter-clockwise from outside.
        confidence: [V] in (0, 1], 1 / (1 + standard deviation in mm).
        shifts: [E, V, 3] mm, what a weight of 1 of each blendshape adds to this face.
        uv: [V, 2] in [0, 1], v up; or None.
        texture: [H, W, 3] uint8 RGB, or None; texture_light: as of face.Face.
        topology: str, the name of the vertices' order.
        mouth: mouth.Mouth, whose bag is the last of the vertices, but not yet of the frames'; None:
            there is no such bag.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    confidence: np.ndarray
    shifts: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    texture_light: str | None = None
    topology: str | None = None
    mouth: Any = None

    @property
    def inside(self):
        """The slice of the vertices that are the inside of the mouth; None: there are none."""
        if self.mouth is None:
            return None
        return slice(len(self.vertices) - len(self.mouth.depths), len(self.vertices))


class ResultFiles:
    """Collects the frames of one run, in memory that hardly grows, and writes its files.

    A context: overlay.mp4 is whole when it is left. Until `write`, nothing of an earlier run is
    touched.
    """

    def __init__(self, output, mesh_overlay, blendshape_names, *, frames_per_second=None):
        """Begins without a frame.

        Args:
            output: folder, made if missing.
            mesh_overlay: overlay.MeshOverlay of the template, with landmarks.
            blendshape_names: [E] of rigged_glb.ARKIT_NAMES.
            frames_per_second: of a video; None for photos.

        Raises:
            UserError: the folder cannot be made.
        """
        self._output, self._overlay, self._names = output, mesh_overlay, list(blendshape_names)
        self._rate = frames_per_second
        self._frames, self._entries, self._expressions = [], [], []
        self._kept, self._keep_every = [], 1  # Places in `_frames` of those with a picture.
        with writing_to(output):
            os.makedirs(output, exist_ok=True)
            if frames_per_second is None:
                shutil.rmtree(self._draft, ignore_errors=True)  # A killed run left it.
                os.makedirs(self._draft)
        self._video = overlay_video.VideoWriter(
            self._path('overlay.mp4'), frames_per_second or PHOTOS_PER_SECOND
        )

    def __enter__(self):
        self._video.__enter__()
        return self

    def __exit__(self, *error):
        self._video.__exit__(*error)
        shutil.rmtree(self._draft, ignore_errors=True)

    def use(self, name, photo, fit, band_mm=None, neutral=None, *, scale=1.0, seconds=None):
        """Takes note of a frame that was used.

        Args:
            name: str.
            photo: [H, W, 3] uint8 RGB.
            fit: frame_fit.FrameFit of the photo.
            band_mm: stated_band.half_width_mm of the face after this frame.
            neutral: [V, 3] mm, the neutral face as known after this frame.
            scale: pixels of `photo` per pixel of the frame as its file shows it.
            seconds: when the frame was taken, from the first one on; None: by the rate.
        """
        longest = overlay_video.LONGEST_PX if self._rate else _PHOTO_PX
        drawn = self._overlay.draw(*overlay.whole(photo, fit, longest))
        if self._rate:
            self._video.add(drawn)
        else:
            stem = os.path.splitext(os.path.basename(name))[0]
            path = os.path.join(self._draft, f'{len(self._frames) + 1:04d}_{stem}.jpg')
            contact_sheet.save_picture(path, drawn)
        told = frame_fit.rescaled(fit, 1 / scale)  # In pixels of the file, whatever was looked at.
        if self._overlay.landmark_indices is not None:
            indices = self._overlay.landmark_indices
            self._entries.append(frame_tables.landmark_entry(name, told, indices))
        seconds = self._seconds() if seconds is None else seconds
        self._expressions.append((seconds, name, np.asarray(fit.expression)))
        frame = face_page.PageFrame(os.path.basename(name), told, band_mm=band_mm, neutral=neutral)
        self._add(frame, lambda: self._close_up(photo, fit))

    def skip(self, name, photo, reason):
        """Takes note of a frame that was not used, photo [H, W, 3] uint8 RGB or None, and why."""
        if self._rate and photo is not None:
            self._video.add(photo)
        frame = face_page.PageFrame(os.path.basename(name), reason=reason)
        self._add(frame, lambda: contact_sheet.skipped_tile(photo))

    @property
    def notes(self):
        """What to tell a person of the files besides their names, a list of str."""
        return [self._video.note] if self._video.note else []

    @property
    def movement(self):
        """When the used frames were taken [T], s from the first, and their weights [T, E].

        Those of a video are smoothed.
        """
        seconds = np.array([seconds for seconds, _, _ in self._expressions])
        weights = [weights for _, _, weights in self._expressions]
        weights = np.reshape(weights, (-1, len(self._names)))
        if self._rate:
            weights = expression_smoothing.offline(seconds, weights)
        return seconds - seconds[:1].sum(), weights

    def _seconds(self):
        if self._rate:
            return len(self._frames) / self._rate
        return len(self._expressions) / PHOTOS_PER_SECOND

    def _close_up(self, photo, fit):
        return self._overlay.draw(*overlay.close_up(photo, fit, face_page.PICTURE_PX))

    def _add(self, frame, draw):
        place = len(self._frames)
        if place % self._keep_every == 0:
            self._frames.append(dataclasses.replace(frame, picture=draw()))
            self._kept.append(place)
        else:
            self._frames.append(_light(frame))
        if len(self._kept) > _MAX_KEPT:
            for dropped in self._kept[1::2]:
                self._frames[dropped] = _light(self._frames[dropped])
            self._kept, self._keep_every = self._kept[::2], 2 * self._keep_every

    def write(self, title, face, more_files=()):
        """Writes all but the video, which is whole when the context is left.

        Args:
            title: str, of the page.
            face: FinalFace.
            more_files: paths of other files for the page's download buttons.

        Returns:
            list of str, the paths of what was written (of the video: will be), the page first.
        """
        if not self._rate:
            self._place_overlays()
        sheet = self._path('overlay.jpg')
        contact_sheet.save_picture(sheet, self._sheet(title))
        files = []
        if self._entries:
            files.append(self._path('landmarks.json'))
            indices = self._overlay.landmark_indices
            values = frame_tables.landmarks(face.vertices, indices, self._entries)
            write_text(files[-1], frame_tables.json_text(values))
        files.append(self._path('expression.csv'))
        text = frame_tables.expression_csv(self._names, self._expressions)
        write_text(files[-1], text)
        files.append(self._path('face_rigged.glb'))
        self._write_rig(files[-1], face)
        page = self._path('face.html')
        names = ('vertices', 'triangles', 'uv', 'texture', 'texture_light')
        shown = {name: getattr(face, name) for name in names}
        shown['band_mm'] = stated_band.half_widths_mm(face.confidence)
        shown['inside_from'] = None
        frames = self._frames
        if face.mouth is not None:
            shown['inside_from'] = face.inside.start
            frames = [_closed(frame, face.mouth) for frame in frames]
        face_page.write(page, title, shown, frames, self._names, [*more_files, *files])
        place = self._path('overlay.mp4' if self._rate else own_files.OVERLAYS)
        return [page, sheet, place, *files]

    def _place_overlays(self):
        """Puts the overlays of this run in the place of an earlier one's."""
        os.makedirs(self._path(own_files.OVERLAYS), exist_ok=True)
        for path in own_files.overlays(self._output):
            os.remove(path)
        for name in os.listdir(self._draft):
            os.replace(os.path.join(self._draft, name), self._path(f'{own_files.OVERLAYS}/{name}'))

    @property
    def _draft(self):
        return self._path(own_files.OVERLAYS_DRAFT)

    def _write_rig(self, path, face):
        mesh = export.make_mesh(
            face.vertices,
            face.triangles,
            face.confidence,
            uv=face.uv,
            texture=face.texture,
            topology=face.topology,
            texture_light=face.texture_light,
            inside=face.inside,
        )
        rigged_glb.save(path, mesh, self._names, face.shifts, *self.movement)

    def _sheet(self, title):
        tiles = []
        for place in self._kept:
            frame = self._frames[place]
            used = frame.fit is not None
            lines = (
                contact_sheet.caption(frame.name, frame.fit) if used else [frame.name, frame.reason]
            )
            tiles.append((frame.picture, lines, used))
        return contact_sheet.sheet(title, tiles, len(self._frames))

    def _path(self, name):
        return os.path.join(self._output, name)


def _closed(frame, mouth):
    """Returns a PageFrame whose faces have the inside of the mouth of a mouth.Mouth."""
    fit, neutral = frame.fit, frame.neutral
    if fit is not None and fit.vertices is not None:
        fit = dataclasses.replace(fit, vertices=mouth.joined(fit.vertices))
    neutral = None if neutral is None else mouth.joined(neutral)
    return dataclasses.replace(frame, fit=fit, neutral=neutral)


def _light(frame):
    """Returns a PageFrame without what is large."""
    fit = frame.fit and dataclasses.replace(frame.fit, vertices=None)
    return dataclasses.replace(frame, fit=fit, picture=None, neutral=None)
