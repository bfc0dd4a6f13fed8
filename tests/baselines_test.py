import numpy as np
import pytest

from seqface_jax import baselines


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
