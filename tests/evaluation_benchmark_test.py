import numpy as np

from benchmarks import evaluation


def test_every_way_of_the_benchmark_finds_the_same_number():
    rng = np.random.default_rng(0)
    predicted, target = (points[::40] for points in evaluation.clouds())
    predicted = predicted[rng.permutation(len(predicted))]
    ways = evaluation.ways()
    expected = ways['SciPy, batched queries'](predicted, target)
    for name in ('thesis, one SciPy query a point', 'ours, metrics.nme_thesis'):
        np.testing.assert_allclose(ways[name](predicted, target), expected, rtol=1e-9)


def test_the_table_gives_medians_and_ratios_over_the_first_way():
    found = {'slow': (0.25, [3.0, 2.0, 1.0], [2.0]), 'quick': (0.25, [0.5], [0.02])}
    lines = evaluation.table(found).splitlines()
    assert lines[2] == '| slow | 0.250000000 | 2000.0 | 2000.0 | 1.0 | 1.0 |'
    assert lines[3] == '| quick | 0.250000000 | 500.0 | 20.0 | 4.0 | 100.0 |'
