"""The run that comes with the package works right after installation."""

import os

import numpy as np
from skimage import data

from seqface_jax import checkpoints


def test_it_finds_a_plausible_face_in_a_real_photograph(packaged):
    state, face = packaged.update(packaged.initial_state(), data.astronaut())
    assert state.num_frames == 1
    width, height, depth = np.ptp(face.vertices, axis=0)
    assert 130 < width < 210 and 200 < height < 330 and 100 < depth < 230  # mm, with ears and neck.
    nose_tip = face.vertices[face.vertices[:, 2].argmax()]
    assert abs(nose_tip[0]) < 6
    assert 0.1 < face.confidence.mean() < 0.9
    assert face.frame.score > 0.9


def test_its_checkpoint_fits_its_config():
    config, model, variables = checkpoints.load(checkpoints.pretrained(), 'best_validation')
    assert checkpoints.fits(model, config.data.image_size, variables)


def test_more_frames_make_it_surer(packaged):
    state, first = packaged.update(packaged.initial_state(), data.astronaut())
    _, second = packaged.update(state, np.ascontiguousarray(data.astronaut()[:, ::-1]))
    assert second.confidence.mean() > first.confidence.mean()


def test_it_is_at_most_20_mb_and_has_a_card():
    files = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(checkpoints.pretrained())
        for name in names
    ]
    assert sum(os.path.getsize(path) for path in files) < 20e6
    assert os.path.join(checkpoints.pretrained(), 'CARD.md') in files
