import cv2
import numpy as np
import pytest

from seqface_jax import models
from seqface_jax.evaluation import figures, metrics, scoring, streaming
from tests.helpers import bumpy_face


def _row(model, num_frames, value):
    return {
        'model': model,
        'of': None,
        'checkpoint': 'best_validation' if num_frames else None,
        'split': 'test',
        'num_frames': num_frames,
        'vertex_mm': value,
        'scan_to_mesh_mm': {'mean': value},
        'intervals': {'vertex_mm': (value - 1, value + 1), 'scan_to_mesh_mm': None},
    }


def test_the_error_curve_shows_each_model_over_frames_and_baselines_level():
    rows = [_row('mean_face', None, 3), _row('ours', 1, 2.5), _row('ours', 4, 2.0)]
    for metric in ('vertex_mm', 'scan_to_mesh_mm'):
        (axes,) = figures.error_curve(rows, metric).axes
        level, curve = axes.lines
        np.testing.assert_array_equal(level.get_ydata(), [3, 3])
        np.testing.assert_array_equal(curve.get_xdata(), [1, 4])
        np.testing.assert_array_equal(curve.get_ydata(), [2.5, 2.0])


def test_the_ced_figure_shows_each_model_at_its_most_frames():
    shares = {f'{limit:.1f}': limit / 5 for limit in metrics.CED_MM}
    ced = [_row('mean_face', None, 3), _row('ours', 1, 2.5), _row('ours', 4, 2.0)]
    ced = [row | shares | {'ced_auc': 0.1 * place} for place, row in enumerate(ced)]
    (axes,) = figures.ced_curve(ced).axes
    assert [line.get_label().split(': ')[-1] for line in axes.lines] == ['0.000', '0.200']


def test_the_calibration_figure_shows_the_band_and_both_sigmas():
    stated = {'coverage_90': 0.9, 'sigma_mm': 1.0, 'coordinate_rms_mm': 1.1}
    rows = [_row('ours', count, 2.0) | stated for count in (1, 4)]
    above, below = figures.calibration_curve(rows).axes
    np.testing.assert_array_equal(above.lines[-1].get_ydata(), [0.9, 0.9])
    assert len(below.lines) == 2


@pytest.mark.parametrize('num_labels', [2, 7])
def test_legends_of_long_labels_are_inside_the_figure(num_labels):
    names = [f'correspondence network with a long name, number {k}' for k in range(num_labels)]
    stated = {'coverage_90': 0.9, 'sigma_mm': 1.0, 'coordinate_rms_mm': 1.1}
    rows = [_row(name, count, 2.0) | stated for name in names for count in (1, 4)]
    for picture in (figures.calibration_curve(rows), figures.error_curve(rows, 'vertex_mm')):
        picture.draw_without_rendering()
        box, whole = picture.legends[0].get_window_extent(), picture.bbox
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1
        assert all(box.y1 <= axes.bbox.y0 for axes in picture.axes)
        assert len(picture.legends) == 1


def test_the_loss_curve_shows_the_epochs_of_both_kinds():
    rows = [
        {'kind': 'step', 'epoch': '1', 'loss': '9'},
        {'kind': 'training', 'epoch': '1', 'loss': '4'},
        {'kind': 'validation', 'epoch': '1', 'loss': '5'},
        {'kind': 'training', 'epoch': '2', 'loss': '3'},
    ]
    (axes,) = figures.loss_curve(rows, 'run').axes
    training, validation = axes.lines
    np.testing.assert_array_equal(training.get_ydata(), [4, 3])
    np.testing.assert_array_equal(validation.get_ydata(), [5])


def test_the_loss_curve_of_a_flagship_which_has_no_epochs_is_over_its_steps():
    rows = [
        {'step': '25', 'epoch': '', 'kind': 'training', 'loss': '4'},
        {'step': '250', 'epoch': '', 'kind': 'training', 'loss': '3'},
        {'step': '250', 'epoch': '', 'kind': 'validation', 'loss': '5'},
    ]
    (axes,) = figures.loss_curve(rows, 'run').axes
    assert axes.get_xlabel() == 'step'
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [25, 250])


def test_pictures_of_predictions_are_written(tmp_path):
    face = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(face)
    subjects = scoring.Subjects(['F001'], [bumpy_face.scan_of(face)], None, None, None, None)
    frames = [np.full((3, 32, 32, 3), 90, np.uint8)]
    condition = streaming.Condition('ours', 'best_validation', 'test', 8)
    answers = [streaming.Answers(condition, models.Prediction(face[None]), True, mask, None)]
    path = str(tmp_path / 'predictions.png')
    figures.save(figures.predictions(subjects, frames, answers), path)
    assert cv2.imread(path).std() > 10
