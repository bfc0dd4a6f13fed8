"""A page that shows the face while frames come in; needs the optional `viser` (MIT).

The face in mm with its confidence as colour or its texture, the frames with the fitted mesh over
them, how far the face still moves, a slider over frames and a save button. The server listens on
this machine only unless told otherwise.
"""

import bisect
import contextlib
import dataclasses
import io
import logging
import os
import threading
import time
from typing import Any, NamedTuple

import cv2
import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.reconstruction import frame_fit, mouth, stated_band

HOST, PORT = '127.0.0.1', 8080
MAX_MOMENTS = 200  # Kept for the slider; more are thinned, memory does not grow.
# The page is drawn anew at most so often while frames come in, and rests for so many times as long
# as the drawing took: frames come slower by at most a fifth.
_REST_S, _REST_PER_DRAWING = 0.2, 5.0
PICTURE_PX = 320
OVERLAY_LEGEND = (
    'Over the frame: the fitted mesh in cyan; the 68 landmarks in yellow, dark where hidden; the '
    "head's axes: red to the person's left, green up, blue out of the face."
)
# A texture holds the light of the photos already: more than half of it shines by itself.
_SHADED, _GLOW = (0.4, 0.4, 0.4, 1.0), (0.65, 0.65, 0.65)
_CAMERA_AT = (150.0, 40.0, 640.0)  # mm; from the subject's left, in front.
_FIELD_OF_VIEW_RAD = 0.42
_MIDDLE = (25.0, 0.0, 60.0)  # So that the panel on the right hides nothing.


class _Moment(NamedTuple):
    """One frame of the stream.

    Attributes:
        number: from 0.
        picture: [S, S, 3] uint8 RGB, the face on its photo; fit: FrameFit of it, or None.
        face: reconstruct.Face after it.
    """

    number: int
    picture: np.ndarray
    fit: Any
    face: Any


class Viewer:
    """A server of the page, from construction to `close`; may be used as a context.

    Attributes:
        port: on which it listens.
        address: of the page.
    """

    def __init__(self, output, host=HOST, port=PORT):
        """Starts the server.

        Args:
            output: folder where the save button writes face_<frame>.ply and .glb.
            host, port: where to listen; port 0 takes any free one.

        Raises:
            UserError: viser is not installed, or the port is taken.
        """
        try:
            import viser
        except ImportError as error:
            raise UserError(
                "the page needs the package viser: pip install 'viser>=1.1,<2', or leave --view out"
            ) from error
        port = port or _free_port(host)
        _check_free(host, port)
        # Browsers open connections that they never use; each would be a page of traceback.
        logging.getLogger('websockets').setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()):  # Our own sentences say where it is.
            self._server = viser.ViserServer(host=host, port=port, verbose=False)
        self.port = self._server.get_port()
        self.address = f'http://{host}:{self.port}'
        self._output = output
        self._lock = threading.Lock()  # viser calls back from threads of its own.
        self._moments, self._keep_every, self._count = [], 1, 0
        self._last, self._mesh, self._moves = None, None, []
        self._uv, self._texture = None, None
        self._drawn_at, self._drawing_s, self._overlay = -np.inf, 0.0, None
        self._build()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _build(self):
        server = self._server
        # Its share button would put the page on a server of strangers.
        server.gui.configure_theme(show_logo=False, show_share_button=False)
        server.scene.set_up_direction('+y')
        server.initial_camera.position = _CAMERA_AT
        server.initial_camera.look_at = _MIDDLE
        server.initial_camera.up = (0.0, 1.0, 0.0)
        server.initial_camera.fov = _FIELD_OF_VIEW_RAD
        self._title = server.gui.add_markdown('Waiting for the first face ...')
        self._slider = server.gui.add_slider('frame', min=1, max=2, step=1, initial_value=1)
        self._follow = server.gui.add_checkbox('show the newest', initial_value=True)
        self._colored = server.gui.add_dropdown('colour', ('confidence', 'texture'))
        self._save = server.gui.add_button('save this face')
        self._over = server.gui.add_checkbox('fitted mesh over the frame', initial_value=True)
        blank = np.full((PICTURE_PX, PICTURE_PX, 3), 235, np.uint8)
        self._picture = server.gui.add_image(blank, label='frame')
        self._key = server.gui.add_markdown('')
        self._plot = server.gui.add_image(plot([], None), label='movement')
        self._slider.on_update(self._slide)
        self._follow.on_update(self._change)
        self._colored.on_update(self._change)
        self._over.on_update(self._change)
        self._save.on_click(lambda _: self._write())

    def _slide(self, event):
        if event.client is not None:  # A person's hand: the newest no longer takes over.
            self._follow.value = False
            self._show()

    def _change(self, event):
        if event.client is not None:
            self._show()

    def add(self, frame, face, fit=None, mesh_overlay=None):
        """Takes one more face and shows it, if the last one has been there for long enough.

        Args:
            frame: [H, W, 3] uint8 RGB, square, the face on its photo.
            face: reconstruct.Face.
            fit: frame_fit.FrameFit of `frame`, whose mesh is drawn over it; None: nothing is.
            mesh_overlay: overlay.MeshOverlay that draws it.
        """
        self._overlay = mesh_overlay
        with self._lock:
            vertices = np.asarray(face.vertices)
            if self._last is not None and self._last.shape == vertices.shape:
                moved = np.linalg.norm(vertices - self._last, axis=1).mean()
                self._moves.append((self._count, float(moved)))
            self._last = vertices
            moment = _Moment(self._count, *_small(frame, fit), face)
            if self._count % self._keep_every == 0:
                self._moments.append(moment)
            else:  # The newest is shown until the next comes.
                self._moments[-1] = moment
            self._count += 1
            if len(self._moments) > MAX_MOMENTS:
                self._moments, self._keep_every = self._moments[::2], 2 * self._keep_every
            if len(self._moves) > 2 * MAX_MOMENTS:
                self._moves = self._moves[::2]
        rest = max(_REST_S, _REST_PER_DRAWING * self._drawing_s)
        if time.monotonic() - self._drawn_at >= rest:
            self.refresh()

    def set_texture(self, uv, texture):
        """Paints all faces of as many vertices as `uv`, of the 'colour' texture.

        Args:
            uv: [V, 2], as of export.save.
            texture: [H, W, 3] uint8 RGB.
        """
        with self._lock:
            self._uv, self._texture = uv, texture
        self._colored.value = 'texture'
        self.refresh()

    def refresh(self):
        """Draws the page anew, whenever that was done last."""
        with self._lock:
            count = self._count
        self._slider.max = max(2, count)
        if self._follow.value:
            self._slider.value = max(1, count)
        self._show()

    @property
    def shown(self):
        """The _Moment on the page now; None before the first face."""
        with self._lock:
            if not self._moments:
                return None
            index = len(self._moments) - 1
            if not self._follow.value:  # The slider counts from 1; some frames are not kept.
                numbers = [moment.number for moment in self._moments]
                index = max(0, bisect.bisect_right(numbers, self._slider.value - 1) - 1)
            moment = self._moments[index]
            face = moment.face
            if self._texture is not None and len(face.vertices) == len(self._uv):
                face = dataclasses.replace(face, uv=self._uv, texture=self._texture)
            return moment._replace(face=face)

    def _show(self):
        shown = self.shown
        if shown is None:
            return
        began = time.monotonic()
        number, face = shown.number, shown.face
        draws = self._over.value and shown.fit is not None and self._overlay is not None
        picture = self._overlay.draw(shown.picture, shown.fit) if draws else shown.picture
        with self._lock, self._server.atomic():
            self._title.content = (
                f'**Frame {number + 1} of {self._count}**, confidence '
                f'{face.confidence.mean():.2f}, {len(face.vertices)} points, mm'
            ) + self._legend(face)
            self._picture.image = picture
            self._key.content = OVERLAY_LEGEND if draws else ''
            self._plot.image = plot(self._moves, number)
            self._mesh = self._server.scene.add_mesh_trimesh('/face', self._model(face))
            self._drawn_at = time.monotonic()
            self._drawing_s = self._drawn_at - began

    def _legend(self, face):
        """Returns what the colours mean, Markdown; nothing where the texture is shown."""
        if self._colored.value == 'texture' and face.texture is not None:
            return ''
        return '\n\n' + legend(face.confidence)

    def _model(self, face):
        import trimesh

        face = mouth.closed(face)
        if self._colored.value == 'texture' and face.texture is not None:
            from PIL import Image

            picture = Image.fromarray(face.texture)
            material = trimesh.visual.material.PBRMaterial(
                baseColorTexture=picture,
                baseColorFactor=_SHADED,
                emissiveTexture=picture,
                emissiveFactor=_GLOW,
                metallicFactor=0.0,
                roughnessFactor=1.0,
            )
            visual = trimesh.visual.TextureVisuals(uv=face.uv, material=material)
        else:
            visual = trimesh.visual.ColorVisuals(vertex_colors=confidence_colors(face.confidence))
        return trimesh.Trimesh(face.vertices, face.triangles, visual=visual, process=False)

    def _write(self):
        shown = self.shown
        if shown is None:
            return
        stem = os.path.join(self._output, f'face_{shown.number + 1:05d}')
        for ending in ('.ply', '.glb'):
            shown.face.save(stem + ending)
        self._save.label = f'saved {os.path.basename(stem)}.ply and .glb'

    def wait(self, stop):
        """Serves the page until the event `stop` is set."""
        while not stop.is_set():
            time.sleep(0.2)

    def close(self):
        """Ends the server."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()


def confidence_colors(confidence):
    """Returns the colour of each confidence [V], [V, 4] uint8: from dark blue (least) to yellow."""
    import matplotlib  # Here: only who looks at the page waits for it.

    low, high = float(np.min(confidence)), float(np.max(confidence))
    share = (np.asarray(confidence) - low) / max(high - low, 1e-6)
    return (255 * matplotlib.colormaps['viridis'](share)).astype(np.uint8)


def legend(confidence):
    """Returns what the ends of the colours of `confidence_colors` stand for, a sentence.

    Args:
        confidence: [V] in (0, 1], as of Face.
    """
    widest, narrowest = stated_band.half_widths_mm([min(confidence), max(confidence)])
    return (
        f'Colour: half width of the 90 % band, from dark blue, {widest:.1f} mm, to yellow, '
        f'{narrowest:.1f} mm.'
    )


def plot(moves, current):
    """Draws how far the face moved at each frame, [H, W, 3] uint8.

    Args:
        moves: list of (frame number, mm).
        current: the frame to mark, or None.
    """
    from matplotlib import figure

    picture = figure.Figure(figsize=(3.2, 1.9), layout='constrained')
    axes = picture.subplots()
    axes.set(xlabel='frame', ylabel='moved, mm')
    axes.grid(alpha=0.3)
    if moves:
        numbers, moved = np.array(moves).T
        axes.plot(numbers + 1, moved, linewidth=1)
        axes.set_ylim(0, None)
    if current is not None:
        axes.axvline(current + 1, color='gray', linewidth=0.8)
    buffer = io.BytesIO()
    picture.savefig(buffer, format='png', dpi=100)
    image = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(image[..., ::-1])


def _small(frame, fit):
    """Returns a square picture and its FrameFit, or None, at the page's size."""
    if fit is not None:
        side = len(frame)
        fit = frame_fit.in_crop(fit, np.array([0, 0, side, side]), PICTURE_PX)
    return cv2.resize(frame, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA), fit


def _free_port(host):
    import socket

    with socket.create_server((host, 0)) as listening:
        return listening.getsockname()[1]


def _check_free(host, port):
    import socket

    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UserError(
            f'cannot listen on {host}:{port} ({error.strerror}): choose another --port'
        ) from error
