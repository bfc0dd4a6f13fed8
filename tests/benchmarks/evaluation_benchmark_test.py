import numpy as np

from benchmarks import evaluation


def test_every_way_of_the_benchmark_finds_the_same_number():
    predicted, target = (points[::40] for points in evaluation.clouds())
    error, whole = evaluation.ways().values()
    expected = error['ours: one SciPy query for all'](predicted, target)
    found = error['thesis: one SciPy query a point'](predicted, target)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    expected = whole['ours: metrics.nme_thesis'](predicted, target)
    found = whole['thesis: ICP, one SciPy query a point'](predicted, target)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_table_gives_medians_and_ratios_over_the_first_way():
    found = {'slow': (0.25, [3.0, 2.0, 1.0], [2.0]), 'quick': (0.25, [0.5], [0.02])}
    lines = evaluation.table('error', found).splitlines()
    assert lines[2] == '| slow | 0.250000000 | 2000.0 | 2000.0 | 1.0 |'
    assert lines[3] == '| quick | 0.250000000 | 20.0 | 500.0 | 100.0 |'
