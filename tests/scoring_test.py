import numpy as np

from seqface_jax import models, predict, scoring
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
    unordered = np.random.default_rng(0).permutation(face.reshape(-1, 3)).reshape(face.shape)
    answer = predict.to_answer(models.Prediction(unordered), ordered=False, mask=mask)
    found = scoring.score(subjects, 0, answer)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] is None
