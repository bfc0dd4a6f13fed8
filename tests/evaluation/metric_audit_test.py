"""What each number says of answers that ought to fail, so that nobody trusts one it can fool.

Every answer is scored as an evaluation scores it. What the tests below show:

| answer | nme_thesis | scan_to_mesh_mm | mesh_to_scan_mm | coverage | vertex_mm |
|---|---|---|---|---|---|
| another sampling of the truth | floor, never 0 | right | right | right | - |
| collapsed to a point | fooled: perfect | tells | fooled or nothing | tells | tells |
| the mean face | tells little | tells | tells | fooled | tells |
| another person | tells | tells | tells | fooled | tells |
| scaled by 1.1 | tells little | tells | tells | - | tells |
| a half is missing | fooled | tells | fooled | tells | - |
| a tangle about the truth | tells | fooled | tells | fooled | tells |
"""

import functools

import numpy as np

from seqface_jax import models
from seqface_jax.evaluation import metrics, scoring, streaming
from tests.helpers import bumpy_face

SIDE = 64
NUM_POINTS = 4096
CASES = ('right', 'collapsed', 'mean', 'swapped', 'scaled', 'half', 'tangle')


@functools.cache
def _face(seed):
    return bumpy_face.position_map_of(seed, SIDE)


def _answer(case, seed):
    """Returns the answer of a case about person `seed`, and the pixels it has."""
    face = _face(seed)
    mask = bumpy_face.mask_of(face)
    if case == 'half':
        mask[:, SIDE // 2 :] = False
    answers = {
        'right': face,
        'collapsed': np.zeros_like(face) + [3.0, 4.0, 5.0],
        'mean': np.mean([_face(other) for other in range(100, 120)], axis=0),
        'swapped': _face(seed + 1),
        'scaled': 1.1 * face,
        'half': face,
        'tangle': face + np.random.default_rng(0).normal(0, 4, face.shape),
    }
    return answers[case], mask


@functools.cache
def scores(case, seed=0):
    """Returns what scoring.score says of a case about person `seed`."""
    face = _face(seed)
    subjects = scoring.Subjects(
        ['F001'],
        [bumpy_face.scan_of(face)],
        bumpy_face.sample(face, NUM_POINTS)[None],
        face[None],
        bumpy_face.mask_of(face)[None],
        [np.arange(1)],
    )
    answer, mask = _answer(case, seed)
    answer = streaming.to_answer(models.Prediction(answer), ordered=True, mask=mask)
    return scoring.score(subjects, 0, answer)


def _mean(case, name, seeds=(0, 1)):
    values = [scores(case, seed)[name] for seed in seeds]
    return np.mean([value.mean if isinstance(value, tuple) else value for value in values])


def test_a_right_answer_scores_the_noise_of_the_scan():
    right = scores('right')
    assert right['scan_to_mesh_mm'].mean < 0.3 and right['mesh_to_scan_mm'].mean < 0.3
    assert right['coverage'] > 0.9 and right['vertex_mm'] < 1e-4 and right['ced_auc'] > 0.93


def test_nme_thesis_has_a_floor_that_depends_on_the_number_of_points_alone():
    perfect = bumpy_face.sample(_face(0), 16384, seed=1)
    floor = metrics.nme_thesis(perfect, bumpy_face.sample(_face(0), 16384))
    assert 0.001 < floor < 0.004  # The very same surface: 0.0034 was the thesis's best figure.
    fewer = metrics.nme_thesis(perfect[::4], bumpy_face.sample(_face(0), 4096))
    np.testing.assert_allclose(fewer / floor, 2, rtol=0.15)  # Spacing goes with 1 / sqrt(points).


def test_a_collapsed_answer_wins_by_nme_thesis_and_loses_by_the_surface_and_the_vertices():
    collapsed = scores('collapsed')
    assert collapsed['nme_thesis'] < 1e-5 < scores('right')['nme_thesis']
    mesh_to_scan = collapsed['mesh_to_scan_mm']
    assert mesh_to_scan is None or mesh_to_scan.std < 1e-6  # One point: it says nothing.
    assert collapsed['scan_to_mesh_mm'].mean > 30 and collapsed['coverage'] == 0
    assert collapsed['vertex_mm'] > 30 and collapsed['ced_auc'] < 0.01


def test_a_constant_mean_face_beats_the_thesis_by_nme_thesis_and_is_told_by_every_mm():
    assert _mean('mean', 'nme_thesis') < 0.0156  # The thesis's best figure on people never seen.
    assert _mean('mean', 'nme_thesis') < 3 * _mean('right', 'nme_thesis')
    for name in ('scan_to_mesh_mm', 'mesh_to_scan_mm'):
        assert _mean('mean', name) > 2 * _mean('right', name)
    assert _mean('mean', 'vertex_mm') > 0.4


def test_a_swapped_subject_is_worse_than_the_mean_face_by_all_but_coverage():
    for name in ('nme_thesis', 'scan_to_mesh_mm', 'mesh_to_scan_mm', 'vertex_mm'):
        assert _mean('swapped', name) > _mean('mean', name)
    assert _mean('swapped', 'ced_auc') < _mean('mean', 'ced_auc')
    assert _mean('swapped', 'coverage') > 0.97  # Any whole face is within 5 mm: it asks no more.


def test_no_mm_forgives_a_face_scaled_by_a_tenth_and_nme_thesis_nearly_does():
    right, scaled = scores('right'), scores('scaled')
    for name in ('scan_to_mesh_mm', 'mesh_to_scan_mm'):
        assert scaled[name].mean > 4 * right[name].mean
    assert scaled['vertex_mm'] > 3
    assert right['nme_thesis'] < scaled['nme_thesis'] < 4 * right['nme_thesis']


def test_a_missing_half_shows_in_coverage_and_scan_to_mesh_only():
    right, half = scores('right'), scores('half')
    assert half['scan_to_mesh_mm'].mean > 10 and 0.4 < half['coverage'] < 0.6
    assert half['ced_auc'] < 0.7
    assert half['mesh_to_scan_mm'].mean < 0.3  # It forgives whatever is missing ...
    assert half['nme_thesis'] < 1.5 * right['nme_thesis']  # ... and so does the thesis's metric.


def test_a_tangle_shows_in_mesh_to_scan_and_vertices_only():
    tangle = scores('tangle')
    assert tangle['scan_to_mesh_mm'].mean < 1.5 and tangle['coverage'] > 0.9  # A sheet is near.
    assert tangle['mesh_to_scan_mm'].mean > 2 and tangle['vertex_mm'] > 4


def test_the_numbers_that_no_answer_here_fools_together():
    """scan_to_mesh_mm and mesh_to_scan_mm: whatever is wrong shows in one of the two."""
    names = ('scan_to_mesh_mm', 'mesh_to_scan_mm')
    for case in CASES[1:]:
        worst = 0.0
        for name in names:
            value = scores(case)[name]
            worst = max(worst, value.mean / scores('right')[name].mean if value else 0.0)
        assert worst > 2, case
