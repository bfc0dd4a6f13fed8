import numpy as np

from seqface_jax.reconstruction import demo_record


def test_jitter_of_a_jump_by_3_4_mm_is_5_then_10_then_5():
    faces = np.zeros((5, 2, 3))
    faces[2] = [3, 4, 0]
    np.testing.assert_allclose(demo_record.jitter(faces), [5, 10, 5])


def test_steady_motion_has_no_jitter():
    steady = np.random.default_rng(0).normal(0, 50, (1, 40, 3)) + 2 * np.arange(6)[:, None, None]
    np.testing.assert_allclose(demo_record.jitter(steady), 0, atol=1e-12)
