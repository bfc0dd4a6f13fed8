"""Which face is cut out of a subject's photos and videos, and what one leaves to the next."""

import cv2
import numpy as np
import pytest

from data_prep import photo_crops
from data_prep.sources import RawFrame, video_frames
from seqface_jax.photos import face_detection
from seqface_jax.photos.face_detection import DetectedFace
from tests.helpers import small_source_trees


class _Detector:
    """Finds what `found` says, and keeps what it was told of the photo before."""

    def __init__(self, told):
        self._told = told

    def find(self, photo, previous=None):
        self._told.append(None if previous is None else previous.box[0])
        box = np.array([len(self._told), 0, 60 + len(self._told), 60], np.float32)
        return DetectedFace(box, None, 'frontal')


@pytest.fixture
def told(monkeypatch):
    """Returns the list of what the detector was told: left edges of the face before, or None."""
    found = []
    monkeypatch.setattr(face_detection, 'FaceDetector', lambda: _Detector(found), raising=True)
    return found


def _photos(folder, count):
    frames = []
    for n in range(count):
        path = str(folder / f'{n}.png')
        assert cv2.imwrite(path, small_source_trees.photo())
        frames.append(RawFrame('a', 'photos', n, path, None))
    return frames


def test_from_one_photo_to_the_next_nothing_carries_over(tmp_path, told):
    photo_crops.crop_photos(_photos(tmp_path, 3), in_time=False)
    assert told == [None, None, None]


def test_in_a_sequence_in_time_the_face_before_does(tmp_path, told):
    photo_crops.crop_photos(_photos(tmp_path, 3), in_time=True)
    assert told == [None, 1, 2]


def test_a_video_among_photos_follows_its_own_face_only(tmp_path, told):
    small_source_trees.write_mjpg(tmp_path / 'v.mjpg', 2)
    video = RawFrame('a', 'video v.mjpg', 0, str(tmp_path / 'v.mjpg'), None)
    photo_crops.crop_photos([*_photos(tmp_path, 1), video], in_time=False)
    assert told == [None, None, 2]


def test_what_a_video_is_says_its_content(tmp_path):
    small_source_trees.write_mjpg(tmp_path / 'v.mjpg', 2)
    writer = cv2.VideoWriter(
        str(tmp_path / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (small_source_trees.PHOTO,) * 2
    )
    for _ in range(3):
        writer.write(small_source_trees.photo())
    writer.release()
    (tmp_path / 'v.avi').rename(tmp_path / 'clip.jpg')
    assert cv2.imwrite(str(tmp_path / 'a.png'), small_source_trees.photo())
    (tmp_path / 'a.png').rename(tmp_path / 'photo.mp4')
    found = {name: video_frames.is_video(str(tmp_path / name)) for name in ('v.mjpg', 'clip.jpg')}
    assert found == {'v.mjpg': True, 'clip.jpg': True}
    assert not video_frames.is_video(str(tmp_path / 'photo.mp4'))


def test_a_video_that_breaks_off_is_told(tmp_path, told):
    path = str(tmp_path / 'v.avi')
    writer = cv2.VideoWriter(
        path, cv2.VideoWriter_fourcc(*'MJPG'), 5, (small_source_trees.PHOTO,) * 2
    )
    for _ in range(20):
        writer.write(small_source_trees.photo())
    writer.release()
    data = (tmp_path / 'v.avi').read_bytes()
    (tmp_path / 'v.avi').write_bytes(data[: len(data) // 2])
    crops, skipped = photo_crops.crop_photos([RawFrame('a', 'video', 0, path, None)], in_time=False)
    assert 0 < len(crops) < 19
    assert any('breaks off after' in entry.why for entry in skipped)
