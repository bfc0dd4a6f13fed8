"""A whole evaluation of a network that is a few lines of numpy, on people kept in memory.

Every face is one face plus a strength times one bump; every frame's grey tells the strength, with
noise. The network averages the greys of the frames that differ, and says how sure it is.
"""

import csv
import json
import os

import numpy as np
import pytest

from configs import tiny
from seqface_jax import evaluate, models
from seqface_jax.data import input_pipeline
from seqface_jax.evaluation import runs, streaming
from seqface_jax.geometry import map_grid
from tests import conftest
from tests.helpers import bumpy_face

SIDE = 32
STRENGTHS = {'train': (-2.0, -1.0, 0.0, 1.0, 2.0), 'test': (-1.5, 0.5, 1.5)}
GREY, NOISE = 24, 0.6  # Levels of grey per unit of strength; standard deviation of a frame.
BUMP_MM = 2.0 * np.cos(1.5 * map_grid.ray_angles(SIDE)[0]) ** 2 * np.ones((SIDE, 1))
MEAN = bumpy_face.position_map_of(0, SIDE)


class Split:
    """What evaluation reads of input_pipeline.Split."""

    def __init__(self, name):
        self.name, strengths = name, STRENGTHS[name]
        count = len(strengths)
        self.subject_ids = [f'{name}{index}' for index in range(count)]
        directions = map_grid.ray_directions(SIDE)
        maps = np.float32(
            [MEAN + strength * BUMP_MM[..., None] * directions for strength in strengths]
        )
        masks = np.stack([bumpy_face.mask_of(MEAN)] * count)
        scans = [bumpy_face.scan_of(face) for face in maps]
        self.subjects = {
            'position_map': maps,
            'mask': masks,
            'points': maps.reshape(count, -1, 3),
            'has_truth': np.ones(count),
            'true_position_map': maps,
            'true_mask': masks,
            'scan_vertices': [scan.vertices for scan in scans],
            'scan_triangles': [scan.triangles for scan in scans],
        }
        self.frames_by_subject = np.array([6] * (count - 1) + [5])
        self.frame_index = [
            input_pipeline.FrameIndex(
                np.arange(own), np.array(['Happy'] * own), np.arange(own), np.zeros(own)
            )
            for own in self.frames_by_subject
        ]

    has_frame_maps = True

    def evenly(self, count):
        assert not 0 < count < len(self.subject_ids)
        return self

    def frame_maps(self, index, frames):
        """The noise of a frame is an expression: a strength of the bump of its own."""
        radius = self._strengths(index, frames)[:, None, None, None] * BUMP_MM[..., None]
        maps = np.float32(MEAN + radius * map_grid.ray_directions(SIDE))
        return {'frame_map': maps, 'frame_mask': self.subjects['mask'][[index] * len(frames)]}

    def _strengths(self, index, frames):
        noise = np.random.default_rng(index).normal(0, NOISE, 6)[list(frames)]
        return STRENGTHS[self.name][index] + noise

    def frames(self, index, frames):
        grey = 128 + GREY * self._strengths(index, frames)
        return np.uint8(np.rint(grey))[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


class Dataset:
    def __init__(self):
        self._splits = {name: Split(name) for name in STRENGTHS}

    def split(self, name):
        return self._splits[name if name in STRENGTHS else 'train']


def step(variables, state, frames):
    """Averages the greys of frames that differ from the one before."""
    del variables
    grey = (frames[:, 0, 0, 0].astype(np.float32) - 128) / GREY
    total, count, last = state or (0 * grey, 0 * grey, np.inf)
    news = grey != last
    total, count = total + news * grey, count + news
    code = total / (count + NOISE**2)  # The posterior of N(0, 1).
    directions = map_grid.ray_directions(SIDE)
    maps = MEAN + code[:, None, None, None] * BUMP_MM[..., None] * directions
    frame_map = MEAN + grey[:, None, None, None] * BUMP_MM[..., None] * directions
    variance = (BUMP_MM**2 + 1e-3) * (NOISE**2 / (count + NOISE**2))[:, None, None] / 3
    return (total, count, grey), models.Prediction(
        np.float32(maps), np.log(variance), frame_map=np.float32(frame_map)
    )


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory):
    """Returns the eval folder of the network called 'mean_grey'."""
    workdir = str(tmp_path_factory.mktemp('runs') / 'mean_grey')
    config = tiny.get_config()
    config.model.expression_size = 1
    variables = {'constants': {'mean_map': MEAN, 'basis': BUMP_MM[None]}}
    run = runs.Run(
        'mean_grey', config, Dataset(), {'best_validation': (step, variables)}, config.data
    )
    options = evaluate.EvaluationOptions(
        frames=(1, 2, 4, 64), checkpoints=('best_validation',), splits=('train', 'test')
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, 'load', lambda workdirs, options, load_flagship: {workdirs[0]: run})
        conftest.quick_figures(patch)
        evaluate.evaluate([workdir], evaluate.dataclasses.replace(options, permutations=4))
    return os.path.join(workdir, 'eval')


def _results(folder):
    with open(os.path.join(folder, 'results.json')) as file:
        return json.load(file)


def _rows(folder, model, split='test'):
    rows = [row for row in _results(folder)['rows'] if row['split'] == split]
    return {row['num_frames']: row for row in rows if row['model'] == model}


def test_numbers_of_frames_beyond_the_records_stand_for_all_there_are(evaluated):
    rows = _rows(evaluated, 'mean_grey')
    assert list(rows) == [1, 2, 4, 6]
    assert [row['fewest_frames'] for row in rows.values()] == [1, 2, 4, 5]


def test_copies_tell_nothing_and_new_frames_do(evaluated):
    rows, copies = _rows(evaluated, 'mean_grey'), _rows(evaluated, 'repeated_first_frame')
    for count in (2, 4, 6):
        np.testing.assert_allclose(copies[count]['sigma_mm'], rows[1]['sigma_mm'])
        np.testing.assert_allclose(copies[count]['vertex_mm'], rows[1]['vertex_mm'])
    assert rows[6]['sigma_mm'] < 0.6 * rows[1]['sigma_mm']
    assert rows[6]['coordinate_rms_mm'] < rows[1]['coordinate_rms_mm']
    assert 0.6 < rows[6]['coverage_90'] <= 1


def test_the_face_space_holds_these_faces_and_their_order_hardly_matters(evaluated):
    (oracle,) = _rows(evaluated, 'oracle').values()
    assert oracle['vertex_mm'] < 1e-4 and oracle['of'] == 'mean_grey'
    spread = {count: row['order_spread'] for count, row in _rows(evaluated, 'mean_grey').items()}
    # At the number nearest to eight only. Not 0: neighbours of one grey are taken for copies.
    assert 0 <= spread[6] < 0.1
    assert spread[1] is spread[2] is spread[4] is None


def test_the_faces_of_frames_are_scored_beside_the_neutral_and_the_mean_one(evaluated):
    rows, neutral = _rows(evaluated, 'mean_grey'), _rows(evaluated, 'no_expression')
    mean, averaged = (_rows(evaluated, name) for name in ('mean_face', 'averaged_single_frames'))
    for count in (1, 2, 4, 6):
        # The grey tells the frame's own face; the neutral one lacks its noise.
        assert rows[count]['frame_mm'] < 0.5 * neutral[count]['frame_mm']
        assert neutral[count]['of'] == 'mean_grey'
        assert neutral[count]['vertex_mm'] == rows[count]['vertex_mm']
    assert mean[None]['frame_mm'] > 5 * rows[6]['frame_mm'] and averaged[2]['frame_mm'] is None
    (compared,) = [
        own
        for own in _results(evaluated)['comparisons']
        if (own['second'], own['num_frames'], own['split']) == ('no_expression', 6, 'test')
    ]
    assert compared['metric'] == 'frame_mm' and compared['difference'] < 0
    models_with_curves = {own['model'] for own in _results(evaluated)['curves']}
    assert 'no_expression' not in models_with_curves and 'mean_grey' in models_with_curves
    with open(os.path.join(evaluated, 'table.md')) as file:
        assert 'frame_mm [95 % interval]' in file.read()


def test_curves_comparisons_and_gaps_are_written(evaluated):
    with open(os.path.join(evaluated, 'curves.csv'), newline='') as file:
        curves = [row for row in csv.DictReader(file) if row['metric'] == 'vertex_mm']
    own = [row for row in curves if row['model'] == 'mean_grey' and row['split'] == 'test']
    assert [row['num_frames'] for row in own] == ['1', '2', '4', '6']
    rows = _rows(evaluated, 'mean_grey')
    np.testing.assert_allclose(
        float(own[-1]['change']), rows[6]['vertex_mm'] - rows[4]['vertex_mm'], atol=1e-12
    )
    found = _results(evaluated)
    assert {(own['first'], own['second']) for own in found['comparisons']} == {
        ('mean_grey', 'averaged_single_frames'),
        ('mean_grey', 'repeated_first_frame'),
        ('mean_grey', 'no_expression'),
    }
    gaps = {(own['model'], own['num_frames']) for own in found['seen_unseen']}
    assert ('mean_grey', 4) in gaps and ('mean_face', None) in gaps
    with open(os.path.join(evaluated, 'ced.csv'), newline='') as file:
        shares = [float(row['5.0']) for row in csv.DictReader(file)]
    assert min(shares) > 0.9 and max(shares) <= 1


def test_the_page_and_the_figures_are_there(evaluated):
    with open(os.path.join(evaluated, 'report.html')) as file:
        page = file.read()
    assert 'test0' in page and 'averaged_single_frames' in page
    expected = {'ced.png', 'calibration.png', 'frames_vertex_mm.png', 'predictions_test.png'}
    assert expected <= set(os.listdir(os.path.join(evaluated, 'figures')))


def test_single_frames_are_read_when_their_turn_comes():
    split = Split('test')
    shown = streaming.ShownFrames(split, 0, np.arange(5))
    assert shown[2].shape == (8, 8, 3) and len(shown.reordered([0] * 9)) == 9
