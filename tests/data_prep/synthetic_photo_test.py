"""Photos of synthetic people: sizes, determinism, and that a face detector finds the face."""

import cv2
import numpy as np

from data_prep.scans.ray_scene import ray_scene
from data_prep.synthetic import appearance, expressions, renderer, studio
from data_prep.synthetic.embedded_face import face_model
from data_prep.synthetic.person import Person, pose_over_time
from data_prep.synthetic_raw import subject_ids


def _sitting(name, height):
    rng = np.random.default_rng([5, 'FM'.index(name[0]), int(name[1:])])
    looks = appearance.sample_appearance(rng, name[0])
    person = Person(face_model().sample_identity(rng, name[0]), looks, fine=False)
    return renderer.Renderer(person, studio.studio_camera(height, rng), rng), rng


def _photo(photographer, weights, rng):
    person = photographer.person
    rotations, translations = pose_over_time(1, rng)
    surface = person.surface(weights, 0.0, rotations[0], translations[0])
    scene = ray_scene(surface, person.triangles)
    return photographer.photo(scene, surface, renderer.sample_lights(rng), rng), surface


def test_a_photo_is_portrait_8_bit_rgb_and_the_same_for_the_same_seed():
    (first, rng), (second, same_rng) = _sitting('F001', 174), _sitting('F001', 174)
    photo, _ = _photo(first, np.zeros(6), rng)
    again, _ = _photo(second, np.zeros(6), same_rng)
    assert photo.shape == (174, 130, 3) and photo.dtype == np.uint8
    assert photo.std() > 15
    np.testing.assert_array_equal(photo, again)


def test_an_expression_changes_the_photo_where_the_mouth_is():
    (photographer, _), flat = _sitting('M002', 348), np.zeros(6)
    surprise = np.eye(6)[expressions.NAMES.index('Surprise')]
    neutral_photo, surface = _photo(photographer, flat, np.random.default_rng(0))
    other_photo, _ = _photo(photographer, surprise, np.random.default_rng(0))
    mouth = photographer.camera.project(surface[[face_model().landmarks['mouth_middle']]])[0]
    x, y = mouth.astype(int)
    window = np.s_[y - 5 : y + 20, x - 15 : x + 15]
    difference = np.abs(neutral_photo[window].astype(float) - other_photo[window])
    assert difference.mean() > 8.0


def test_the_haar_cascade_finds_exactly_the_face_in_19_of_20_photos():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + 'haarcascade_frontalface_default.xml')
    found, count = 0, 0
    for name in subject_ids(10):
        photographer, rng = _sitting(name, 348)
        for weights in (np.zeros(6), np.eye(6)[count % 6]):
            photo, surface = _photo(photographer, weights, rng)
            boxes = cascade.detectMultiScale(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), 1.1, 4)
            tip = photographer.camera.project(surface[[face_model().landmarks['nose_tip']]])[0]
            count += 1
            found += len(boxes) == 1 and _contains(boxes[0], tip)
    assert found >= 0.95 * count


def _contains(box, point):
    x, y, width, height = box
    return x < point[0] < x + width and y < point[1] < y + height


def test_the_shape_of_a_person_does_not_decide_the_looks():
    first = appearance.sample_appearance(np.random.default_rng(1), 'F')
    again = appearance.sample_appearance(np.random.default_rng(1), 'F')
    assert first.hair_style == again.hair_style and first.blush == again.blush
    np.testing.assert_array_equal(first.skin, again.skin)


def test_heads_look_ahead_unless_they_are_told_to_turn():
    def largest_yaw_deg(turn_deg):
        turn_rad = np.radians(turn_deg)
        poses = [pose_over_time(20, np.random.default_rng(k), turn_rad) for k in range(8)]
        rotations = np.concatenate([rotations for rotations, _ in poses])
        return np.degrees(np.abs(np.arctan2(rotations[:, 0, 2], rotations[:, 2, 2]))).max()

    assert largest_yaw_deg(0) < 15
    assert 25 < largest_yaw_deg(30) < 45
