import os
import socket
import struct
import urllib.request

import numpy as np
import pytest

from seqface_jax import reconstruct
from seqface_jax.errors import UserError
from seqface_jax.geometry import surface
from seqface_jax.reconstruction import overlay, viewer
from tests.helpers import bumpy_face, small_fit


def _face(seed=0):
    points = bumpy_face.position_map_of(seed)
    mesh = surface.from_prediction(points, ordered=True, mask=bumpy_face.mask_of(points))
    confidence = np.linspace(0.1, 0.9, len(mesh[0])).astype(np.float32)
    return reconstruct.Face(mesh[0].astype(np.float32), mesh[1], confidence)


@pytest.fixture
def page(tmp_path):
    with viewer.Viewer(str(tmp_path), port=0) as opened:
        yield opened


_FRAME = np.full((64, 64, 3), 90, np.uint8)


def test_the_page_is_served_on_this_machine_only(page):
    with urllib.request.urlopen(page.address, timeout=10) as answer:
        assert answer.status == 200 and b'<html' in answer.read().lower()
    assert page.address.startswith('http://127.0.0.1:')


def test_the_newest_face_is_shown_until_the_slider_takes_over(page):
    assert page.shown is None
    for seed in range(3):
        page.add(_FRAME, _face(seed))
    assert page.shown.number == 2
    page._follow.value = False
    page._slider.value = 2
    np.testing.assert_array_equal(page.shown.face.vertices, _face(1).vertices)


def test_the_page_holds_the_mesh_in_the_colours_of_its_confidence(page):
    face = _face()
    page.add(_FRAME, face)
    model = page._model(face)
    np.testing.assert_array_equal(model.vertices, face.vertices)
    np.testing.assert_array_equal(model.faces, face.triangles)
    assert (model.visual.vertex_colors[0, :3] != model.visual.vertex_colors[-1, :3]).any()
    assert page._mesh.name == '/face'


def test_a_texture_paints_all_faces(page):
    face = _face()
    for _ in range(2):
        page.add(_FRAME, face)
    uv = np.linspace(0, 1, 2 * len(face.vertices)).reshape(-1, 2).astype(np.float32)
    page.set_texture(uv, _FRAME)
    page._follow.value = False
    page._slider.value = 1
    shown = page.shown.face
    model = page._model(shown)
    np.testing.assert_array_equal(shown.texture, _FRAME)
    np.testing.assert_array_equal(model.visual.uv, uv)
    page._colored.value = 'confidence'
    assert page._model(shown).visual.kind == 'vertex'


def test_the_fitted_mesh_lies_over_the_frame_with_a_legend_until_it_is_switched_off(page):
    vertices, triangles, landmarks = small_fit.mesh()
    face = reconstruct.Face(vertices, triangles, np.full(len(vertices), 0.5, np.float32))
    mesh_overlay = overlay.MeshOverlay(triangles, landmarks)
    page.add(small_fit.photo(), face, small_fit.make(), mesh_overlay)
    side = viewer.PICTURE_PX
    larger = small_fit.make(
        focal_px=500.0 * side / small_fit.PHOTO_PX, center_px=np.full(2, side / 2)
    )
    blank = np.full((side, side, 3), 40, np.uint8)
    np.testing.assert_array_equal(page._picture.image, mesh_overlay.draw(blank, larger))
    assert page._key.content == viewer.OVERLAY_LEGEND
    page._over.value = False
    page.refresh()
    np.testing.assert_array_equal(page._picture.image, blank)
    assert page._key.content == ''


def test_the_page_rests_five_times_as_long_as_it_took_to_draw(page, monkeypatch):
    clock, drawn = [100.0], []
    monkeypatch.setattr(viewer.time, 'monotonic', lambda: clock[0])
    page.add(_FRAME, _face())
    page._drawing_s = 1.0
    monkeypatch.setattr(page, '_show', lambda: drawn.append(clock[0]))
    for clock[0] in (101.0, 104.9, 105.1):
        page.add(_FRAME, _face())
    assert drawn == [105.1]


def test_frames_that_come_fast_are_drawn_now_and_then(page, monkeypatch):
    drawn = []
    monkeypatch.setattr(page, '_show', lambda: drawn.append(1))
    page._drawn_at = np.inf
    page.add(_FRAME, _face())
    assert not drawn and page.shown.number == 0
    page.refresh()
    assert drawn


def test_the_save_button_writes_the_face_that_is_shown(page, tmp_path):
    page.add(_FRAME, _face())
    page._write()
    assert {path.name for path in tmp_path.iterdir()} == {'face_00001.ply', 'face_00001.glb'}


def test_a_long_stream_keeps_a_bounded_number_of_faces(page, monkeypatch):
    monkeypatch.setattr(viewer, 'MAX_MOMENTS', 6)
    monkeypatch.setattr(viewer, 'plot', lambda *_: _FRAME)
    face = _face()
    for _ in range(30):
        page.add(_FRAME, face)
    assert len(page._moments) <= 6 and page.shown.number == 29


def test_a_closed_page_frees_its_port(tmp_path):
    opened = viewer.Viewer(str(tmp_path), port=0)
    opened.close()
    with pytest.raises(OSError, match='refused'):
        socket.create_connection(('127.0.0.1', opened.port), timeout=2)


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f'cannot listen on 127.0.0.1:{port}.*--port'):
            viewer.Viewer(str(tmp_path), port=port)


def _ask(page, data, timeout=0.2):
    """Sends bytes to the page's port; returns what comes back until it hangs up or is silent."""
    answer = b''
    with socket.create_connection(('127.0.0.1', page.port), timeout=timeout) as line:
        try:
            line.sendall(data)
            while more := line.recv(1 << 16):
                answer += more
        except OSError:
            pass
    return answer


def _is_alive(page):
    with urllib.request.urlopen(page.address, timeout=10) as answer:
        return answer.status == 200


def _get(page, name):
    text = f'GET {name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    return _ask(page, text.encode(), timeout=10)


def test_no_file_outside_the_page_is_served(page, tmp_path):
    (tmp_path / 'secret.txt').write_text('a secret')
    path = str(tmp_path / 'secret.txt')
    assert b'<html' in _get(page, '/').lower()
    for up in ('../', '..%2f', '%2e%2e/', '..\\', '..%5c', '....//', ''):
        for name in (f'/{up * 40}{path[1:]}', f'/{up * 3}secret.txt'):
            assert b'a secret' not in _get(page, name)
    for name in (f'//{path}', f'file://{path}'):
        assert b'a secret' not in _get(page, name)


_UPGRADE = (
    b'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'
)


def _framed(payload):
    """Returns a masked binary frame of a web socket; the mask is 0."""
    return b'\x82' + struct.pack('>BH', 0x80 | 126, len(payload)) + bytes(4) + payload


def test_garbage_on_its_socket_does_not_end_the_page(page):
    page.add(_FRAME, _face())
    garbage = [
        b'',
        bytes(5000),
        os.urandom(5000),
        b'GET ' + b'a' * 100_000,
        b'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
        b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(200),  # A hello of TLS.
        _UPGRADE,  # Cut off.
        _UPGRADE + b'\r\n' + os.urandom(1000),
        _UPGRADE + b'\r\n' + _framed(b'\xc1' * 50),  # No message of msgpack begins so.
        _UPGRADE + b'\r\n' + _framed(b'\x81\xa4type\xa7NoSuch!'),
    ]
    for data in garbage:
        _ask(page, data)
    assert _is_alive(page)
    page.add(_FRAME, _face(1))
    assert page.shown.number == 1


def test_the_legend_says_the_ends_of_the_colours_in_mm():
    confidence = 1 / (1 + np.sqrt(3) * np.array([4.0, 1.0, 0.5]))  # Deviations of a coordinate, mm.
    assert 'from dark blue, 6.6 mm, to yellow, 0.8 mm.' in viewer.legend(confidence)
