import csv
import json

import numpy as np

from seqface_jax.reconstruction import frame_fit, frame_tables
from tests.helpers import small_fit


def test_a_row_of_frames_csv_has_a_value_for_each_column():
    fit = small_fit.make(yaw_deg=20)
    row = dict(zip(frame_tables.FIT_COLUMNS, frame_tables.fit_row(fit, 1.5), strict=True))
    assert float(row['yaw_deg']) == 20 and float(row['focal_px']) == 500
    assert row['band_mm'] == '1.5000' and row['reprojection_px'] == '1.25'
    rotation = [[float(row[f'rotation_{i}{j}']) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(rotation, fit.rotation, atol=1e-5)


def test_a_skipped_frame_has_empty_columns():
    assert set(frame_tables.fit_row(None, None)) == {''}
    assert frame_tables.weight_row(None, ['a', 'b']) == ['', '']


def test_weights_stand_in_columns_of_their_names():
    assert frame_tables.weight_columns(['jawOpen']) == ('weight_jawOpen',)
    assert frame_tables.weight_row(small_fit.make(expression=(0.25, 1)), 'ab') == [
        '0.2500',
        '1.0000',
    ]


def test_expression_csv_has_a_row_per_frame():
    text = frame_tables.expression_csv(['jawOpen'], [(0.0, 'a,b.jpg', [0.5]), (0.5, 'c', [1])])
    assert list(csv.reader(text.splitlines())) == [
        ['seconds', 'photo', 'jawOpen'],
        ['0.0000', 'a,b.jpg', '0.5000'],
        ['0.5000', 'c', '1.0000'],
    ]


def test_landmarks_are_given_in_mm_and_where_each_photo_shows_them():
    vertices, _, indices = small_fit.mesh()
    fit = small_fit.make(vertices=vertices + np.float32([0, -2, 0]))
    entry = frame_tables.landmark_entry('a.jpg', fit, indices)
    found = json.loads(frame_tables.json_text(frame_tables.landmarks(vertices, indices, [entry])))
    assert found['unit'] == 'mm' and len(found['neutral_mm']) == 68
    np.testing.assert_allclose(found['neutral_mm'], vertices[indices], atol=1e-3)
    (frame,) = found['frames']
    np.testing.assert_allclose(frame['mm'], fit.vertices[indices], atol=1e-3)
    np.testing.assert_allclose(frame['px'], frame_fit.project(fit, frame['mm']), atol=0.02)
