import types

import numpy as np
import pytest

from data_prep.hard_pictures import camera, damage, looks, painter, people, things
from data_prep.package_files import sample_people

_NAMES = ('eyeBlink_L', 'eyeBlink_R', 'eyeWide_L', 'eyeWide_R', 'jawOpen', 'cheekPuff_L',
          'cheekPuff_R', 'mouthClose', 'mouthSmile_L', 'mouthSmile_R', 'browDown_L',
          'browDown_R', 'jawLeft', 'noseSneer_L', 'noseSneer_R')  # fmt: skip
_LIGHTS = (
    np.array([[0.0, 0.0, 1.0]]), np.ones((1, 3)), np.array([True]), 0.2 * np.ones(3),
    np.zeros((3, 3)),
)  # fmt: skip


def _ball(radius=60.0):
    vertices, triangles = things.ellipsoid(np.zeros(3), [radius] * 3, np.random.default_rng(0))
    return vertices, triangles


def _scene(vertices, triangles):
    ones = np.ones(len(vertices), np.float32)
    return painter.Scene(
        vertices, triangles, np.full((len(ones), 3), 0.5, np.float32), 0 * ones, ones
    )


def _frontal(distance=1000.0):
    rotation = np.diag([1.0, -1.0, -1.0])
    return camera.View(rotation, np.array([0.0, 0.0, distance]), np.zeros(2), 0.1)


def test_a_point_is_seen_where_a_pinhole_shows_it():
    # 50 mm to the right at 1000 mm is 0.05 on the plane: half of the crop's half side of 0.1.
    places = _frontal().place(np.array([[50.0, 0.0, 0.0], [0.0, 100.0, 0.0]]), 160)
    np.testing.assert_allclose(places, [[120.0, 80.0], [80.0, 0.0]])


def test_views_are_drawn_alike_for_a_seed_and_keep_the_head_in_front_of_the_camera():
    views = [camera.sample(np.random.default_rng(k)) for k in range(200)]
    again = camera.sample(np.random.default_rng(3))
    np.testing.assert_array_equal(views[3].rotation, again.rotation)
    for view in views:
        np.testing.assert_allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-9)
        assert (view.rotation @ [0.0, 0.0, 90.0] + view.translation)[2] > 100.0


def test_the_picture_of_a_ball_is_a_disc_of_its_size():
    view, rng = _frontal(), np.random.default_rng(0)
    _, hit = painter.draw(_scene(*_ball()), view, 100, _LIGHTS, rng)
    # A ball of 60 mm at 1000 mm is a disc of radius tan(asin(0.06)) on the plane.
    radius = np.tan(np.arcsin(0.06)) / 0.1 / 2 * len(hit)
    assert hit.sum() == pytest.approx(np.pi * radius**2, rel=0.05)


def test_the_front_of_a_ball_is_seen_its_back_and_what_a_plate_covers_is_not():
    vertices, triangles = _ball()
    points = np.array([[0.0, 0.0, 60.0], [0.0, 0.0, -60.0], [30.0, 0.0, 51.9]])
    normals = points / 60.0
    plate = np.array([[20.0, -20, 80], [45, -20, 80], [45, 20, 80], [20, 20, 80]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]]) + len(vertices)
    scene = _scene(np.concatenate([vertices, plate]), np.concatenate([triangles, faces]))
    seen = painter.seen_points(scene, _frontal(), points, normals, 160)
    assert seen.tolist() == [True, False, False]


def test_what_faces_the_light_is_brighter():
    vertices, triangles = _ball()
    scene = _scene(vertices, triangles)
    color = painter.shade(scene, _LIGHTS, np.array([1000.0, 0.0, 0.0]), np.random.default_rng(0))
    front, back = vertices[:, 2].argmax(), vertices[:, 2].argmin()
    assert color[front].mean() > 3 * color[back].mean()


def test_expressions_are_weights_and_do_not_close_and_widen_an_eye_at_once():
    rng = np.random.default_rng(0)
    drawn = np.array([people.sample_expression(_NAMES, rng) for _ in range(400)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert (drawn[:, 0] + drawn[:, 2]).max() <= 1 + 1e-6
    assert (drawn.sum(1) == 0).mean() > 0.1


def test_wide_people_lie_farther_from_the_mean_face_than_others_of_the_same_seed():
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 60, (people.NUM_SKIN, 3)).astype(np.float32)
    identity = rng.standard_normal((5, people.NUM_SKIN * 3)).astype(np.float32)
    bank = rng.standard_normal((people._BANK, people.NUM_SKIN * 3)).astype(np.float32)
    kinds = people.Kinds(types.SimpleNamespace(mean=mean), identity, {}, bank)

    def distance(variety, seed):
        own = kinds._replace(variety=variety)
        _, skin = people.sample(own, np.random.default_rng(seed))
        return np.sqrt(((skin - mean) ** 2).mean())

    for seed in range(4):
        assert distance(people.WIDE, seed) > 1.15 * distance(people.NEAR, seed)


def test_a_picture_is_spoilt_alike_for_a_seed_and_keeps_its_size():
    picture = np.random.default_rng(1).random((80, 80, 3)).astype(np.float32)
    one, two = (damage.spoil(picture.copy(), np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (80, 80, 3)
    assert one.dtype == np.uint8


@pytest.mark.parametrize('seed', range(8))
def test_backgrounds_are_finite_and_not_negative(seed):
    picture = damage.background(64, np.random.default_rng(seed))
    assert np.isfinite(picture).all()
    assert picture.min() >= 0


def test_exposure_brings_the_face_to_mid_tones_whatever_the_light():
    rng = np.random.default_rng(0)
    face = np.ones((40, 40), bool)
    levels = [
        np.median(damage.expose(np.full((40, 40, 3), light, np.float32), face, rng))
        for light in (1e-3, 0.1, 50.0) for _ in range(20)
    ]  # fmt: skip
    assert 0.2 < np.median(levels) < 0.7


def test_noise_has_the_deviation_and_the_length_that_it_says():
    points = np.random.default_rng(0).uniform(-100, 100, (4000, 3)).astype(np.float32)
    fields = [looks.noise(points, np.random.default_rng(k), 10.0) for k in range(30)]
    assert np.std(fields) == pytest.approx(1.0, abs=0.1)
    near = [looks.noise(points + 0.5, np.random.default_rng(k), 10.0) for k in range(30)]
    assert np.abs(np.array(near) - fields).mean() < 0.1


def test_a_facing_view_shows_the_head_in_the_middle_turned_to_its_left():
    view = camera.facing(30.0)
    nose, middle = np.array([[0.0, 0.0, 90.0], [0.0, 0.0, 45.0]])
    np.testing.assert_allclose(view.place(middle[None], 200), [[100.0, 100.0]], atol=1e-9)
    assert view.place(nose[None], 200)[0, 0] > 105.0  # A face's left is right in the picture.


def test_studio_light_comes_from_the_side_of_the_camera_however_the_head_is_turned():
    for yaw_deg in (0.0, 60.0):
        view = camera.facing(yaw_deg)
        directions, colors, *_ = painter.studio_lights(view.rotation)
        in_camera = directions @ view.rotation.T
        assert (in_camera[:, 2] < -0.5).all()  # The camera looks along +z.
        np.testing.assert_allclose(colors, colors[:, :1] * np.ones(3))  # White.


def test_a_developed_face_has_a_middle_tone_at_any_light_and_is_not_burnt():
    ramp = np.linspace(0.2, 1.0, 100).reshape(10, 10, 1) * np.ones(3)
    face = np.ones((10, 10), bool)
    dim, bright = damage.develop(ramp * 0.01, face), damage.develop(ramp * 10, face)
    np.testing.assert_allclose(dim, bright, atol=1e-6)
    assert 0.4 < np.median(dim) < 0.65
    assert dim.max() < 0.95


def test_a_sample_folder_holds_jpegs_and_says_that_nobody_looks_so(tmp_path):
    pictures = [np.full((32, 32, 3), tone, np.uint8) for tone in (40, 200)]
    sample_people.write(tmp_path / 'made_up_ict', 'ict', pictures)
    assert sorted(path.name for path in (tmp_path / 'made_up_ict').iterdir()) == [
        '1.jpg',
        '2.jpg',
        'README.txt',
    ]
    note = (tmp_path / 'made_up_ict' / 'README.txt').read_text()
    assert 'does not exist' in note and 'ICT-FaceKit' in note
