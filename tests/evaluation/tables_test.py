import csv
import json

import pytest

from seqface_jax.evaluation import tables


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
        'ced_auc': 0.75,
        'seconds_per_sequence': 0.25,
        'intervals': {'vertex_mm': [2.0, 2.25], 'nme_thesis': None},
        'p_value': 0.004,
        'p_metric': 'vertex_mm',
        'protocol': {'ordered': True},
    }
    return row | fields


def _results(rows, protocol=None, curves=(), comparisons=(), seen_unseen=()):
    parts = rows, list(curves), list(comparisons), list(seen_unseen)
    return tables.Results(protocol or {}, *parts)


def test_the_files_hold_the_rows(tmp_path):
    per_subject = [{'model': 'flagship', 'subject': 'F001', 'vertex_mm': 2.0}]
    found = _results([_row()], protocol={'seed': 0})
    tables.write(str(tmp_path / 'eval'), found, per_subject, [{'model': 'flagship', '0.5': 0.25}])
    with open(tmp_path / 'eval' / 'results.json') as file:
        assert json.load(file) == found._asdict()
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


def test_the_error_of_the_frames_own_faces_is_a_column_where_it_is_known():
    intervals = {'frame_mm': [1.25, 1.75]}
    known = _row(frame_mm=1.5, intervals=intervals)
    table = tables.tables(_results([_row(frame_mm=None), known | {'model': 'mean_face'}]))['Rows']
    place = table[0].index('frame_mm [95 % interval]')
    assert [row[place] for row in table[1:]] == ['-', '1.50 [1.25, 1.75]']
    assert 'frame_mm' not in ' '.join(tables.tables(_results([_row()]))['Rows'][0])


def test_a_markdown_row_is_readable():
    line = tables.markdown(_results([_row(selection='selected on test')])).splitlines()[4]
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
        '0.750',
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
    assert tables.thesis_table(rows).splitlines() == [
        '| flagship, 8 frames, nme_thesis | best_training | best_validation |',
        '|---|---|---|',
        '| train | - | 0.0150 |',
        '| test | 0.0258 | 0.0156 (selected on test) |',
    ]


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match='not JSON compliant'):
        tables.write(str(tmp_path), _results([_row(nme_thesis=float('nan'))]), [], [])
    assert not (tmp_path / 'results.json').exists()


def test_curves_comparisons_gaps_and_regions_are_tables_to_read():
    who = {'model': 'ours', 'of': None, 'checkpoint': 'latest', 'split': 'test'}
    point = who | {'metric': 'vertex_mm', 'num_frames': 4, 'mean': 1.5, 'low': 1.0, 'high': 2.0}
    point |= {'change': -0.5, 'change_low': -0.75, 'change_high': -0.25, 'from_first_share': -0.25}
    compared = {'first': 'ours', 'second': 'averaged_single_frames', 'checkpoint': 'latest'}
    compared |= {'split': 'test', 'num_frames': 4, 'metric': 'vertex_mm', 'difference': -0.5}
    compared |= {'difference_low': None, 'difference_high': None, 'share': -0.25, 'p_value': 0.03}
    gap = who | {'num_frames': 4, 'metric': 'vertex_mm', 'seen': 1.0, 'unseen': 1.25, 'gap': 0.25}
    gap |= {'gap_low': 0.125, 'gap_high': 0.5, 'share': 0.2}
    row = _row(region_vertex_mm={'nose': None}, region_scan_to_mesh_mm={'nose': 0.75})
    made = tables.tables(_results([row], {}, [point], [compared], [gap]))
    last = {title: table[-1] for title, table in made.items()}
    assert last['After every number of frames'][5:] == [
        '1.50 [1.00, 2.00]',
        '-0.500 [-0.750, -0.250]',
        '-25.0%',
    ]
    assert last['Against each other'][6:] == ['-0.500', '-25.0%', '0.03']
    assert last['Seen and unseen people'][4:] == ['1.00', '1.25', '+0.25 [+0.12, +0.50]', '+20.0%']
    assert last['Regions, mm'][4:] == ['scan_to_mesh_mm', '0.75']
