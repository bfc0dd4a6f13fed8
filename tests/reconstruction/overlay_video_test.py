import os
import sys

import cv2
import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.reconstruction import overlay_video

_FORKS: list[int] = []  # One for each fork of this process.
os.register_at_fork(before=lambda: _FORKS.append(1))


@pytest.fixture(params=['h264', 'mpeg4'])
def codec(request, monkeypatch):
    """Makes the writer use one encoder; returns the codec that its file must hold."""
    if request.param == 'mpeg4':
        monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)  # As if it were not installed.
        return 'FMP4'
    pytest.importorskip('imageio_ffmpeg')
    return 'h264'


def _read(path):
    capture = cv2.VideoCapture(str(path))
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little').decode()
    rate, pictures = capture.get(cv2.CAP_PROP_FPS), []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    return code, rate, pictures


def test_a_video_holds_every_picture_at_its_rate_and_is_whole_or_absent(codec, tmp_path):
    path, num_forks = tmp_path / 'overlay.mp4', len(_FORKS)
    with overlay_video.VideoWriter(str(path), 23.976) as video:
        for size in ((48, 65), (65, 48), (48, 65)):
            video.add(np.full((*size, 3), (200, 90, 30), np.uint8))
        assert not path.exists()
    code, rate, pictures = _read(path)
    assert code == codec
    assert rate == pytest.approx(23.976, abs=0.01)
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 3
    assert pictures[1][:, 32].mean() > 80 and pictures[1][:, 0].mean() < 40  # Bars beside it.
    blue, _, red = pictures[0].mean((0, 1))
    assert red > 180 and blue < 60  # The colours are not swapped.
    assert [p.name for p in tmp_path.iterdir()] == ['overlay.mp4']
    assert len(_FORKS) == num_forks  # JAX's threads make them unsafe, and it warns of each.


def test_what_browsers_do_not_play_is_said_with_what_would(codec, tmp_path):
    video = overlay_video.VideoWriter(str(tmp_path / 'a.mp4'), 25)
    assert video.note is None  # There is no video.
    with video:
        video.add(np.zeros((48, 64, 3), np.uint8))
    if codec == 'h264':
        assert video.note is None
    else:
        assert 'browsers do not' in video.note and "'seqface-jax[h264]'" in video.note


def test_a_video_cut_short_by_an_error_is_absent(codec, tmp_path):
    with pytest.raises(KeyError), overlay_video.VideoWriter(str(tmp_path / 'a.mp4'), 25) as video:
        video.add(np.zeros((48, 64, 3), np.uint8))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_stops_is_told_in_a_sentence(tmp_path):
    pytest.importorskip('imageio_ffmpeg')
    with pytest.raises(UserError, match='cannot write the video .*ffmpeg stopped'):
        with overlay_video.VideoWriter(str(tmp_path / 'none' / 'a.mp4'), 25) as video:
            for _ in range(500):
                video.add(np.zeros((480, 640, 3), np.uint8))


def test_an_encoder_that_fails_at_the_end_leaves_no_video(tmp_path):
    pytest.importorskip('imageio_ffmpeg')
    with pytest.raises(UserError, match='cannot write the video .*ffmpeg stopped .*directory'):
        with overlay_video.VideoWriter(str(tmp_path / 'none' / 'a.mp4'), 25) as video:
            video.add(np.zeros((48, 64, 3), np.uint8))  # It still lies in the pipe.


def test_a_name_that_looks_like_a_protocol_is_a_file(codec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with overlay_video.VideoWriter('me:2.mp4', 25) as video:
        video.add(np.zeros((48, 64, 3), np.uint8))
    assert _read(tmp_path / 'me:2.mp4')[0] == codec


@pytest.mark.parametrize(
    ('said', 'taken'), [(None, 30.0), (0.0, 30.0), (90_000.0, 30.0), (23.976, 23.976), (50, 50.0)]
)
def test_a_rate_that_is_none_becomes_the_usual_one(said, taken):
    assert overlay_video.plausible_rate(said) == taken
