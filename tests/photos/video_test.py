import os
import struct
import time

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from seqface_jax.errors import UserError
from seqface_jax.photos import own_files, photo_file, video, video_geometry
from seqface_jax.reconstruction import contact_sheet


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
    assert [frame.name for frame in frames] == list('12345')
    reds = [int(frame.photo[..., 0].mean()) for frame in frames]
    np.testing.assert_allclose(reds, [0, 20, 40, 60, 80], atol=8)
    assert frames[0].photo.shape == (48, 64, 3)


def test_a_video_says_how_many_frames_a_second_it_has(tmp_path):
    assert video.open_source(_film(tmp_path / 'film.avi', 2)).rate == 25
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((9, 9, 3), np.uint8))
    assert video.open_source(str(tmp_path / 'a.png')).rate is None


def test_a_video_that_breaks_off_says_so(tmp_path, monkeypatch):
    camera = Camera(3)
    camera.get = lambda what: 10.0
    monkeypatch.setattr(cv2, 'VideoCapture', lambda path: camera)
    monkeypatch.setattr(video_geometry, 'read', lambda *capture: video_geometry.UPRIGHT)
    (tmp_path / 'x.mp4').write_bytes(b'\0\0\0\x18ftypisom')
    frames = list(video.open_source(str(tmp_path / 'x.mp4')).frames)
    assert len(frames) == 4 and frames[3].problem == 'the video breaks off here, of 10 frames'
    assert camera.is_released


def test_frames_have_their_times_and_a_video_its_rate(tmp_path):
    source = video.open_source(_film(tmp_path / 'x.avi', 4))
    assert source.rate == pytest.approx(25)
    seconds = [frame.seconds for frame in source.frames]
    np.testing.assert_allclose(seconds, [0, 0.04, 0.08, 0.12], atol=1e-3)


def _watched(tmp_path, monkeypatch, told):
    """Returns the FrameSource of a video whose every property is `told`, and its Camera."""
    camera = Camera(50)
    camera.get = lambda what: told
    monkeypatch.setattr(cv2, 'VideoCapture', lambda path: camera)
    monkeypatch.setattr(video_geometry, 'read', lambda *capture: video_geometry.UPRIGHT)
    (tmp_path / 'x.mp4').write_bytes(b'\0\0\0\x18ftypisom')
    return video.open_source(str(tmp_path / 'x.mp4')), camera


def test_a_video_whose_clock_stands_still_goes_on_at_its_rate(tmp_path, monkeypatch):
    source, _ = _watched(tmp_path, monkeypatch, 20.0)
    seconds = [frame.seconds for frame in source.frames][:3]
    np.testing.assert_allclose(seconds, [0, 1 / 20, 2 / 20])


def test_the_next_frame_of_a_video_is_made_while_one_is_looked_at(tmp_path, monkeypatch):
    source, camera = _watched(tmp_path, monkeypatch, 20.0)
    next(source.frames)
    end = time.monotonic() + 20
    while camera.left > 48 and time.monotonic() < end:
        time.sleep(0.01)
    assert camera.left == 48  # One is out, one is ready, and no more.
    source.frames.close()
    assert camera.is_released


def test_an_unreadable_video_gives_one_sentence(tmp_path):
    (tmp_path / 'x.mp4').write_bytes(b'\0\0\0\x18ftypisom and no video')
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


def test_a_file_that_is_no_photo_is_refused_with_the_reason(tmp_path):
    (tmp_path / 'notes.txt').write_text('no photo')
    (tmp_path / 'face.glb').write_bytes(b'glTF')
    for name, words in (
        (tmp_path / 'notes.txt', 'notes.txt is not a readable picture but a text file'),
        (tmp_path / 'face.glb', 'face.glb is written by this program, not a photo'),
        ('/dev/null', 'cannot read the photo /dev/null: it is not a file'),
    ):
        with pytest.raises(UserError, match=words):
            video.open_source(str(name))


def test_a_folder_gives_its_photos_by_name_and_the_damaged_ones_with_their_problem(tmp_path):
    cv2.imwrite(str(tmp_path / 'b.png'), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / 'a.JPG').write_bytes(b'damaged')
    (tmp_path / 'notes.txt').write_text('')
    source = video.open_source(str(tmp_path))
    first, second, third = source.frames
    assert source.count == 2 and not third.is_photo and 'notes.txt' in third.problem
    assert first.photo is None and 'a.JPG is not a readable picture' in first.problem
    assert second.photo.shape == (4, 6, 3) and second.problem is None


_PILLOW_KINDS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000', 'AVIF', 'HEIF')


@pytest.mark.parametrize('kind', _PILLOW_KINDS)
def test_a_folder_gives_every_kind_of_photo_whatever_its_ending(tmp_path, kind):
    assert photo_file.can_read_heic()
    for name in ('photo', 'photo.dat', 'photo.jpg'):
        Image.new('RGB', (64, 48), (90, 9, 9)).save(tmp_path / name, kind)
    frames = list(video.open_source(str(tmp_path)).frames)
    assert len(frames) == 3
    for frame in frames:
        assert frame.photo.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.photo.mean((0, 1)), [90, 9, 9], atol=6)


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(UserError, match='no photo in the folder'):
        video.open_source(str(tmp_path))


def test_every_file_of_a_folder_comes_with_the_reason_why_it_is_no_photo(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / 'b').mkdir()
    (tmp_path / 'c.psd').write_bytes(b'8BPS')
    _film(tmp_path / 'd.avi', 2)
    (tmp_path / 'face.ply').write_bytes(b'ply\n')
    problems = [frame.problem for frame in video.open_source(str(tmp_path)).frames]
    wanted = [None, 'a folder', 'a Photoshop file', 'a video (AVI)', 'written by this program']
    assert len(problems) == 5
    for problem, words in zip(problems, wanted, strict=True):
        assert problem is None if words is None else words in problem


def test_heic_without_its_reader_says_what_to_install_or_to_do(tmp_path, monkeypatch):
    (tmp_path / 'IMG_1.HEIC').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    monkeypatch.setattr(photo_file, 'can_read_heic', lambda: False)
    (frame,) = video.open_source(str(tmp_path)).frames
    assert 'pip install pillow-heif' in frame.problem and 'convert it' in frame.problem
    assert frame.reason == photo_file.NO_HEIC and frame.is_photo


def test_a_folder_of_folders_names_their_number_and_one_of_them(tmp_path):
    for name in ('anna', 'boris', 'carl'):
        (tmp_path / name).mkdir()
    with pytest.raises(
        UserError, match='holds 3 folders and no photo.*--input=.*anna.*--people=folders'
    ):
        video.open_source(str(tmp_path))


def test_a_folder_with_nothing_but_a_video_leads_to_it(tmp_path):
    _film(tmp_path / 'x.avi', 2)
    with pytest.raises(UserError, match='no photo but a video: give it, --input=.*x.avi'):
        video.open_source(str(tmp_path))
    # macOS's begins as a stream of HEVC does.
    (tmp_path / '.DS_Store').write_bytes(b'\0\0\0\x01Bud1\0\0\x10\0')
    with pytest.raises(UserError, match='no photo but a video: give it, --input=.*x.avi'):
        video.open_source(str(tmp_path))


def _marked(path, software):
    mark = PngImagePlugin.PngInfo()
    mark.add_text('Software', software)
    Image.new('RGB', (6, 4)).save(path, pnginfo=mark)


def test_a_photo_named_face_png_is_used_and_our_picture_of_any_name_is_not(tmp_path):
    Image.new('RGB', (6, 4)).save(tmp_path / 'face.png')
    _marked(tmp_path / 'x.png', own_files.SOFTWARE)
    _marked(tmp_path / 'y.png', 'another program')
    face, ours, other = video.open_source(str(tmp_path)).frames
    assert face.photo is not None and other.photo is not None
    assert ours.photo is None and ours.reason == photo_file.OWN


def test_an_old_picture_of_ours_is_known_by_its_name_and_its_librarys_mark(tmp_path):
    for name in ('face.png', 'photo.png'):
        _marked(tmp_path / name, 'Matplotlib version3.9, https://matplotlib.org/')
    face, photo = video.open_source(str(tmp_path)).frames
    assert face.reason == photo_file.OWN and photo.photo is not None


def test_a_name_that_is_no_utf_8_is_told_as_it_can_be_written(tmp_path):
    data = cv2.imencode('.png', np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    for name, content in ((b'M\xfcller.png', data), (b'\xfc.jpg', b'damaged')):
        with open(os.path.join(os.fsencode(tmp_path), name), 'wb') as file:
            file.write(content)
    first, second = video.open_source(str(tmp_path)).frames
    assert first.photo is not None
    assert first.name.encode().endswith('M\ufffdller.png'.encode())
    assert '\ufffd.jpg is not a readable picture' in second.problem


def test_a_video_of_any_name_is_read_or_told_to_be_renamed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('me:2.avi', '50% [a]?#.avi'):
        _film(tmp_path / 'a.avi', 2)
        os.rename('a.avi', name)
        assert len(list(video.open_source(name).frames)) == 2
    name = os.fsdecode(b'caf\xe9.avi')
    os.rename('me:2.avi', name)
    with pytest.raises(UserError, match='no UTF-8: rename'):
        video.open_source(name)


def test_a_companion_file_of_macos_is_no_photo(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / '._a.png').write_bytes(b'\0\x05\x16\x07 and more')
    source = video.open_source(str(tmp_path))
    companion, photo = source.frames
    assert source.count == 1 and photo.photo is not None
    assert not companion.is_photo and 'a companion file of macOS' in companion.problem


def test_an_overlay_among_the_photos_is_known_by_its_mark(tmp_path):
    picture = np.full((40, 60, 3), 90, np.uint8)
    contact_sheet.save_picture(str(tmp_path / 'renamed.jpg'), picture)
    cv2.imwrite(str(tmp_path / 'plain.jpg'), picture)
    plain, ours = video.open_source(str(tmp_path)).frames
    assert plain.photo is not None
    assert ours.photo is None and ours.reason == photo_file.OWN


@pytest.mark.parametrize('name, codec', [('x.dat', 'MJPG'), ('x.jpg', 'MJPG'), ('x', 'mp4v')])
def test_content_tells_a_video_whatever_its_name(tmp_path, name, codec):
    made = tmp_path / ('made.mp4' if codec == 'mp4v' else 'made.avi')
    _film(made, 3, codec)
    made.rename(tmp_path / name)
    source = video.open_source(str(tmp_path / name))
    assert source.kind == 'video' and len(list(source.frames)) == 3


@pytest.mark.parametrize('name', ['x.mts', 'x.ts', 'x.3gp', 'x.flv', 'x.webm', 'x.mpg'])
def test_containers_of_phones_and_cameras_are_read(tmp_path, name, capfd):
    codecs = {'x.flv': 'FLV1', 'x.webm': 'VP80', 'x.3gp': 'mp4v'}
    codec = cv2.VideoWriter_fourcc(*codecs.get(name, 'PIM1'))
    writer = cv2.VideoWriter(str(tmp_path / name), codec, 25, (176, 144))
    for _ in range(4):
        writer.write(np.full((144, 176, 3), (10, 60, 120), np.uint8))
    writer.release()
    capfd.readouterr()
    frames = list(video.open_source(str(tmp_path / name)).frames)
    assert frames and frames[0].photo.shape == (144, 176, 3)
    np.testing.assert_allclose(frames[0].photo.mean((0, 1)), [120, 60, 10], atol=8)


def _quarters(path):
    """Writes a film whose four quarters are red, green, blue and gray, 64 x 48; returns them."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:] = (200, 20, 20), (20, 200, 20)
    picture[24:, :32], picture[24:, 32:] = (20, 20, 200), (120, 120, 120)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, (64, 48))
    for _ in range(3):
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return picture


def _set_matrix(path, a, b, c, d):
    """Writes a track's display matrix, as phones do, into an MP4 file."""
    data = bytearray(path.read_bytes())
    place = data.index(b'tkhd') + 4 + 40
    values = [round(value * 65536) for value in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into('>9i', data, place, *values, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    'matrix, show',
    [
        ((1, 0, 0, 1), lambda p: p),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p)),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
    ],
)
def test_a_video_is_turned_and_mirrored_as_its_matrix_says(tmp_path, matrix, show):
    picture = _quarters(tmp_path / 'x.mp4')
    _set_matrix(tmp_path / 'x.mp4', *matrix)
    photo = next(video.open_source(str(tmp_path / 'x.mp4')).frames).photo
    expected = show(picture)
    assert photo.shape == expected.shape
    assert np.abs(photo.astype(int) - expected).mean() < 12


def test_a_video_turned_by_another_angle_is_refused_by_name(tmp_path):
    _quarters(tmp_path / 'x.mp4')
    _set_matrix(tmp_path / 'x.mp4', 0.7071, 0.7071, -0.7071, 0.7071)
    with pytest.raises(UserError, match='x.mp4 wants to be shown turned by 45 degrees'):
        video.open_source(str(tmp_path / 'x.mp4'))


@pytest.mark.parametrize(
    'aspect, shape', [((4, 3), (48, 85)), ((2, 1), (48, 128)), ((1, 2), (96, 64))]
)
def test_pixels_that_are_not_square_become_square(tmp_path, monkeypatch, aspect, shape):
    path = _film(tmp_path / 'x.avi', 2)
    real = cv2.VideoCapture

    class Wide:
        """A capture of a video that says how wide its pixels are."""

        def __init__(self, path):
            self._capture = real(path)

        def get(self, what):
            told = {cv2.CAP_PROP_SAR_NUM: aspect[0], cv2.CAP_PROP_SAR_DEN: aspect[1]}
            return told[what] if what in told else self._capture.get(what)

        def __getattr__(self, name):
            return getattr(self._capture, name)

    monkeypatch.setattr(cv2, 'VideoCapture', Wide)
    assert next(video.open_source(path).frames).photo.shape[:2] == shape


def test_a_large_frame_is_shrunk_once_and_says_by_how_much():
    image = np.zeros((2160, 3840, 3), np.uint8)
    photo, scale = video_geometry.UPRIGHT.apply(image, video.MAX_VIDEO_SIDE)
    assert photo.shape == (720, 1280, 3) and scale == pytest.approx(1 / 3)
    assert video_geometry.UPRIGHT.apply(image[:480, :640], video.MAX_VIDEO_SIDE)[1] == 1
