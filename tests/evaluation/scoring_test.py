import numpy as np

from seqface_jax import models
from seqface_jax.evaluation import reported_metrics, scoring, streaming
from seqface_jax.evaluation.answer_and_truth import AnswerAndTruth
from seqface_jax.geometry import face_regions
from tests.helpers import bumpy_face

_REGIONS = [metric.name for metric in reported_metrics.REGIONS]


def test_a_perfect_answer_scores_the_noise_of_the_scan():
    face = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(face)
    subjects = scoring.Subjects(
        ['F001'],
        [bumpy_face.scan_of(face)],
        bumpy_face.sample(face, 16384)[None],
        face[None],
        mask[None],
        [np.arange(1)],
    )
    answer = streaming.to_answer(models.Prediction(face), ordered=True, mask=mask)
    found = scoring.score(subjects, 0, answer)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] < 1e-4
    assert found['ced_auc'] > 0.95 and found['coverage_90'] is None
    for name in _REGIONS:
        assert all(0 <= value < 0.3 for value in found[name].values())
    assert scoring.error_mm(subjects, 0, answer) == found['vertex_mm']
    unordered = np.random.default_rng(0).permutation(face.reshape(-1, 3)).reshape(face.shape)
    answer = streaming.to_answer(models.Prediction(unordered), ordered=False, mask=mask)
    found = scoring.score(subjects, 0, answer)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] is None


def test_the_face_of_a_frame_is_compared_with_that_frame_and_a_neutral_one_stands_in():
    neutral = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(neutral)
    smiling = np.where(face_regions.regions()['mouth'][..., None], 1.05 * neutral, neutral)
    frames = [(smiling, mask), (neutral, np.zeros_like(mask))]  # The second has no map.
    scan = bumpy_face.scan_of(neutral)
    subjects = scoring.Subjects(['F001'], [scan], None, neutral[None], mask[None], [np.arange(1)])

    def frame_mm(prediction, frames, ordered=True):
        answer = streaming.to_answer(prediction, ordered=ordered, mask=mask)
        return reported_metrics.frame_mm(AnswerAndTruth(subjects, 0, answer, frames))

    assert frame_mm(models.Prediction(neutral, frame_map=smiling), frames) < 1e-4
    assert frame_mm(models.Prediction(neutral), frames) > 0.1
    half = models.Prediction(neutral[::2, ::2], frame_map=smiling[::2, ::2])
    assert frame_mm(half, frames) < 1e-4
    assert frame_mm(models.Prediction(neutral), frames[1:]) is None
    assert frame_mm(models.Prediction(neutral), frames, ordered=False) is None


def test_a_dent_in_the_cheeks_shows_in_their_region_only():
    face = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(face)
    subjects = scoring.Subjects(
        ['F001'],
        [bumpy_face.scan_of(face)],
        bumpy_face.sample(face, 500)[None],
        face[None],
        mask[None],
        [np.arange(1)],
    )
    cheeks = face_regions.regions()['cheeks']
    dented = np.where(cheeks[..., None], 0.96 * face, face)
    prediction = models.Prediction(dented, np.zeros(face.shape[:2]))
    found = scoring.score(subjects, 0, streaming.to_answer(prediction, ordered=True, mask=mask))
    for name in _REGIONS:
        worst = max(found[name], key=found[name].get)
        assert worst == 'cheeks' and found[name]['cheeks'] > 2 * found[name]['eyes']
    assert found['sigma_mm'] == 1 and 0.5 < found['coverage_90'] < 0.95
    flat = scoring.flatten(found)
    assert flat['region_vertex_mm_cheeks'] == found['region_vertex_mm']['cheeks']
    assert 'ced' not in flat and scoring.mean([found['region_vertex_mm']] * 2).keys() == set(
        face_regions.regions()
    )
