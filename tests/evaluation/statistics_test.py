import numpy as np
import pytest

from seqface_jax.evaluation import statistics


def test_an_interval_of_equal_values_has_no_width():
    assert statistics.bootstrap_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_an_interval_of_many_normal_values_is_1_96_standard_errors_either_way():
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = statistics.bootstrap_interval(values)
    expected = 1.96 * values.std() / 20
    np.testing.assert_allclose([values.mean() - low, high - values.mean()], expected, rtol=0.05)


def test_one_subject_has_no_interval_and_no_p_value():
    assert statistics.bootstrap_interval([1.0]) is None
    assert statistics.paired_p_value([1.0], [2.0]) is None


def test_the_p_value_of_five_equal_signs_is_two_of_32_patterns():
    found = statistics.paired_p_value([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    np.testing.assert_allclose(found, 2 / 32)


def test_the_p_value_of_no_difference_is_one():
    np.testing.assert_allclose(statistics.paired_p_value([1, 2, 3], [1, 2, 3]), 1)


def test_the_p_value_of_many_subjects_agrees_with_a_t_test():
    rng = np.random.default_rng(1)
    reference = rng.normal(3, 1, 40)
    values = reference + rng.normal(-0.3, 1, 40)
    from scipy import stats

    expected = stats.ttest_rel(values, reference).pvalue
    np.testing.assert_allclose(statistics.paired_p_value(values, reference), expected, atol=0.015)


def test_unpaired_values_raise():
    with pytest.raises(ValueError, match='paired'):
        statistics.paired_p_value([1, 2], [1, 2, 3])


def test_a_comparison_tells_the_mean_difference_and_its_share():
    found = statistics.compare([1.0, 2, 3], [2.0, 3, 4])
    np.testing.assert_allclose([found['difference'], found['share']], [-1, -1 / 3])
    assert (found['difference_low'], found['difference_high']) == (-1, -1)
    assert statistics.compare([1.0], [2.0])['p_value'] is None


def test_the_interval_of_a_gap_adds_both_variances():
    rng = np.random.default_rng(0)
    values, others = rng.normal(5, 1, 300), rng.normal(3, 2, 200)
    low, high = statistics.gap_interval(values, others)
    expected = 2 * 1.96 * np.hypot(values.std() / np.sqrt(300), others.std() / np.sqrt(200))
    np.testing.assert_allclose(high - low, expected, rtol=0.05)
    assert statistics.gap_interval([1.0], others) is None
