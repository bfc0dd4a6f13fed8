import jax
import numpy as np
import pytest

from seqface_jax import face_detection, input_pipeline, reconstruct
from seqface_jax.errors import UserError
from tests import evaluate_test
from tests.small_raw_tree import draw_face


def _draw():
    return draw_face(400, 320, (160, 200), 90)


@pytest.fixture(scope='module')
def workdir(tiny_records, tmp_path_factory):
    """Returns a run of untrained weights."""
    folder = tmp_path_factory.mktemp('runs') / 'small'
    evaluate_test.make_run(folder, tiny_records)
    return str(folder)


@pytest.fixture(scope='module')
def reconstructor(workdir):
    """Returns the Reconstructor of an untrained run."""
    return reconstruct.Reconstructor.restore(workdir)


def _photos(count=3):
    rng = np.random.default_rng(0)
    for _ in range(count):
        noise = rng.integers(-8, 8, _draw().shape)
        yield np.clip(_draw().astype(int) + noise, 0, 255).astype(np.uint8)


def test_streaming_photos_equals_the_network_on_their_crops(reconstructor, workdir):
    from seqface_jax import checkpoints

    state, frames = reconstructor.initial_state(), []
    for photo in _photos():
        state, face = reconstructor.update(state, photo)
        box = face_detection.crop_box(state.detection.box)
        frames.append(reconstructor.crop(photo, state.detection))
        assert frames[-1].shape == (32, 32, 3) and len(box) == 4
    assert state.num_frames == 3
    config, model, variables = checkpoints.load(workdir, 'best_validation')
    inputs = input_pipeline.normalize_frames(np.stack(frames)[None], config.data.normalization)
    whole = jax.jit(lambda x: model.apply(variables, x, train=False))(inputs)
    whole = whole.position_map[0, -1]
    mask = reconstruct.face_mask(variables['constants'])
    np.testing.assert_allclose(face.vertices, np.asarray(whole)[mask], atol=1e-3)


def test_the_answer_is_a_mesh_with_confidence(reconstructor):
    _, face = reconstructor.update(reconstructor.initial_state(), next(_photos()))
    count = len(face.vertices)
    assert face.vertices.shape == (count, 3) and face.vertices.dtype == np.float32
    assert face.triangles.min() == 0 and face.triangles.max() == count - 1
    assert face.confidence.shape == (count,)
    assert ((face.confidence > 0) & (face.confidence <= 1)).all()


def test_a_photo_without_a_face_changes_nothing(reconstructor):
    state, _ = reconstructor.update(reconstructor.initial_state(), next(_photos()))
    gray = np.full((200, 200, 3), 128, np.uint8)
    after, face = reconstructor.update(state._replace(detection=None), gray)
    assert face is None and after.num_frames == 1
    assert after.network is state.network


def test_the_state_does_not_grow(reconstructor):
    state, sizes = reconstructor.initial_state(), []
    for photo in _photos(4):
        state, _ = reconstructor.update(state, photo)
        sizes.append([leaf.shape for leaf in jax.tree.leaves(state.network)])
    assert all(size == sizes[0] for size in sizes)


def test_a_photo_of_another_type_is_refused(reconstructor):
    with pytest.raises(UserError, match='uint8 RGB'):
        reconstructor.update(reconstructor.initial_state(), np.zeros((64, 64, 3), np.float32))


def test_a_workdir_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match='not the workdir of a run'):
        reconstruct.Reconstructor.restore(str(tmp_path))


def test_points_of_the_thesis_are_joined_into_a_mesh(tiny_records, tmp_path):
    evaluate_test.make_run(tmp_path / 'points', tiny_records, target='points')
    old = reconstruct.Reconstructor.restore(str(tmp_path / 'points'), 'best_training')
    _, face = old.update(old.initial_state(), next(_photos()))
    assert len(face.vertices) == 128**2 and len(face.triangles) > 10_000
