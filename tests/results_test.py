import csv
import json

import pytest

from seqface_jax import results


def _row(model='flagship', checkpoint='best_validation', split='test', **fields):
    summary = {'mean': 1.5, 'median': 1.25, 'std': 0.5, 'p90': 2.75}
    row = {
        'model': model,
        'checkpoint': checkpoint,
        'split': split,
        'num_frames': 8,
        'selection': None,
        'of': None,
        'num_subjects': 16,
        'nme_thesis': 0.0125,
        'scan_to_mesh_mm': summary,
        'mesh_to_scan_mm': None,
        'coverage': 0.975,
        'vertex_mm': 2.125,
        'seconds_per_sequence': 0.25,
        'intervals': {'vertex_mm': [2.0, 2.25], 'nme_thesis': None},
        'p_value': 0.004,
        'p_metric': 'vertex_mm',
        'protocol': {'ordered': True},
    }
    return row | fields


def test_the_files_hold_the_rows(tmp_path):
    per_subject = [{'model': 'flagship', 'subject': 'F001', 'vertex_mm': 2.0}]
    results.write(str(tmp_path / 'eval'), {'seed': 0}, [_row()], per_subject)
    with open(tmp_path / 'eval' / 'results.json') as file:
        assert json.load(file) == {'protocol': {'seed': 0}, 'rows': [_row()]}
    with open(tmp_path / 'eval' / 'table.csv', newline='') as file:
        (row,) = csv.DictReader(file)
    assert row['scan_to_mesh_mm_p90'] == '2.75' and row['mesh_to_scan_mm_mean'] == ''
    assert (row['vertex_mm_low'], row['vertex_mm_high'], row['nme_thesis_low']) == (
        '2.0',
        '2.25',
        '',
    )
    with open(tmp_path / 'eval' / 'per_subject.csv', newline='') as file:
        assert next(csv.DictReader(file))['subject'] == 'F001'


def test_a_markdown_row_is_readable():
    line = results.markdown({}, [_row(selection='selected on test')]).splitlines()[2]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells == [
        'flagship',
        'best_validation',
        'test (selected on test)',
        '8',
        '16',
        '0.0125',
        '1.50 / 1.25 / 2.75',
        '-',
        '0.975',
        '2.12 [2.00, 2.25]',
        '0.004',
        '0.25',
    ]


def test_the_thesis_table_takes_the_count_nearest_to_8_frames_and_marks_selection():
    rows = [
        _row(checkpoint=None, model='mean_face', num_frames=None),
        _row(num_frames=1, nme_thesis=0.5),
        _row(model='averaged_single_frames', of='flagship', nme_thesis=0.7),
        _row(nme_thesis=0.0156, selection='selected on test'),
        _row(split='train', nme_thesis=0.015),
        _row(checkpoint='best_training', nme_thesis=0.0258),
    ]
    assert results.thesis_table(rows).splitlines() == [
        '| flagship, 8 frames, nme_thesis | best_training | best_validation |',
        '|---|---|---|',
        '| train | - | 0.0150 |',
        '| test | 0.0258 | 0.0156 (selected on test) |',
    ]


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match='not JSON compliant'):
        results.write(str(tmp_path), {}, [_row(nme_thesis=float('nan'))], [])
    assert not (tmp_path / 'results.json').exists()
