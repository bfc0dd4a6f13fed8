import numpy as np
import pytest

from data_prep.synthetic import makehuman
from seqface_jax.errors import UserError

_MACROS = tuple(
    f'macrodetails/{race}-{sex}-{age}'
    for race in ('african', 'asian', 'caucasian')
    for sex in ('female', 'male')
    for age in ('baby', 'child', 'young', 'old')
)
_UNIVERSAL = tuple(
    f'macrodetails/universal-{sex}-{age}-{muscle}muscle-{weight}weight'
    for sex in ('female', 'male')
    for age in ('child', 'young', 'old')
    for muscle in ('min', 'average', 'max')
    for weight in ('min', 'average', 'max')
)
_DETAILS = (
    'nose/nose-hump-decr', 'nose/nose-hump-incr', 'eyes/l-eye-trans-in', 'eyes/l-eye-trans-out',
    'eyes/r-eye-trans-in', 'eyes/r-eye-trans-out', 'head/head-oval', 'asym/asym-jaw-1-l',
    'asym/asym-jaw-1-r', 'nose/nose-compression-compress', 'nose/nose-compression-uncompress',
    'expression/mouth-open', 'head/head-trans-up', 'neck/neck-trans-up',
)  # fmt: skip
_NAMES = _MACROS + _UNIVERSAL + _DETAILS


def _people(count, seed=0):
    rng = np.random.default_rng(seed)
    largest = np.full(len(_NAMES), 10.0)
    return np.stack([makehuman.sample_weights(_NAMES, largest, rng) for _ in range(count)])


def test_people_are_adults():
    weights = _people(50)
    young = [k for k, name in enumerate(_NAMES) if '-baby' in name or '-child' in name]
    assert not weights[:, young].any()


def test_races_sexes_and_ages_share_a_weight_of_1():
    weights = _people(20)
    np.testing.assert_allclose(weights[:, : len(_MACROS)].sum(axis=1), 1.0)
    universal = weights[:, len(_MACROS) : len(_MACROS) + len(_UNIVERSAL)]
    np.testing.assert_allclose(universal.sum(axis=1), 1.0)


def test_a_woman_of_57_years_is_half_old():
    weights = makehuman.macro_weights(_NAMES, [1.0, 0.0, 0.0], 0.0, 57.5, 0.5, 0.5)
    found = {name: w for name, w in zip(_NAMES, weights, strict=True) if w}
    assert found == {
        'macrodetails/african-female-young': 0.5,
        'macrodetails/african-female-old': 0.5,
        'macrodetails/universal-female-young-averagemuscle-averageweight': 0.5,
        'macrodetails/universal-female-old-averagemuscle-averageweight': 0.5,
    }


def test_a_child_is_refused():
    with pytest.raises(ValueError, match='adult'):
        makehuman.macro_weights(_NAMES, [1.0, 0.0, 0.0], 0.0, 12.0, 0.5, 0.5)


def test_a_seed_repeats_its_person():
    np.testing.assert_array_equal(_people(3, seed=5), _people(3, seed=5))
    assert np.abs(_people(1, seed=5) - _people(1, seed=6)).max() > 0


def test_the_two_ends_of_a_slider_are_never_both_used():
    weights = dict(zip(_NAMES, _people(100).T, strict=True))
    for low, high in (
        ('nose/nose-hump-decr', 'nose/nose-hump-incr'),
        ('eyes/l-eye-trans-in', 'eyes/l-eye-trans-out'),
        ('asym/asym-jaw-1-l', 'asym/asym-jaw-1-r'),
        ('nose/nose-compression-compress', 'nose/nose-compression-uncompress'),
    ):
        assert not (weights[low] * weights[high]).any()
        assert weights[low].any() and weights[high].any()


def test_left_and_right_are_nearly_alike():
    weights = dict(zip(_NAMES, _people(300).T, strict=True))
    left, right = (
        weights[f'eyes/{side}-eye-trans-out'] - weights[f'eyes/{side}-eye-trans-in']
        for side in 'lr'
    )
    assert 0.7 < np.corrcoef(left, right)[0, 1] < 0.99


def test_expressions_and_moves_of_the_whole_head_are_not_drawn():
    weights = dict(zip(_NAMES, _people(20).T, strict=True))
    for name in ('expression/mouth-open', 'head/head-trans-up', 'neck/neck-trans-up'):
        assert not weights[name].any()


def test_a_file_that_is_no_head_is_refused(tmp_path):
    np.savez(tmp_path / 'head.npz', vertices=np.zeros((3, 3)))
    with pytest.raises(UserError, match='no head of MakeHuman'):
        makehuman.read(tmp_path)


def test_reading_gives_a_person_as_base_and_weighted_targets(tmp_path):
    deltas = np.arange(2 * 3 * 3).reshape(2, 3, 3).astype(np.float16)
    np.savez(
        tmp_path / 'head.npz',
        vertices=np.ones((3, 3), np.float32),
        triangles=np.array([[0, 1, 2]]),
        deltas=deltas,
        names=np.array(['nose/nose-hump-decr', 'nose/nose-hump-incr']),
    )
    model = makehuman.read(tmp_path)
    np.testing.assert_allclose(model.vertices([0.5, 2.0]), 1 + 0.5 * deltas[0] + 2.0 * deltas[1])
