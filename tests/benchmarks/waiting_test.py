import itertools
import sys

import cv2
import numpy as np
import pytest

from benchmarks import drawing, waiting
from data_prep.hard_pictures import people, picture
from seqface_jax.errors import UserError

_BUSY = "import time; sum(range(3_000_000)); x = b'x' * 300 * 2**20; time.sleep(0.3)"


def test_a_program_is_timed_with_its_own_memory():
    idle = waiting.timed([sys.executable, '-c', 'import time; time.sleep(0.5)'])
    busy = waiting.timed([sys.executable, '-c', _BUSY])
    assert idle['seconds'] > 0.5
    assert busy['cpu_seconds'] > idle['cpu_seconds']
    assert busy['peak_mb'] - idle['peak_mb'] > 250


def test_a_program_that_fails_is_named_with_its_last_words():
    with pytest.raises(UserError, match='ended with an error: .*no such thing'):
        waiting.timed([sys.executable, '-c', "raise KeyError('no such thing')"])


def test_the_inputs_are_photos_and_a_video_of_frames_that_differ(tmp_path):
    paths = waiting.write_inputs(str(tmp_path), 5)
    assert len(list((tmp_path / 'ten').iterdir())) == waiting.NUM_PHOTOS
    assert len(_frames(paths['short'])) == waiting.SHORT
    frames = _frames(paths['video'])
    assert len(frames) == 5
    assert all(np.abs(a.astype(int) - b).mean() > 0.5 for a, b in itertools.pairwise(frames))


def _frames(path):
    capture, frames = cv2.VideoCapture(path), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def test_frames_a_second_are_those_of_the_video_without_its_start():
    found = {
        'one photo, cold cache': {'seconds': 9.0, 'cpu_seconds': 12.0, 'peak_mb': 700.0},
        'one photo, warm cache': {'seconds': 4.0, 'cpu_seconds': 6.0, 'peak_mb': 600.0},
        'video, 2 frames, warm cache': {'seconds': 4.0, 'cpu_seconds': 6.0, 'peak_mb': 600.0},
        'video, 122 frames': {'seconds': 12.0, 'cpu_seconds': 15.0, 'peak_mb': 800.0},
        'MediaPipe, one photo': {'seconds': 2.0, 'cpu_seconds': 3.0, 'peak_mb': 200.0},
        'MediaPipe, a frame': {'cpu_seconds': 0.0125},
    }
    found = waiting.with_rates(found, 122)
    assert found['video, 122 frames']['frames_a_second'] == pytest.approx(15)
    minute = found['a minute of video, computed']['seconds']
    assert minute == pytest.approx(4 + 1798 / 15)
    assert found['one photo, warm cache']['times_mediapipe'] == pytest.approx(2)
    assert found['video, 122 frames']['times_mediapipe'] == pytest.approx(9 / 120 / 0.0125)
    text = waiting.table(found)
    assert '| one photo, cold cache | 9.00 | 12.00 | 700 | - | 4.0 |' in text
    assert '| MediaPipe, a frame | - | 0.01 | - | - | - |' in text


def test_pictures_are_counted_by_cpu_seconds_after_the_start():
    made = []

    def make(world, rng):
        made.append((world, rng.integers(1_000_000)))
        sum(range(100_000))

    drawn = drawing.measure(lambda: 'world', make, 4)
    assert len(made) == 5  # One before the clock starts.
    assert len(set(made)) == 5
    assert 10 < drawn.pictures_a_cpu_second < 100_000
    assert drawn.peak_mb > 10


def test_each_picture_that_is_timed_is_of_a_person_drawn_anew(monkeypatch):
    kinds = people.Kinds(None, np.zeros((1, 3)), {}, np.zeros((1, 3)))
    monkeypatch.setattr(people, 'sample', lambda kinds, rng: ('ict', rng.random((2, 3))))
    monkeypatch.setattr(picture, 'make', lambda world, rng: world.kinds.fixed)
    world, rng = picture.World(kinds, None, None), np.random.default_rng(0)
    first, second = (drawing.draw(world, rng) for _ in range(2))
    assert first[0] == 'ict'
    assert (first[1] != second[1]).all()
