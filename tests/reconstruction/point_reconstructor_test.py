"""The flagship, by the packaged run, on a public-domain photograph."""

import cv2
import numpy as np
import pytest
from skimage import data

from seqface_jax import checkpoints
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_casting, sampling
from seqface_jax.reconstruct import Rejection
from seqface_jax.reconstruction import frame_fit, map_answers
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor

_MIDDLE = np.array([222.0, 115.0])  # Middle of the astronaut's face, as a person sees it, px.


@pytest.fixture(scope='module')
def reconstructor(packaged):
    return packaged


@pytest.fixture(scope='module')
def photos():
    """Three photos of one face: as it is, mirrored, and a part of it."""
    photo = data.astronaut()
    return [photo, np.ascontiguousarray(photo[:, ::-1]), np.ascontiguousarray(photo[:300, 60:400])]


@pytest.fixture(scope='module')
def after_one(reconstructor, photos):
    return reconstructor.update(reconstructor.initial_state(), photos[0])


def _apart_mm(one, other):
    return np.linalg.norm(one.vertices - other.vertices, axis=1).mean()


def test_the_fitted_face_lies_on_the_face_of_the_photograph(reconstructor, after_one):
    _, face = after_one
    marks = frame_fit.project(face.frame, face.frame.vertices)[reconstructor.geometry.landmarks]
    # Where a person sees the eyes and the mouth of the astronaut, in pixels.
    np.testing.assert_allclose(marks[36:42].mean(0), [202.0, 101.0], atol=5.0)
    np.testing.assert_allclose(marks[42:48].mean(0), [247.0, 103.0], atol=5.0)
    np.testing.assert_allclose(marks[48:60].mean(0), [224.0, 145.0], atol=6.0)
    assert np.abs(frame_fit.angles_deg(face.frame)).max() < 25


def test_a_smile_is_told_as_a_smile(reconstructor, after_one):
    _, face = after_one
    weights = dict(zip(reconstructor.blendshape_names, face.frame.expression, strict=True))
    assert min(weights.values()) >= 0
    assert max(weights.values()) <= 1
    assert weights['mouthSmileLeft'] + weights['mouthSmileRight'] > 0.2


def test_the_teeth_of_a_smile_are_not_painted_on_the_lips(reconstructor, photos, after_one):
    _, face = after_one
    painter = reconstructor.painter(paints=True)
    painter.add(photos[0], None, face)
    painted, landmarks = painter.paint(face), reconstructor.geometry.landmarks
    share = np.linspace(0.1, 0.9, 9)[:, None, None]
    for outer, inner in (([50, 51, 52], [61, 62, 63]), ([58, 57, 56], [67, 66, 65])):
        outer, inner = (painted.uv[landmarks[own]] for own in (outer, inner))
        lips = outer + share * (inner - outer)
        red, green, _ = sampling.sample_texture(painted.texture, lips.reshape(-1, 2)).T.astype(int)
        assert (red > 1.15 * green).all()  # Her teeth: 1.07 times.


def test_a_copy_of_a_photo_tells_nothing_new(reconstructor, photos, after_one):
    state, face = after_one
    _, again = reconstructor.update(state, photos[0].copy())
    assert _apart_mm(face, again) < 0.01


def test_the_order_of_photos_moves_the_face_by_little(reconstructor, photos):
    faces = []
    for order in ((0, 1, 2), (2, 1, 0)):
        state = reconstructor.initial_state()
        for number in order:
            state, face = reconstructor.update(state, photos[number])
        faces.append(face)
    # The first and the last are nearly copies, of which the later counts less.
    assert _apart_mm(*faces) < 0.4


def test_a_photo_without_a_face_is_refused_and_changes_nothing(reconstructor, after_one):
    state, _ = after_one
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    seen = reconstructor.examine(state, noise)
    assert seen.rejection is Rejection.NO_FACE
    same, face = reconstructor.update(state, noise, seen)
    assert same is state
    assert face is None


def _middle_is_off(reconstructor, photo, wanted):
    """Returns how far a photo's face is from a place [2] px, in face heights; None: skipped."""
    seen = reconstructor.examine(reconstructor.initial_state(), photo)
    if seen.rejection is not None:
        assert seen.reason
        return None
    _, face = reconstructor.update(reconstructor.initial_state(), photo, seen)
    marks = frame_fit.project(face.frame, face.frame.vertices)[reconstructor.geometry.landmarks]
    return np.linalg.norm(marks.mean(0) - wanted) / np.ptp(marks[:, 1])


@pytest.mark.parametrize('angle', [45, 180])
def test_a_face_is_found_at_any_turn_of_the_picture(reconstructor, photos, angle):
    matrix = cv2.getRotationMatrix2D((255.5, 255.5), angle, 1)
    turned = cv2.warpAffine(photos[0], matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    wanted = matrix[:, :2] @ _MIDDLE + matrix[:, 2]
    assert _middle_is_off(reconstructor, turned, wanted) < 0.2


@pytest.mark.parametrize(
    'damage',
    [
        lambda photo: photo * 2.5 + 60,
        lambda photo: photo * np.where(np.arange(512) < 224, 0.1, 1)[:, None],
        lambda photo: photo[85:120, 225:270],  # One eye.
        lambda photo: photo[20:75, 150:290],  # Hair.
    ],
)
def test_what_is_used_lies_on_the_face_and_the_rest_is_skipped(reconstructor, photos, damage):
    shown = np.ascontiguousarray(np.clip(damage(photos[0]), 0, 255).astype(np.uint8))
    wanted = _MIDDLE if len(shown) == 512 else [np.inf, np.inf]
    off = _middle_is_off(reconstructor, shown, wanted)
    assert off is None or off < 0.3


def test_the_worse_a_photo_the_lower_its_confidence(reconstructor, photos):
    covered = photos[0].copy()
    covered[125:200, 150:222] = 40
    tiny = cv2.resize(photos[0], (44, 44), interpolation=cv2.INTER_AREA)
    shown = (photos[0], covered, cv2.resize(tiny, (512, 512)))
    state = reconstructor.initial_state()
    first, second, last = (reconstructor.examine(state, photo) for photo in shown)
    assert first.outcome.confidence > second.outcome.confidence
    assert last.rejection is not None
    assert last.outcome is None or last.outcome.confidence < second.outcome.confidence


def test_a_photo_on_its_side_shows_the_face_all_the_same(reconstructor, photos, after_one):
    _, face = after_one
    turned = np.ascontiguousarray(np.rot90(photos[0]))
    _, found = reconstructor.update(reconstructor.initial_state(), turned)
    assert _apart_mm(face, found) < 1.0
    assert abs(abs(frame_fit.angles_deg(found.frame)[2]) - 90) < 15


def test_a_smaller_photo_gives_the_same_face(reconstructor, photos, after_one):
    _, face = after_one
    small = cv2.resize(photos[0], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    _, found = reconstructor.update(reconstructor.initial_state(), small)
    assert _apart_mm(face, found) < 0.6


def test_states_are_saved_read_and_merged(reconstructor, photos, after_one, tmp_path):
    state, face = after_one
    reconstructor.save_state(tmp_path / 'state.npz', state)
    read = reconstructor.load_state(tmp_path / 'state.npz')
    assert _apart_mm(reconstructor.face(read), face) < 1e-4
    other, _ = reconstructor.update(reconstructor.initial_state(), photos[1])
    merged = reconstructor.merge(read, other)
    assert merged.num_frames == 2
    row, _ = reconstructor.update(state, photos[1])
    assert _apart_mm(reconstructor.face(merged), reconstructor.face(row)) < 0.3


def test_a_state_told_in_another_shape_space_is_refused(packaged, tmp_path):
    packaged.save_state(tmp_path / 'state.npz', packaged.initial_state())
    basis = packaged.geometry.basis
    wider = packaged.geometry._replace(basis=basis._replace(basis=1.2 * basis.basis))
    config, model, variables = checkpoints.load(checkpoints.PRETRAINED, 'best_validation')
    other = PointReconstructor(config, model, variables, wider)
    with pytest.raises(UserError, match='another network or shape space'):
        other.load_state(tmp_path / 'state.npz')


def test_there_is_no_face_before_the_first_photo(reconstructor):
    with pytest.raises(UserError, match='update the state with a photo'):
        reconstructor.face(reconstructor.initial_state())


def test_a_step_of_the_tables_knows_what_photos_tell(reconstructor, photos, after_one):
    _, face = after_one
    step = map_answers.make_step(reconstructor, says_frames=True)
    _, prediction = step({}, None, np.stack([photos[0], np.zeros_like(photos[0])]))
    own = map_answers.answer_of(face, says_frames=True)
    np.testing.assert_allclose(prediction.position_map[0], own.position_map, atol=1e-3)
    np.testing.assert_allclose(prediction.frame_map[0], own.frame_map, atol=1e-3)
    mean = reconstructor.geometry.eyes.joined(np.asarray(reconstructor.geometry.basis.mean))
    hits = map_casting.cast(mean, reconstructor.geometry.triangles)
    np.testing.assert_allclose(prediction.position_map[1], hits.position_map(mean), atol=1e-3)
    np.testing.assert_array_equal(prediction.unused, [0, 1])
