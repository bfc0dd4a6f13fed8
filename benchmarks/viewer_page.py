"""Opens the page of `run_demo.py --view` in headless Chromium, and checks that the face is there.

python -m benchmarks.viewer_page --screenshot=page.png
python -m benchmarks.viewer_page --face=out/face.npz --screenshot=page.png

Shows the face that run_demo.py would show, takes a screenshot, hides the face and takes another:
where they differ is the face. Exits with status 1 if that is less than 5 % of the page, or if the
save button does not write the face. Needs Chromium, and viser and what it brings.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import cv2
import numpy as np
from absl import app, flags

from seqface_jax import errors, reconstruct
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid, surface
from seqface_jax.reconstruction import viewer

MIN_SHARE = 0.05  # Least share of the page's pixels.
_BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
_OPTIONS = ('--headless=new', '--no-sandbox', '--use-angle=swiftshader', '--ignore-gpu-blocklist')
_OPTIONS += ('--enable-unsafe-swiftshader', '--window-size=1200,800', '--remote-debugging-port=0')
_DRAWN_S = 12.0  # Software rendering takes its time.
_CLICK = "[...document.querySelectorAll('button')].find(b => b.innerText.includes('save')).click()"


def sphere():
    """Returns a Face that is a sphere of 90 mm with a nose, surer in its middle."""
    directions = map_grid.ray_directions()
    radius = 90 + 20 * np.exp(-60 * (1 - directions[..., 2]))
    points = radius[..., None] * directions
    vertices, triangles = surface.from_prediction(
        points, ordered=True, mask=surface.crop_mask(points)
    )
    confidence = 0.2 + 0.7 * np.clip(vertices[:, 2] / 110, 0, 1)
    return reconstruct.Face(vertices.astype(np.float32), triangles, confidence.astype(np.float32))


def read_face(path):
    """Returns the Face of an .npz file that Face.save wrote."""
    with np.load(path) as arrays:
        names = [name for name in ('uv', 'texture') if name in arrays]
        parts = (arrays['vertices'], arrays['triangles'], arrays['confidence'])
        return reconstruct.Face(*parts, **{name: arrays[name] for name in names})


class Browser:
    """Headless Chromium on one page, driven through its DevTools protocol."""

    def __init__(self, address, profile):
        found = [path for name in _BROWSERS if (path := shutil.which(name))]
        if not found:
            raise UserError(f'no browser found: install one of {", ".join(_BROWSERS)}')
        command = [found[0], *_OPTIONS, f'--user-data-dir={profile}', address]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._profile = profile

    def run(self, expressions):
        """Runs each JavaScript expression, waits, and returns a screenshot [H, W, 3] after each."""
        return asyncio.run(self._run(expressions))

    async def _run(self, expressions):
        import websockets

        shots = []
        async with websockets.connect(self._socket(), max_size=None) as socket:
            for number, expression in enumerate(expressions):
                await self._call(socket, 2 * number + 1, 'Runtime.evaluate', expression=expression)
                await asyncio.sleep(_DRAWN_S)
                shot = await self._call(socket, 2 * number + 2, 'Page.captureScreenshot')
                data = np.frombuffer(base64.b64decode(shot['data']), np.uint8)
                shots.append(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return shots

    async def _call(self, socket, number, method, **params):
        await socket.send(json.dumps({'id': number, 'method': method, 'params': params}))
        while True:
            answer = json.loads(await socket.recv())
            if answer.get('id') == number:
                return answer['result']

    def _socket(self):
        """Returns the address of the page's DevTools socket, once Chromium listens."""
        for _ in range(120):
            try:
                with open(os.path.join(self._profile, 'DevToolsActivePort')) as file:
                    port = int(file.readline())
                with urllib.request.urlopen(f'http://127.0.0.1:{port}/json') as listed:
                    pages = [tab for tab in json.load(listed) if tab['type'] == 'page']
                return pages[0]['webSocketDebuggerUrl']
            except (OSError, ValueError, IndexError):
                time.sleep(0.5)
        raise UserError('the browser does not start')

    def close(self):
        """Ends the browser."""
        self._process.terminate()
        self._process.wait()


def check(face, screenshot):
    """Shows a face; returns the share of the page that it covers and whether it was saved."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        output = os.path.join(folder, 'out')
        with viewer.Viewer(output, port=0) as page:
            page.add(np.full((64, 64, 3), 120, np.uint8), face)
            if face.texture is not None:
                page.set_texture(face.uv, face.texture)
            browser = Browser(page.address, os.path.join(folder, 'profile'))
            try:
                shown, _ = browser.run(['1', _CLICK])
                page._mesh.visible = False
                (hidden,) = browser.run(['1'])
            finally:
                browser.close()
        cv2.imwrite(screenshot, shown)
        changed = (np.abs(shown.astype(int) - hidden).max(-1) > 12)[:, : shown.shape[1] * 2 // 3]
        return changed.sum() / hidden[..., 0].size, os.path.exists(f'{output}/face_00001.glb')


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face', None, 'An .npz that Face.save wrote; a sphere if left out.')
    flags.DEFINE_string('screenshot', None, 'PNG to write.')


@errors.exit_on_user_error
def main(argv):
    """Opens the page and ends with status 0 if the face is there."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    face = read_face(flags.FLAGS.face) if flags.FLAGS.face else sphere()
    share, is_saved = check(face, flags.FLAGS.screenshot)
    sys.stdout.write(f'the face covers {100 * share:.1f} % of the page; saved: {is_saved}\n')
    sys.exit(0 if share >= MIN_SHARE and is_saved else 1)


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['screenshot'])
    app.run(main)
