import cv2
import numpy as np
import pytest
from PIL import Image

from seqface_jax.errors import UserError
from seqface_jax.photos import photo_file, video


def _film(path, count, codec='MJPG'):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), (10, 60, 20 * number), np.uint8))  # BGR
    writer.release()
    return str(path)


class Camera:
    """Shows `count` frames, then fails."""

    def __init__(self, count):
        self.left, self.is_released = count, False

    def isOpened(self):  # noqa: N802 - OpenCV's name.
        return True

    def read(self):
        self.left -= 1
        return (True, np.zeros((4, 4, 3), np.uint8)) if self.left >= 0 else (False, None)

    def set(self, *args):
        pass

    def release(self):
        self.is_released = True


@pytest.mark.parametrize('name, codec', [('x.avi', 'MJPG'), ('x.mp4', 'mp4v')])
def test_a_video_gives_its_frames_in_order_in_rgb(tmp_path, name, codec):
    source = video.open_source(_film(tmp_path / name, 5, codec))
    frames = list(source.frames)
    assert (source.kind, source.count) == ('video', 5)
    assert [frame.name for frame in frames] == list('01234')
    reds = [int(frame.photo[..., 0].mean()) for frame in frames]
    np.testing.assert_allclose(reds, [0, 20, 40, 60, 80], atol=8)
    assert frames[0].photo.shape == (48, 64, 3)


def test_a_video_that_breaks_off_says_so(tmp_path, monkeypatch):
    camera = Camera(3)
    camera.get = lambda what: 10.0
    monkeypatch.setattr(cv2, 'VideoCapture', lambda path: camera)
    (tmp_path / 'x.mp4').write_bytes(b'')
    frames = list(video.open_source(str(tmp_path / 'x.mp4')).frames)
    assert len(frames) == 4 and frames[3].problem == 'the video breaks off here, of 10 frames'
    assert camera.is_released


def test_an_unreadable_video_gives_one_sentence(tmp_path):
    (tmp_path / 'x.mp4').write_bytes(b'not a video')
    with pytest.raises(UserError, match='cannot read the video .*x.mp4: it is damaged'):
        video.open_source(str(tmp_path / 'x.mp4'))


def test_a_camera_runs_until_it_fails_and_is_let_go(monkeypatch):
    camera = Camera(3)
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: camera)
    source = video.open_source('0')
    assert (source.kind, source.count) == ('camera', None)
    assert len(list(source.frames)) == 3 and camera.is_released


def test_a_camera_is_let_go_when_the_stream_is_closed(monkeypatch):
    camera = Camera(100)
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: camera)
    source = video.open_source('1')
    next(source.frames)
    source.frames.close()
    assert camera.is_released and camera.left > 90


def test_a_missing_camera_gives_one_sentence():
    with pytest.raises(UserError, match='no camera 97: connect it'):
        video.open_source('97')


def test_a_missing_file_gives_one_sentence(tmp_path):
    with pytest.raises(UserError, match='no such file or folder'):
        video.open_source(str(tmp_path / 'holiday.mp4'))


def test_a_folder_gives_its_photos_by_name_and_the_damaged_ones_with_their_problem(tmp_path):
    cv2.imwrite(str(tmp_path / 'b.png'), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / 'a.JPG').write_bytes(b'damaged')
    (tmp_path / 'notes.txt').write_text('')
    source = video.open_source(str(tmp_path))
    first, second = source.frames
    assert source.count == 2
    assert first.photo is None and 'a.JPG is not a readable picture' in first.problem
    assert second.photo.shape == (4, 6, 3) and second.problem is None


@pytest.mark.parametrize('kind', photo_file.FORMATS)
def test_a_folder_gives_every_kind_of_photo_that_can_be_read(tmp_path, kind):
    for ending in photo_file.ENDINGS_OF[kind]:
        Image.new('RGB', (6, 4), (9, 9, 9)).save(tmp_path / f'photo{ending}', kind)
    frames = list(video.open_source(str(tmp_path)).frames)
    assert len(frames) == len(photo_file.ENDINGS_OF[kind])
    assert all(frame.photo.shape == (4, 6, 3) for frame in frames)


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(UserError, match='no photo in the folder'):
        video.open_source(str(tmp_path))
