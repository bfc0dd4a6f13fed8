import numpy as np

from seqface_jax import face_regions, models, predict, scoring
from tests import bumpy_face


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
    answer = predict.to_answer(models.Prediction(face), ordered=True, mask=mask)
    found = scoring.score(subjects, 0, answer)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] < 1e-4
    assert found['ced_auc'] > 0.95 and found['coverage_90'] is None
    for name in scoring.REGIONS:
        assert all(0 <= value < 0.3 for value in found[name].values())
    assert scoring.error_mm(subjects, 0, answer) == found['vertex_mm']
    unordered = np.random.default_rng(0).permutation(face.reshape(-1, 3)).reshape(face.shape)
    answer = predict.to_answer(models.Prediction(unordered), ordered=False, mask=mask)
    found = scoring.score(subjects, 0, answer)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] is None


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
    found = scoring.score(subjects, 0, predict.to_answer(prediction, ordered=True, mask=mask))
    for name in scoring.REGIONS:
        worst = max(found[name], key=found[name].get)
        assert worst == 'cheeks' and found[name]['cheeks'] > 2 * found[name]['eyes']
    assert found['sigma_mm'] == 1 and 0.5 < found['coverage_90'] < 0.95
    flat = scoring.flatten(found)
    assert flat['region_vertex_mm_cheeks'] == found['region_vertex_mm']['cheeks']
    assert 'ced' not in flat and scoring.mean([found['region_vertex_mm']] * 2).keys() == set(
        face_regions.regions()
    )
