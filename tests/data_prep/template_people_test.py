import numpy as np
import pytest

from data_prep.synthetic import head, template_people
from seqface_jax.errors import UserError

_NAMES = ('macrodetails/african-female-young', 'nose/nose-hump-decr', 'nose/nose-hump-incr')
_LEFT_EYE = (31.5, 36.0)


def _arrays():
    """Returns a made-up file: the embedded head's grid, and smooth fields."""
    grid = head.mean_head().grid[::4, ::4]
    mean = grid.reshape(-1, 3).astype(np.float32)
    triangles = head.grid_triangles(*grid.shape[:2])
    fields = np.stack([np.cos((mean + 20 * k) / 50.0) for k in range(3)]).astype(np.float32)

    def around(x, y):
        away = np.hypot(mean[:, 0] - x, mean[:, 1] - y) + 200 * (mean[:, 2] < 0)
        return np.argsort(away)[:6]

    landmarks = np.full(68, np.argmax(mean[:, 2]))
    x, y = _LEFT_EYE
    arrays = {
        'template_mean': mean,
        'template_triangles': triangles,
        'template_landmarks': landmarks,
        'template_pockets': np.zeros(len(mean), bool),
        'left_eye_rim': around(x, y),
        'right_eye_rim': around(-x, y),
        'ict_identity': fields,
        'embedded_mean': mean + 1,
        'embedded_identity': fields,
        'embedded_names': np.array(['head_width', 'no_such_field', 'face_length']),
        'makehuman_mean': mean - 1,
        'makehuman_deltas': fields.astype(np.float16),
        'makehuman_names': np.array(_NAMES),
        'makehuman_largest': np.ones(3),
        'makehuman_mean_weights': np.array([0.2, 0.0, 0.0]),
    }
    return arrays


@pytest.fixture(name='path', scope='module')
def _path(tmp_path_factory):
    path = tmp_path_factory.mktemp('people') / 'kinds.npz'
    np.savez(path, **_arrays())
    return path


@pytest.mark.parametrize('name', template_people.kinds())
def test_a_person_has_the_templates_vertices_and_repeats_with_its_seed(path, name):
    kind = template_people.load_kind(name, path, deformation_mm=3.0)
    person = kind.sample(np.random.default_rng(3))
    assert person.shape == kind.mean.shape and person.dtype == np.float32
    np.testing.assert_array_equal(person, kind.sample(np.random.default_rng(3)))
    assert np.abs(person - kind.sample(np.random.default_rng(4))).max() > 0.1


def test_a_kind_held_out_is_not_loaded(tmp_path):
    arrays = {k: v for k, v in _arrays().items() if not k.startswith('makehuman')}
    np.savez(tmp_path / 'kinds.npz', **arrays)
    found = template_people.load_kinds(tmp_path / 'kinds.npz', held_out=['makehuman'])
    assert [kind.name for kind in found] == ['ict', 'embedded']


def test_a_kind_that_the_file_lacks_is_refused(tmp_path):
    arrays = {k: v for k, v in _arrays().items() if not k.startswith('makehuman')}
    np.savez(tmp_path / 'kinds.npz', **arrays)
    with pytest.raises(UserError, match='kind makehuman'):
        template_people.load_kind('makehuman', tmp_path / 'kinds.npz')


def test_an_unknown_kind_is_refused(path):
    with pytest.raises(ValueError, match='the kinds are ict, makehuman, embedded'):
        template_people.load_kind('marble', path)


def test_the_frame_takes_a_motion_out_and_keeps_the_size(path):
    kind = template_people.load_kind('ict', path)
    turn = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    back = kind._frame.align(kind.mean @ turn.T + [5.0, 6.0, 7.0])  # noqa: SLF001
    np.testing.assert_allclose(back, kind.mean, atol=1e-3)
    larger = kind._frame.align(1.1 * kind.mean)  # noqa: SLF001
    np.testing.assert_allclose(np.ptp(larger, axis=0), 1.1 * np.ptp(kind.mean, axis=0), rtol=0.01)


def test_smooth_fields_change_the_shape_but_carry_an_eye_as_one(path):
    kind = template_people.load_kind('ict', path, deformation_mm=3.0)
    plain = kind.person(np.zeros(3))
    moved = kind.person(np.zeros(3), np.random.default_rng(0))
    assert np.linalg.norm(moved - plain, axis=1).max() > 0.5
    eye = _arrays()['left_eye_rim']
    distances = [np.linalg.norm(x[eye][:, None] - x[eye][None], axis=2) for x in (plain, moved)]
    np.testing.assert_allclose(*distances, atol=0.35)
