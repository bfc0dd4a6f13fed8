"""The evaluation's rows on disk: results.json, table.md and the tables as CSV."""

import csv
import io
import json
import os
from typing import NamedTuple

from seqface_jax.evaluation import metrics, scoring, statistics
from seqface_jax.files import write_text

_SUMMARIES = ('scan_to_mesh_mm', 'mesh_to_scan_mm')
_COLUMNS = (
    ('model', 'model'),
    ('checkpoint', 'checkpoint'),
    ('split', 'split'),
    ('num_frames', 'frames'),
    ('num_subjects', 'subjects'),
    ('nme_thesis', 'nme_thesis'),
    ('scan_to_mesh_mm', 'scan to mesh, mm: mean / median / p90'),
    ('mesh_to_scan_mm', 'mesh to scan, mm: mean / median / p90'),
    ('coverage', 'coverage'),
    ('vertex_mm', 'vertex_mm [95 % interval]'),
    ('frame_mm', 'frame_mm [95 % interval]'),
    ('ced_auc', 'CED area'),
    ('coverage_90', '90 % band holds'),
    ('sigma_mm', 'stated sigma, mm'),
    ('coordinate_rms_mm', 'true sigma, mm'),
    ('order_spread', 'order spread'),
    ('voxel_iou', 'voxel IoU'),
    ('voxel_ap', 'voxel AP'),
    ('p_value', 'p against mean_face'),
    ('seconds_per_sequence', 'seconds'),
)
# Columns of models that give voxels or the frames' faces, or say how sure they are; what is not
# always measured.
_OPTIONAL = ('voxel_iou', 'voxel_ap', 'coverage_90', 'sigma_mm', 'coordinate_rms_mm')
_OPTIONAL += ('order_spread', 'frame_mm')
_THESIS_CHECKPOINTS = ('best_training', 'best_validation')
_THESIS_SPLITS = ('train', 'test')


class Results(NamedTuple):
    """All of an evaluation but what it says of single subjects.

    Attributes:
        protocol: dict, how the numbers were made.
        rows: list of dict, one per model, checkpoint, split and number of frames.
        curves, comparisons, seen_unseen: lists of flat dict, see comparisons.py.
    """

    protocol: dict
    rows: list
    curves: list
    comparisons: list
    seen_unseen: list


def write(folder, results, per_subject, ced):
    """Writes all tables into `folder`, each file whole or not at all.

    Args:
        folder: made if missing.
        results: Results.
        per_subject: list of flat dict, one per row and subject.
        ced: what `ced_rows` returned.
    """
    os.makedirs(folder, exist_ok=True)
    text = json.dumps(results._asdict(), indent=1, allow_nan=False) + '\n'
    write_text(os.path.join(folder, 'results.json'), text)
    write_text(os.path.join(folder, 'table.md'), markdown(results))
    files = {
        'table.csv': [_flat(row) for row in results.rows],
        'curves.csv': results.curves,
        'comparisons.csv': results.comparisons,
        'seen_unseen.csv': results.seen_unseen,
        'ced.csv': ced,
        'per_subject.csv': per_subject,
    }
    for name, rows in files.items():
        write_text(os.path.join(folder, name), _csv(rows))


def ced_rows(scored):
    """Returns the cumulative error distribution of each of rows.Scored, flat dicts.

    Of the distances from scan points to the answer; under `0.5` stands the share of at most
    0.5 mm. Every subject weighs the same.
    """
    names = ('model', 'of', 'checkpoint', 'split', 'num_frames')
    found = []
    for own in scored:
        shares = sum(values['ced'] for values in own.scores) / len(own.scores)
        limits = (f'{limit:.1f}' for limit in metrics.CED_MM)
        found.append(
            {name: own.row[name] for name in names}
            | {'ced_auc': own.row['ced_auc']}
            | dict(zip(limits, map(float, shares), strict=True))
        )
    return found


def markdown(results):
    """Returns the tables as Markdown."""
    lines = []
    for title, table in tables(results).items():
        if table[1:]:
            lines += [f'### {title}', '', '| ' + ' | '.join(table[0]) + ' |']
            lines.append('|' + '---|' * len(table[0]))
            lines += ['| ' + ' | '.join(row) + ' |' for row in table[1:]] + ['']
    lines += ['### The table of the thesis', '', thesis_table(results.rows), '']
    lines += [f'- {name}: {sentence(value)}' for name, value in results.protocol.items()]
    return '\n'.join(lines) + '\n'


def tables(results):
    """Returns what a person reads: {title: list of rows of str, the first of them the head}."""
    return {
        'Rows': _rows_table(results.rows),
        'After every number of frames': _curve_table(results.curves),
        'Against each other': _comparison_table(results.comparisons, _people(results.rows)),
        'Seen and unseen people': _seen_table(results.seen_unseen),
        'Regions, mm': _region_table(results.rows),
    }


def _rows_table(rows):
    columns = [
        (name, title)
        for name, title in _COLUMNS
        if name not in _OPTIONAL or any(row.get(name) is not None for row in rows)
    ]
    return [[title for _, title in columns]] + [
        [_cell(row, name) for name, _ in columns] for row in rows
    ]


def _curve_table(curves):
    """Returns how vertex_mm, or else scan_to_mesh_mm, changes with the number of frames."""
    head = ['model', 'checkpoint', 'split', 'metric', 'frames', 'mm [95 % interval]']
    table = [[*head, 'change [interval]', 'from the least frames']]
    main = {(own['model'], own['of'], own['split']): own['metric'] for own in reversed(curves)}
    for own in curves:
        if own['metric'] != main[own['model'], own['of'], own['split']]:
            continue
        share = own['from_first_share']
        table.append(
            [
                _name(own),
                own['checkpoint'],
                own['split'],
                own['metric'],
                str(own['num_frames']),
                _with_interval(own['mean'], own['low'], own['high']),
                _with_interval(own['change'], own['change_low'], own['change_high'], '+.3f'),
                '-' if share is None else f'{share:+.1%}',
            ]
        )
    return table


def _people(rows):
    """Returns how many people each split has."""
    return {row['split']: row['num_subjects'] for row in rows}


def _comparison_table(comparisons, people):
    head = ['first', 'second', 'checkpoint', 'split', 'frames', 'metric']
    table = [[*head, 'first - second, mm [95 % interval]', 'of second', 'p']]
    for own in comparisons:
        table.append(
            [own['first'], own['second'], own['checkpoint'], own['split'], str(own['num_frames'])]
            + [own['metric']]
            + [
                _with_interval(
                    own['difference'], own['difference_low'], own['difference_high'], '+.3f'
                )
            ]
            + ['-' if own['share'] is None else f'{own["share"]:+.1%}']
            + [statistics.show_p(own['p_value'], people.get(own['split']))]
        )
    return table


def _seen_table(seen_unseen):
    head = ['model', 'checkpoint', 'frames', 'metric', 'seen, mm', 'unseen, mm']
    table = [[*head, 'gap, mm [95 % interval]', 'of unseen']]
    for own in seen_unseen:
        frames = '-' if own['num_frames'] is None else str(own['num_frames'])
        table.append(
            [_name(own), own['checkpoint'] or '-', frames, own['metric']]
            + [f'{own["seen"]:.2f}', f'{own["unseen"]:.2f}']
            + [_with_interval(own['gap'], own['gap_low'], own['gap_high'], '+.2f')]
            + ['-' if own['share'] is None else f'{own["share"]:+.1%}']
        )
    return table


def _region_table(rows):
    """Returns the mean error of each region: vertex_mm where it is known, else from the scan."""
    table = []
    for row in rows:
        vertex, scan = (row.get(name) for name in scoring.REGIONS)
        found = vertex if vertex and any(value is not None for value in vertex.values()) else scan
        if not found:
            continue
        table = table or [['model', 'checkpoint', 'split', 'frames', 'metric', *found]]
        table.append(
            [_cell(row, name) for name in ('model', 'checkpoint', 'split', 'num_frames')]
            + ['vertex_mm' if found is vertex else 'scan_to_mesh_mm']
            + ['-' if value is None else f'{value:.2f}' for value in found.values()]
        )
    return table


def _name(row):
    return f'{row["model"]} ({row["of"]})' if row['of'] else row['model']


def _with_interval(value, low, high, digits='.2f'):
    if value is None:
        return '-'
    interval = '' if low is None else f' [{low:{digits}}, {high:{digits}}]'
    return f'{value:{digits}}{interval}'


def thesis_table(rows):
    """Returns the thesis's table 2, nme_thesis of two checkpoints on two splits, per model.

    Each model is taken at the number of frames nearest to the thesis's 8.
    """
    blocks = []
    for model in dict.fromkeys(row['model'] for row in rows if _is_run(row)):
        own = [row for row in rows if row['model'] == model and row['split'] in _THESIS_SPLITS]
        own = [row for row in own if row['checkpoint'] in _THESIS_CHECKPOINTS]
        if not own:
            continue
        frames = min((row['num_frames'] for row in own), key=lambda count: (abs(count - 8), count))
        found = {
            (row['checkpoint'], row['split']): row for row in own if row['num_frames'] == frames
        }
        lines = [f'| {model}, {frames} frames, nme_thesis | best_training | best_validation |']
        lines.append('|---|---|---|')
        for split in _THESIS_SPLITS:
            cells = [_thesis_cell(found.get((name, split))) for name in _THESIS_CHECKPOINTS]
            lines.append(f'| {split} | ' + ' | '.join(cells) + ' |')
        blocks.append('\n'.join(lines))
    return '\n\n'.join(blocks)


def _is_run(row):
    return row['checkpoint'] is not None and row['of'] is None


def _thesis_cell(row):
    if row is None:
        return '-'
    note = f' ({row["selection"]})' if row['selection'] else ''
    return f'{row["nme_thesis"]:.4f}{note}'


def _cell(row, name):
    value = row[name]
    if value is None:
        return '-'
    if name == 'p_value':
        return statistics.show_p(value, row['num_subjects'])
    if name in _SUMMARIES:
        return f'{value["mean"]:.2f} / {value["median"]:.2f} / {value["p90"]:.2f}'
    if name in ('vertex_mm', 'frame_mm'):
        return _with_interval(value, *(row['intervals'].get(name) or (None, None)))
    if name == 'model':
        return _name(row)
    if name == 'split' and row['selection']:
        return f'{value} ({row["selection"]})'
    digits = {'nme_thesis': '.4f', 'coverage': '.3f', 'ced_auc': '.3f'}
    digits |= dict.fromkeys(_OPTIONAL, '.3f')
    digits['seconds_per_sequence'] = '.3g'
    return format(value, digits[name]) if name in digits else str(value)


def sentence(value):
    """Returns a value of the protocol as text."""
    if isinstance(value, dict):
        return '; '.join(f'{name}: {sentence(inner)}' for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ', '.join(str(inner) for inner in value)
    return str(value)


def _flat(row):
    """Returns a row without nesting: scan_to_mesh_mm_mean, vertex_mm_low, vertex_mm_high, ..."""
    flat = {}
    for name, value in row.items():
        if name in _SUMMARIES:
            for statistic in ('mean', 'median', 'std', 'p90'):
                flat[f'{name}_{statistic}'] = value[statistic] if value else None
        elif name == 'intervals':
            for metric, interval in value.items():
                flat[f'{metric}_low'], flat[f'{metric}_high'] = interval or (None, None)
        elif name in scoring.REGIONS:
            flat |= {f'{name}_{region}': mean for region, mean in (value or {}).items()}
        elif name != 'protocol':
            flat[name] = value
    return flat


def _csv(rows):
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(buffer, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
