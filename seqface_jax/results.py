"""The evaluation's rows on disk: results.json, table.md, table.csv and per_subject.csv."""

import csv
import io
import json
import os
import tempfile

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
    ('voxel_iou', 'voxel IoU'),
    ('voxel_ap', 'voxel AP'),
    ('p_value', 'p against mean_face'),
    ('seconds_per_sequence', 'seconds'),
)
_OPTIONAL = ('voxel_iou', 'voxel_ap')  # Columns of models that give voxels.
_THESIS_CHECKPOINTS = ('best_training', 'best_validation')
_THESIS_SPLITS = ('train', 'test')


def write(folder, protocol, rows, per_subject):
    """Writes all tables into `folder`, each file whole or not at all.

    Args:
        folder: made if missing.
        protocol: dict, how the numbers were made.
        rows: list of dict, one per model, checkpoint, split and number of frames.
        per_subject: list of flat dict, one per row and subject.
    """
    os.makedirs(folder, exist_ok=True)
    _write_text(
        os.path.join(folder, 'results.json'),
        json.dumps({'protocol': protocol, 'rows': rows}, indent=1, allow_nan=False) + '\n',
    )
    _write_text(os.path.join(folder, 'table.md'), markdown(protocol, rows))
    _write_text(os.path.join(folder, 'table.csv'), _csv([_flat(row) for row in rows]))
    _write_text(os.path.join(folder, 'per_subject.csv'), _csv(per_subject))


def markdown(protocol, rows):
    """Returns the tables as Markdown: all rows, then the thesis's 2 x 2 for each model."""
    columns = [
        (name, title)
        for name, title in _COLUMNS
        if name not in _OPTIONAL or any(row.get(name) is not None for row in rows)
    ]
    lines = ['| ' + ' | '.join(title for _, title in columns) + ' |']
    lines.append('|' + '---|' * len(columns))
    for row in rows:
        lines.append('| ' + ' | '.join(_cell(row, name) for name, _ in columns) + ' |')
    lines += ['', thesis_table(rows), '']
    lines += [f'- {name}: {_sentence(value)}' for name, value in protocol.items()]
    return '\n'.join(lines) + '\n'


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
    if name in _SUMMARIES:
        return f'{value["mean"]:.2f} / {value["median"]:.2f} / {value["p90"]:.2f}'
    if name == 'vertex_mm':
        interval = row['intervals'].get(name)
        return f'{value:.2f}' + (f' [{interval[0]:.2f}, {interval[1]:.2f}]' if interval else '')
    if name == 'model' and row['of']:
        return f'{value} ({row["of"]})'
    if name == 'split' and row['selection']:
        return f'{value} ({row["selection"]})'
    digits = {'nme_thesis': '.4f', 'coverage': '.3f', 'p_value': '.2g'}
    digits |= dict.fromkeys(_OPTIONAL, '.3f')
    digits['seconds_per_sequence'] = '.3g'
    return format(value, digits[name]) if name in digits else str(value)


def _sentence(value):
    if isinstance(value, dict):
        return '; '.join(f'{name}: {_sentence(inner)}' for name, inner in value.items())
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


def _write_text(path, text):
    with tempfile.NamedTemporaryFile(
        'w', dir=os.path.dirname(path), delete=False, encoding='utf-8'
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
