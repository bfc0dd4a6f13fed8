import cv2
import numpy as np
import pytest

from data_prep import photo_crops
from data_prep.sources import RawFrame
from seqface_jax.errors import UserError
from seqface_jax.photos import crops, face_detection, photo_file, pose_regression
from tests.helpers.small_raw_tree import draw_face, write_photo


@pytest.fixture(scope='module')
def detector():
    return face_detection.FaceDetector()


def _center(box):
    return (box[:2] + box[2:]) / 2


@pytest.mark.parametrize('scale', [1, 4, 10])
def test_a_face_is_found_at_its_place_in_a_photo_of_any_size(detector, scale):
    photo = draw_face(200 * scale, 150 * scale, (70 * scale, 110 * scale), 45 * scale)
    face = detector.find(photo)
    assert face.found_by == 'frontal'
    np.testing.assert_allclose(_center(face.box), [70 * scale, 112 * scale], atol=8 * scale)
    assert 60 * scale < face.box[2] - face.box[0] < 110 * scale


def test_a_far_face_is_found_on_a_larger_copy(detector):
    photo = draw_face(1500, 2000, (1200, 700), 90)
    np.testing.assert_allclose(_center(detector.find(photo).box), [1200, 704], atol=16)


def test_of_several_faces_the_largest_central_one_is_taken(detector):
    photo = draw_face(300, 600, (300, 150), 80)
    photo[:, :150] = draw_face(300, 150, (70, 150), 60)
    np.testing.assert_allclose(_center(detector.find(photo).box), [300, 154], atol=12)


def test_the_person_who_was_followed_is_kept_among_several(detector):
    photo = draw_face(300, 600, (300, 150), 80)
    photo[:, :150] = draw_face(300, 150, (70, 150), 60)
    only_left = np.full_like(photo, 128)
    only_left[:, :150] = photo[:, :150]
    left = detector.find(only_left)
    np.testing.assert_allclose(_center(detector.find(photo, left).box), [70, 153], atol=12)


def test_a_photo_without_a_face_gives_none(detector):
    empty = np.full((300, 200, 3), 127, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)
    previous = detector.find(draw_face(300, 200, (100, 150), 70))
    for photo in (empty, noise):
        assert detector.find(photo) is None
        assert detector.find(photo, previous) is None


def test_a_face_that_no_cascade_sees_is_tracked_from_the_frame_before(detector, monkeypatch):
    previous = detector.find(draw_face(300, 200, (100, 150), 60))
    monkeypatch.setattr(face_detection, '_detect', lambda *args: np.zeros((0, 4)))
    moved = draw_face(300, 200, (110, 142), 60)
    face = detector.find(moved, previous)
    assert face.found_by == 'tracked'
    np.testing.assert_allclose(face.box - previous.box, [10, -8, 10, -8], atol=3)
    assert detector.find(moved) is None


def test_a_face_is_followed_where_it_was_and_nowhere_else(detector):
    previous = detector.find(draw_face(300, 600, (150, 150), 60))
    face = detector.follow(draw_face(300, 600, (160, 142), 60), previous)
    np.testing.assert_allclose(face.box - previous.box, [10, -8, 10, -8], atol=6)
    assert detector.follow(draw_face(300, 600, (450, 150), 60), previous) is None
    assert detector.follow(draw_face(100, 100, (50, 50), 30), previous) is None


def test_all_faces_are_found_and_none_twice(detector):
    photo = draw_face(300, 600, (150, 150), 80)
    photo[:, 300:] = draw_face(300, 300, (150, 150), 60)
    followed, new = detector.find_all(photo)
    assert followed == []
    np.testing.assert_allclose([_center(face.box)[0] for face in new], [150, 450], atol=12)
    gone = np.full((300, 600, 3), 128, np.uint8)
    gone[:, :300] = photo[:, :300]
    followed, new = detector.find_all(gone, new)
    assert followed[0] is not None and followed[1] is None and new == []


def _render(yaw_deg):
    """Returns a photo [300, 240, 3] of a synthetic head in the middle, and where that is."""
    from data_prep.scans.ray_scene import ray_scene
    from data_prep.synthetic import faces, posed_photos, renderer
    from data_prep.synthetic.person import rotation_matrix
    from data_prep.synthetic.studio import PhotoCamera

    person, rng = posed_photos.draw_person(1, [faces.open_face(faces.EMBEDDED)])
    camera = PhotoCamera(240, 300, np.array([0.0, 0.0, 1060.0]), 1000.0)
    rotation = rotation_matrix(np.radians(yaw_deg), 0.0, 0.0)
    middle = pose_regression.CENTRE
    surface = person.surface(np.zeros(6), 0.0, rotation, middle - rotation @ middle)
    scene = ray_scene(surface, person.triangles)
    photographer = renderer.Renderer(person, camera, rng)
    photo = photographer.photo(scene, surface, renderer.sample_lights(rng), rng)
    return photo, camera.project(middle[None])[0]


@pytest.mark.parametrize('yaw_deg', [0, 30])
def test_boxes_that_lie_askew_are_settled_on_the_same_head(yaw_deg):
    photo, middle = _render(yaw_deg)
    askew = [[45, 65, 185, 205], [55, 70, 195, 210], [55, 55, 205, 205]]
    boxes = [crops.crop_box(face_detection.settle(photo, box)) for box in askew]
    centres = np.array([_center(box) for box in boxes])
    assert np.ptp(centres, axis=0).max() < 8
    assert np.abs(centres - middle).max() < 12  # 12 mm here.
    sides = np.array([box[2] - box[0] for box in boxes])
    np.testing.assert_allclose(sides, pose_regression.SQUARE_MM, rtol=0.12)


def test_a_box_without_a_head_is_not_settled():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (300, 240, 3), np.uint8)
    box = [60, 80, 180, 200]
    assert face_detection.settle(noise, box) is None


def test_boxes_of_the_mirrored_profile_search_are_mirrored_back():
    class Profile:
        def detectMultiScale(self, image, **kwargs):  # noqa: N802 - OpenCV's name.
            return [(10, 20, 30, 30)]

    gray = np.zeros((100, 80), np.uint8)
    boxes = face_detection._detect(Profile(), gray, 24, mirrored=True)
    np.testing.assert_array_equal(boxes, [[40, 20, 70, 50]])


def test_the_crop_is_a_square_with_a_margin_around_the_box():
    box = crops.crop_box(np.array([100, 100, 200, 200]), scale=1.5, shift_down=0.1)
    np.testing.assert_array_equal(box, [75, 85, 225, 235])


def test_a_circle_stays_a_circle_in_the_crop():
    photo = np.zeros((400, 300, 3), np.uint8)
    cv2.circle(photo, (150, 200), 40, (255, 255, 255), -1)
    crop = crops.cut_out(photo, [50, 100, 250, 300])
    rows, columns = np.nonzero(crop[..., 0] > 127)
    assert crop.shape == (256, 256, 3)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    np.testing.assert_allclose([rows.mean(), columns.mean()], 127.5, atol=1)


def test_what_lies_beyond_the_photo_is_its_mirror_image():
    photo = np.repeat(np.arange(8, dtype=np.uint8)[None, :, None], 8, axis=0).repeat(3, axis=2)
    crop = crops.cut_out(photo, [-2, 0, 6, 8], size=8)
    np.testing.assert_array_equal(crop[0, :, 0], [1, 0, 0, 1, 2, 3, 4, 5])


def test_a_photo_is_rgb_and_turned_as_its_exif_tag_says(tmp_path):
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[:, :30, 0] = 255  # The left half is red.
    path = tmp_path / 'ünïcode.jpg'
    data = cv2.imencode('.jpg', photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    path.write_bytes(data)
    assert photo_file.read(path).shape == (40, 60, 3)
    assert photo_file.read(path)[20, 5, 0] > 200
    path.write_bytes(data[:2] + segment + data[2:])  # 6: turn a quarter clockwise.
    turned = photo_file.read(path)
    assert turned.shape == (60, 40, 3)
    assert turned[5, 20, 0] > 200 and turned[55, 20, 0] < 50


@pytest.mark.parametrize('content', [None, b'', b'not a picture', b'\xff\xd8\xff\xe0 cut'])
def test_an_unreadable_photo_gives_one_sentence_with_its_path(tmp_path, content):
    path = tmp_path / 'x.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match='x.jpg'):
        photo_file.read(path)


def test_an_opencv_without_cascades_says_what_to_install(monkeypatch):
    monkeypatch.delattr(cv2, 'CascadeClassifier')
    with pytest.raises(UserError, match='opencv-python-headless>=4.11,<5'):
        face_detection.FaceDetector()


def test_photos_without_a_face_are_listed_and_the_others_cropped(tmp_path):
    frames = []
    for index in range(4):
        path = tmp_path / f'{index:03d}.jpg'
        write_photo(path, draw_face(180, 140, (70 + 2 * index, 90), 45))
        frames.append(RawFrame('F001', 'Happy', index, str(path), None))
    (tmp_path / '001.jpg').write_bytes(b'broken')
    write_photo(tmp_path / '002.jpg', np.full((180, 140, 3), 99, np.uint8))
    frames.append(RawFrame('F001', 'Happy', 4, None, 'scan.wrl'))
    crops, skipped = photo_crops.crop_photos(frames)
    assert [(crop.sequence, crop.index) for crop in crops] == [('Happy', 0), ('Happy', 3)]
    assert [entry.where[-7:] for entry in skipped] == ['001.jpg', '002.jpg']
    assert 'no face' in skipped[1].why
    image = cv2.imdecode(np.frombuffer(crops[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (256, 256, 3)
    side = crops[0].box[2] - crops[0].box[0]
    assert side == crops[0].box[3] - crops[0].box[1]
    assert 90 < side < 180  # The drawn face is 90 high.
