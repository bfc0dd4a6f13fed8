import numpy as np
import pytest

from seqface_jax.evaluation import baselines
from seqface_jax.geometry import map_grid


def test_mean_face_averages_only_the_people_who_have_the_pixel():
    maps = np.array([[[[1.0, 2, 3]]], [[[3.0, 4, 5]]], [[[100.0, 100, 100]]]])
    masks = np.array([[[True]], [[True]], [[False]]])
    np.testing.assert_allclose(baselines.mean_face(maps, masks), [[[2, 3, 4]]])


def test_mean_face_is_finite_where_nobody_has_the_pixel():
    maps = np.array([[[[1.0, 2, 3]]], [[[3.0, 4, 5]]]])
    found = baselines.mean_face(maps, np.zeros((2, 1, 1), bool))
    np.testing.assert_allclose(found, [[[2, 3, 4]]])


def test_a_random_subject_is_never_the_subject_itself_and_is_drawn_alike():
    people = ['F001', 'F002', 'M001']
    for seed in range(20):
        drawn = baselines.random_subjects(people, people, seed=seed)
        assert (drawn != np.arange(3)).all()
        np.testing.assert_array_equal(drawn, baselines.random_subjects(people, people, seed=seed))


def test_a_training_split_of_nobody_else_raises():
    with pytest.raises(ValueError, match='nobody but F001'):
        baselines.random_subjects(['F001'], ['F001'], seed=0)


def test_the_oracle_finds_the_code_of_a_face_in_the_space_from_the_pixels_that_are_known():
    rng = np.random.default_rng(0)
    mean_map = rng.normal(0, 5, (8, 8, 3))
    masks = rng.random((2, 8, 8)) < 0.6
    radial = np.concatenate([rng.normal(size=(3, 8, 8)), np.zeros((1, 8, 8))])
    for basis in (rng.normal(size=(3, 8, 8, 3)), radial):  # The last direction says nothing.
        full = basis
        if basis.ndim == 3:
            full = basis[..., None] * map_grid.ray_directions(8)
        codes = rng.normal(size=(2, len(basis)))
        maps = mean_map + np.tensordot(codes, full, axes=1)
        spoilt = np.where(masks[..., None], maps, 1e3)
        np.testing.assert_allclose(
            baselines.oracle(mean_map, basis, spoilt, masks), maps, atol=1e-3
        )
