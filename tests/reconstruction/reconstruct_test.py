import cv2
import jax
import numpy as np
import pytest

from configs import bu4dfe_thesis
from seqface_jax import checkpoints, models, reconstruct
from seqface_jax.errors import UserError
from seqface_jax.models import normalization
from seqface_jax.models.network import FaceNetwork, face_mask
from seqface_jax.reconstruct import Reconstructor, Rejection
from seqface_jax.reconstruction import demo_record
from tests.helpers import small_run
from tests.helpers.small_raw_tree import draw_face

FLAT = np.full((200, 200, 3), 128, np.uint8)


@pytest.fixture(scope='module')
def reconstructor(small_reconstructor):
    return small_reconstructor


def _photos(count=3, seed=0):
    rng = np.random.default_rng(seed)
    for index in range(count):
        photo = draw_face(200, 160, (80 + 2 * index, 100), 45, tone=10 * seed)
        noise = rng.integers(-8, 8, photo.shape)
        yield np.clip(photo.astype(int) + noise, 0, 255).astype(np.uint8)


def _stream(reconstructor, photos, state=None):
    state, face = state or reconstructor.initial_state(), None
    for photo in photos:
        state, face = reconstructor.update(state, photo)
    return state, face


def _two_people(left_x=80, right_x=240, tone=0):
    left = draw_face(200, 160, (left_x, 100), 45)
    return np.concatenate([left, draw_face(200, 160, (right_x - 160, 100), 40, tone=tone)], axis=1)


def test_streaming_photos_equals_the_network_on_their_crops(reconstructor):
    state, frames = reconstructor.initial_state(), []
    for photo in _photos():
        observation = reconstructor.examine(state, photo)
        state, face = reconstructor.update(state, photo, observation)
        frames.append(observation.frame)
        np.testing.assert_array_equal(frames[-1], reconstructor.crop(photo, state.detection))
    assert state.num_frames == 3 and frames[0].shape == (32, 32, 3)
    config, model, variables = small_run.make()
    inputs = normalization.normalize_frames(np.stack(frames)[None], config.data.normalization)
    whole = jax.jit(lambda x: model.apply(variables, x, train=False))(inputs)
    mask = face_mask(variables['constants'])
    whole = np.asarray(whole.position_map[0, -1])[mask]
    assert np.abs(face.vertices - whole).max() < 1e-5 * np.abs(whole).max()


def test_the_face_of_a_still_person_comes_to_rest():
    config, model, variables = small_run.make()
    params = dict(variables['params'])
    for name in ('measured', 'linear'):  # Evidence that shakes as no trained network's does.
        params[name] = jax.tree.map(lambda leaf: 15 * leaf, params[name])
    variables = variables | {'params': params}
    network = FaceNetwork(config, model, variables)
    step, state = jax.jit(network.step), network.initial_state(variables)
    rng, faces = np.random.default_rng(0), []
    still = rng.integers(40, 215, (1, 32, 32, 3))
    for _ in range(45):
        frame = still + rng.integers(-40, 41, still.shape)
        state, vertices, *_ = step(variables, state, frame.astype(np.uint8))
        faces.append(vertices)
    jitter = demo_record.jitter(np.stack(faces))
    assert jitter[0] > 0.15 and jitter[28:].max() < 0.05


def test_the_answer_is_a_mesh_with_confidence(reconstructor):
    _, face = _stream(reconstructor, _photos(1))
    count = len(face.vertices)
    assert face.vertices.shape == (count, 3) and face.vertices.dtype == np.float32
    assert face.triangles.min() == 0 and face.triangles.max() == count - 1
    assert face.confidence.shape == (count,)
    assert ((face.confidence > 0) & (face.confidence <= 1)).all()


def test_the_answer_tells_the_expression_of_the_photo_where_the_network_does(reconstructor):
    _, face = _stream(reconstructor, _photos(1))
    assert face.frame_vertices is None
    reconstructor = Reconstructor(*small_run.make(expression_size=2))
    state, face = _stream(reconstructor, _photos(1))
    assert face.frame_vertices.shape == face.vertices.shape
    apart = face.frame_vertices - face.vertices
    assert np.abs(apart).max() > 0.01
    along = (apart * face.vertices).sum(axis=1) / np.linalg.norm(face.vertices, axis=1)
    # Along rays.
    np.testing.assert_allclose(np.abs(along), np.linalg.norm(apart, axis=1), atol=1e-3)
    assert reconstructor.face(state).frame_vertices is None


def test_a_photo_without_a_face_changes_nothing_and_says_so(reconstructor):
    state, _ = _stream(reconstructor, _photos(1))
    after, face = reconstructor.update(state, FLAT)
    assert after is state and face is None
    observation = reconstructor.examine(state, FLAT)
    assert observation.rejection is Rejection.NO_FACE and observation.reason == 'no face found'


def test_a_blurred_photo_changes_nothing_and_says_so(reconstructor):
    state, _ = _stream(reconstructor, _photos(1))
    blurred = cv2.GaussianBlur(draw_face(200, 160, (80, 100), 45), (0, 0), 5)
    after, face = reconstructor.update(state, blurred)
    assert after is state and face is None
    observation = reconstructor.examine(state, blurred)
    assert observation.rejection is Rejection.BLURRED and 'sharpness 0.' in observation.reason


def test_without_a_least_sharpness_a_blurred_photo_is_used():
    lenient = Reconstructor(*small_run.make(), min_sharpness=0)
    blurred = cv2.GaussianBlur(draw_face(200, 160, (80, 100), 45), (0, 0), 5)
    assert lenient.examine(lenient.initial_state(), blurred).rejection is None


def test_the_state_does_not_grow(reconstructor):
    state, sizes = reconstructor.initial_state(), []
    for photo in _photos(4):
        state, _ = reconstructor.update(state, photo)
        sizes.append([leaf.shape for leaf in jax.tree.leaves(state.network)])
    assert all(size == sizes[0] for size in sizes)


def test_a_face_is_followed_and_so_often_searched_anew(reconstructor, monkeypatch):
    photo = next(_photos())
    detection = reconstructor.find_face(photo)
    searched = []
    find = reconstructor._detector.find
    monkeypatch.setattr(
        reconstructor._detector, 'find', lambda *args: searched.append(1) or find(*args)
    )
    for num_frames in range(1, reconstruct.SEARCH_EVERY + 1):
        assert reconstructor.find_face(photo, detection, num_frames) is not None
    assert len(searched) == 1
    far = np.full((200, 600, 3), 128, np.uint8)  # Gone from the old place: searched at once.
    far[:, 440:] = photo
    moved = reconstructor.find_face(far, detection, 1)
    assert len(searched) == 2 and moved.box[0] > 440


def test_the_network_is_compiled_once():
    # One of its own: tests that compile otherwise may have used the shared one.
    reconstructor = Reconstructor(*small_run.make())
    _stream(reconstructor, _photos(3))
    reconstructor.compile()
    assert reconstructor._step._cache_size() == 1


@pytest.mark.parametrize(
    'photo', [np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), FLAT[:0]]
)
def test_a_photo_of_another_type_is_refused(reconstructor, photo):
    with pytest.raises(UserError, match='uint8 RGB'):
        reconstructor.update(reconstructor.initial_state(), photo)
    with pytest.raises(UserError, match='uint8 RGB'):
        reconstructor.update_all(reconstructor.initial_people(), photo)


def test_a_workdir_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match='not the workdir of a run'):
        Reconstructor.restore(str(tmp_path))


def test_without_a_workdir_the_run_of_the_package_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, 'PRETRAINED', str(tmp_path))
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(UserError, match=f'{tmp_path}/config.json has no section'):
        Reconstructor.restore()
    monkeypatch.setattr(checkpoints, 'PRETRAINED', str(tmp_path / 'none'))
    with pytest.raises(UserError, match='no pretrained run in .*none: give the --workdir'):
        Reconstructor.restore()


def test_points_of_the_thesis_are_joined_into_a_mesh():
    old = Reconstructor(*small_run.make(target='points'))
    _, face = _stream(old, _photos(1))
    assert len(face.vertices) == 128**2 and len(face.triangles) > 10_000


def test_a_saved_state_goes_on_as_if_nothing_had_happened(reconstructor, tmp_path):
    first, second, third = _photos(3)
    state, _ = _stream(reconstructor, [first, second])
    path = str(tmp_path / 'state.npz')
    reconstructor.save_state(path, state)
    loaded = reconstructor.load_state(path)
    assert loaded.num_frames == 2 and loaded.detection.found_by == state.detection.found_by
    _, expected = reconstructor.update(state, third)
    _, face = reconstructor.update(loaded, third)
    np.testing.assert_array_equal(face.vertices, expected.vertices)


def test_the_state_before_the_first_photo_can_be_saved_too(reconstructor, tmp_path):
    path = str(tmp_path / 'state.npz')
    reconstructor.save_state(path, reconstructor.initial_state())
    assert reconstructor.load_state(path) == reconstructor.initial_state()


def test_the_state_of_another_network_is_refused(reconstructor, tmp_path):
    path = str(tmp_path / 'state.npz')
    state, _ = _stream(reconstructor, _photos(1))
    reconstructor.save_state(path, state)
    config, model, variables = small_run.make()
    other = jax.tree.map(lambda leaf: leaf * 1.001, variables)
    with pytest.raises(UserError, match='state.npz is of another network'):
        Reconstructor(config, model, other).load_state(path)


def test_a_network_that_cannot_join_states_or_answer_alone_says_so():
    config = bu4dfe_thesis.get_config()
    config.data.image_size = 32
    layers = ({'kind': 'conv_lstm', 'features': 2, 'stride': 8},)
    config.model.encoder = layers
    config.model.decoder = ({'kind': 'resize_conv', 'features': 3, 'stride': 2},)
    model = models.create(config.model, 32)
    shapes = jax.eval_shape(lambda: checkpoints.init_variables(model, 32, 0))
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    old = Reconstructor(config, model, variables)
    state = reconstruct.State({}, None, 1)
    with pytest.raises(UserError, match="network 'seqface' cannot join two states"):
        old.merge(state, state)
    with pytest.raises(UserError, match="network 'seqface' answers to a photo only"):
        old.face(state)


def test_a_state_holds_its_face(reconstructor):
    state, face = _stream(reconstructor, _photos(2))
    np.testing.assert_allclose(reconstructor.face(state).vertices, face.vertices, atol=1e-4)
    np.testing.assert_allclose(reconstructor.face(state).confidence, face.confidence, atol=1e-6)


def test_joined_states_answer_alike_in_any_order_and_nothing_seen_adds_nothing(reconstructor):
    first, _ = _stream(reconstructor, _photos(2))
    second, _ = _stream(reconstructor, _photos(1, seed=1))
    joined, turned = reconstructor.merge(first, second), reconstructor.merge(second, first)
    assert joined.num_frames == 3 and joined.detection is second.detection
    faces = [reconstructor.face(state).vertices for state in (joined, turned, first)]
    np.testing.assert_allclose(faces[0], faces[1], atol=1e-3)
    assert np.abs(faces[0] - faces[2]).max() > 1e-2
    blank = reconstructor.initial_state()
    assert reconstructor.merge(first, blank) is first
    assert reconstructor.merge(blank, first) is first
    blank = blank._replace(network=reconstructor._first())
    alone = reconstructor.face(reconstructor.merge(first, blank)).vertices
    np.testing.assert_allclose(alone, faces[2], atol=1e-4)


def test_more_evidence_in_a_joined_state_is_more_confidence(reconstructor):
    first, face = _stream(reconstructor, _photos(2))
    second, _ = _stream(reconstructor, _photos(1, seed=1))
    joined = reconstructor.face(reconstructor.merge(first, second))
    assert joined.confidence.mean() > face.confidence.mean()


def test_there_is_no_face_before_the_first_photo(reconstructor):
    with pytest.raises(UserError, match='no face yet'):
        reconstructor.face(reconstructor.initial_state())


def test_each_of_two_people_gets_the_face_that_they_get_alone(reconstructor):
    group, state = reconstructor.initial_people(), reconstructor.initial_state()
    for photo in (_two_people(), _two_people(84, 238)):
        observations = reconstructor.examine_all(group, photo)
        group, faces = reconstructor.update_all(group, photo)
        state, alone = reconstructor.update(state, photo, observations[1])
    assert sorted(faces) == [0, 1]
    assert [group.states[person].num_frames for person in (0, 1)] == [2, 2]
    assert group.states[0].detection.box[0] < 160 < group.states[1].detection.box[0]
    np.testing.assert_array_equal(alone.vertices, faces[1].vertices)


def test_who_leaves_keeps_their_state_and_goes_on_with_it(reconstructor):
    group = reconstructor.initial_people()
    group, _ = reconstructor.update_all(group, _two_people())
    alone = _two_people()
    alone[:, 160:] = 128
    kept = group.states[1]
    group, faces = reconstructor.update_all(group, alone)
    assert sorted(faces) == [0] and group.states[1] is kept and sorted(group.detections) == [0]
    group, faces = reconstructor.update_all(group, _two_people())
    assert sorted(group.states) == [0, 1] and group.states[1].num_frames == 2
    assert group.states[0].num_frames == 3


def test_who_is_blurred_or_absent_is_reported_under_their_number(reconstructor):
    group, _ = reconstructor.update_all(reconstructor.initial_people(), _two_people())
    photo = _two_people()
    photo[:, :160] = cv2.GaussianBlur(photo[:, :160], (0, 0), 5)
    photo[:, 160:] = 128
    observations = reconstructor.examine_all(group, photo)
    rejections = {person: entry.rejection for person, entry in observations.items()}
    assert rejections == {0: Rejection.BLURRED, 1: Rejection.NO_FACE}
    after, faces = reconstructor.update_all(group, photo, observations)
    assert not faces and all(after.states[person] is group.states[person] for person in (0, 1))
