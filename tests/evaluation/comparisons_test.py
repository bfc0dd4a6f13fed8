import numpy as np

from seqface_jax.evaluation import comparisons, metrics
from seqface_jax.evaluation.rows import Scored

TRUE = (4.0, 2.0, 3.0, 1.0, 5.0, 3.0)  # mm, the errors of six subjects after one frame.


def _scored(model, num_frames, errors, *, split='test', of=None, checkpoint='best_validation'):
    row = {'model': model, 'of': of, 'checkpoint': checkpoint, 'split': split}
    row |= {'num_frames': num_frames}
    summaries = [metrics.Summary(error, error, 0.0, error) for error in errors]
    scores = [
        {'vertex_mm': error, 'scan_to_mesh_mm': summary, 'nme_thesis': error / 200}
        for error, summary in zip(errors, summaries, strict=True)
    ]
    return Scored(row, scores)


def test_curves_pair_each_number_of_frames_with_the_one_before_and_with_the_first():
    errors = np.array(TRUE)
    scored = [_scored('ours', 4, errors / 4), _scored('ours', 1, errors)]
    scored += [_scored('ours', 2, errors / 2), _scored('mean_face', None, errors)]
    curves = comparisons.over_frames(scored, seed=0)
    one, two, four = [own for own in curves if own['metric'] == 'vertex_mm']
    assert [own['num_frames'] for own in (one, two, four)] == [1, 2, 4]
    assert one['change'] is None and one['from_first_share'] is None
    np.testing.assert_allclose([two['change'], four['change']], [-1.5, -0.75])
    np.testing.assert_allclose([two['from_first_share'], four['from_first_share']], [-0.5, -0.75])
    assert two['change_low'] < -1.5 < two['change_high'] < 0
    np.testing.assert_allclose(two['change_p'], 2 / 2**6)  # All six signs alike, or all turned.
    assert {own['metric'] for own in curves} == set(comparisons.CURVE_METRICS)


def test_runs_are_compared_with_their_own_derived_rows_and_once_with_each_other():
    errors = np.array(TRUE)
    scored = [_scored('a', 2, errors), _scored('averaged_single_frames', 2, errors + 1, of='a')]
    scored += [_scored('b', 2, errors + 2), _scored('averaged_single_frames', 2, errors, of='b')]
    scored += [_scored('a', 4, errors), _scored('a', 2, errors, split='train')]
    scored += [_scored('oracle', None, errors, of='a')]
    found = {
        (own['first'], own['second']): own['difference']
        for own in comparisons.between(scored, seed=0)
    }
    expected = {('a', 'averaged_single_frames'): -1, ('a', 'b'): -2}
    assert found == expected | {('b', 'averaged_single_frames'): 2}


def test_the_gap_of_seen_and_unseen_people_is_a_share_of_the_unseen_error():
    errors = np.array(TRUE)
    scored = [_scored('ours', 8, errors[:4], split='train'), _scored('ours', 8, errors + 2)]
    scored.append(_scored('ours', 8, errors, checkpoint='best_training'))
    (gap,) = comparisons.seen_and_unseen(scored, seed=0)
    np.testing.assert_allclose([gap['seen'], gap['unseen'], gap['gap']], [2.5, 5, 2.5])
    np.testing.assert_allclose(gap['share'], 0.5)
    assert gap['gap_low'] < 2.5 < gap['gap_high']


def test_a_metric_that_is_not_known_of_everybody_makes_no_curve():
    scored = _scored('ours', 1, TRUE)
    scored.scores[2]['vertex_mm'] = None
    names = {own['metric'] for own in comparisons.over_frames([scored], seed=0)}
    assert names == {'scan_to_mesh_mm', 'nme_thesis'}
