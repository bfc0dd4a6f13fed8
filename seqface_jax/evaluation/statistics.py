"""How sure a mean over subjects is: bootstrap intervals and a paired test."""

import numpy as np
from scipy import stats

# Resamples of the subjects; also random sign patterns, where all of them would be more: beyond
# 13 subjects.
_RESAMPLES = 10_000


def bootstrap_interval(values, *, seed=0, confidence=0.95):
    """Computes the percentile bootstrap interval of the mean; the subjects are resampled.

    Efron, 1979.

    Args:
        values: [N], one per subject.
        seed: of the resampling.
        confidence: share that the interval holds.

    Returns:
        (low, high) floats; None for fewer than two subjects.
    """
    if len(values) < 2:
        return None
    return _interval([values], np.mean, seed, confidence)


def paired_p_value(values, reference, *, seed=0):
    """Tests whether two conditions differ over the same subjects; two-sided sign-flip test.

    If the condition made no difference, each subject's difference could as well have had the other
    sign: the p-value is the share of sign patterns whose mean difference is at least as large as
    the one seen. All patterns up to 13 subjects, 10000 random ones (plus the one seen) beyond.

    Args:
        values: [N], one per subject.
        reference: [N], same subjects, same order.
        seed: of the random patterns.

    Returns:
        float in (0, 1]; None for fewer than two subjects.

    Raises:
        ValueError: the lengths differ.
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.shape != reference.shape:
        raise ValueError(f'{len(values)} values cannot be paired with {len(reference)}')
    if len(values) < 2:
        return None
    tested = stats.permutation_test(
        [values - reference],
        np.mean,
        permutation_type='samples',
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(tested.pvalue)


def compare(values, reference, *, seed=0):
    """Compares two conditions over the same subjects.

    Args:
        values, reference: [N], one per subject, in the same order.
        seed: of the bootstrap and of the test.

    Returns:
        dict of the mean `difference` values - reference, its 95 % interval `difference_low` and
        `difference_high`, `share`, the difference over the mean of reference, and `p_value`
        (`paired_p_value`). Interval and p are None for fewer than two subjects.
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    p_value = paired_p_value(values, reference, seed=seed)
    difference = values - reference
    low, high = bootstrap_interval(difference, seed=seed) or (None, None)
    mean = float(reference.mean())
    return {
        'difference': float(difference.mean()),
        'difference_low': low,
        'difference_high': high,
        'share': float(difference.mean()) / mean if mean else None,
        'p_value': p_value,
    }


def gap_interval(values, others, *, seed=0, confidence=0.95):
    """Computes the bootstrap interval of mean(values) - mean(others), of different subjects.

    Returns:
        (low, high) floats; None if either has fewer than two subjects.
    """
    if min(len(values), len(others)) < 2:
        return None
    return _interval([values, others], _gap, seed, confidence)


def _gap(values, others, axis):
    return values.mean(axis) - others.mean(axis)


def _interval(samples, statistic, seed, confidence):
    """Returns the percentile interval of a statistic of samples, each resampled by itself."""
    found = stats.bootstrap(
        [np.asarray(sample, np.float64) for sample in samples],
        statistic,
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=confidence,
        method='percentile',
        rng=np.random.default_rng(seed),
    )
    return tuple(map(float, found.confidence_interval))
