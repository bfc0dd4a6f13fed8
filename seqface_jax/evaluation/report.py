"""The evaluation as one page, report.html: faces to turn, frame after frame, tables and curves.

Everything is in the file: it opens without network. The page's own code is report_template.html.
"""

import base64
import html
import json
import os

import cv2
import numpy as np

from seqface_jax import files
from seqface_jax.evaluation import metrics, page, real_page, tables
from seqface_jax.geometry import surface

MAX_FRAMES = 32  # Shown as pictures, of each subject.
_PICTURE_PX = 96
_ERRORS_PER_MM = 25  # Errors are stored as uint8: up to 10.16 mm ...
_TEMPLATE = os.path.join(os.path.dirname(__file__), 'report_template.html')
_UNKNOWN = 255  # ... but where there is nothing to compare with.
_HEADLINE_COUNTS = (1, 2, 4, 8)  # Frames, of the table that stands first.
_METRIC_WORDS = {
    'vertex_mm': 'distance between equal points of the answer and of the true face',
    'scan_to_mesh_mm': 'distance from the points of the scan to the answer',
}
# By the beginning of a figure's name.
_CAPTIONS = {
    'loss_': 'The loss of each epoch while {rest} was trained: lower is better.',
    'frames_vertex_mm': 'Distance between equal points, by number of frames; bands hold 95 % of '
    'resampled subjects, level lines look at no frame.',
    'frames_scan_to_mesh_mm': 'Distance from scan to answer, by number of frames; bands hold 95 % '
    'of resampled subjects, level lines look at no frame.',
    'ced': 'Which share of the points of the scan lies that near to the answer: the higher a curve '
    'runs, the better. The number behind each name is the area below its curve.',
    'calibration': 'On top: how often the truth lies in the band that is stated to hold 90 %. '
    'Below: the stated and the true standard deviation.',
}


def write(path, found, shown, figures_folder):
    """Writes the page, whole or not at all.

    Args:
        path: of the file.
        found: tables.Results; real people's errors are added where real.json is in the folder.
        shown: list of split_evaluation.Shown.
        figures_folder: whose PNG files are shown, but for those of predictions.
    """
    models = dict.fromkeys(
        row['model'] for row in found.rows if row['checkpoint'] and not row['of']
    )
    parts = {
        'TITLE': html.escape(f'Evaluation of {", ".join(models)}'),
        'NUMBERS': _real(os.path.dirname(path)) + _headline(found.rows),
        'TABLES': ''.join(_table(title, rows) for title, rows in tables.tables(found).items()),
        'FIGURES': _figures(figures_folder),
        'PROTOCOL': page.definitions(
            {name: tables.sentence(value) for name, value in found.protocol.items()}
        ),
        'DATA': page.script_json(scene(shown)),
    }
    files.write_text(path, page.fill(_TEMPLATE, parts))


def scene(shown):
    """Returns the faces of the page as plain values.

    Returns:
        dict of `units_per_mm`, `errors_per_mm`, `triangles`, list of base64 uint16 [F, 3], and
        `people`, one dict per shown subject: split, subject, scan (a mesh: triangles, an index
        into the list; points, base64 int16 [V, 3]) and `models`, dicts of name, frames (JPEG data
        addresses) and `moments`: a mesh with num_frames, errors (base64 uint8 [V]) and mean_mm.
    """
    triangles = page.Topologies()
    people = []
    for own in shown:
        for index in range(len(own.frames)):
            people.append(_person(own, index, triangles))
    return {
        'units_per_mm': page.UNITS_PER_MM,
        'errors_per_mm': _ERRORS_PER_MM,
        'people': people,
        'triangles': triangles.texts,
    }


def _person(shown, index, triangles):
    subjects = shown.subjects
    models = []
    for timeline in shown.timelines:
        frames = timeline.frames[index]
        count = min(len(frames), timeline.counts[-1], MAX_FRAMES)
        moments = list(zip(timeline.counts, timeline.answers, strict=True))
        if not timeline.answers[-1].ordered:
            moments = moments[-1:]  # Their triangles differ every time: the last one has to do.
        models.append(
            {
                'name': timeline.model,
                'frames': [_picture(frames[place]) for place in range(count)],
                'moments': [
                    _moment(answers.of(index), subjects, index, answers.mask, triangles)
                    | {'num_frames': number}
                    for number, answers in moments
                ],
            }
        )
    for answers in shown.answers:
        if answers.condition.model == 'mean_face':
            moment = _moment(answers.of(index), subjects, index, answers.mask, triangles)
            moments = [moment | {'num_frames': None}]
            models.append({'name': 'mean_face', 'frames': [], 'moments': moments})
    mask = shown.answers[0].mask
    scan = surface.from_prediction(subjects.maps[index], ordered=True, mask=mask)
    return {
        'split': shown.split,
        'subject': subjects.ids[index],
        'scan': _mesh(*scan, triangles),
        'models': models,
    }


def _mesh(vertices, faces, triangles):
    used, faces = np.unique(faces, return_inverse=True)
    return {
        'points': page.points_text(vertices[used]),
        'triangles': triangles.add(faces.reshape(-1, 3)),
    }


def _moment(answer, subjects, index, mask, triangles):
    errors = _errors(answer, subjects, index, mask)
    known = np.isfinite(errors)
    stored = np.where(known, np.minimum(errors * _ERRORS_PER_MM, _UNKNOWN - 1), _UNKNOWN)
    used = np.unique(answer.triangles)
    return _mesh(answer.vertices, answer.triangles, triangles) | {
        'errors': page.base64_text(np.rint(stored[used]).astype(np.uint8)),
        'mean_mm': float(errors[known].mean()) if known.any() else None,
    }


def _errors(answer, subjects, index, mask):
    """Returns how far each vertex [V] is from the truth, or else from the scan, mm; or NaN."""
    true_mask = subjects.true_masks[index]
    if answer.position_map is not None and answer.voxels is None and true_mask.any():
        side = len(answer.position_map)
        stride = len(true_mask) // side
        distances = metrics.vertex_distances(
            answer.position_map,
            subjects.true_maps[index][::stride, ::stride],
            surface.resize_mask(true_mask, side),
        )
        return distances[surface.resize_mask(mask, side)]
    scan = subjects.scans[index]
    predicted = surface.Surface(answer.vertices, answer.triangles)
    transform = metrics.align(scan, predicted)
    hits = scan.closest(transform.inverse().apply(answer.vertices))
    return np.where(hits.on_border, np.nan, hits.distance)


def _picture(frame):
    small = cv2.resize(frame, (_PICTURE_PX, _PICTURE_PX), interpolation=cv2.INTER_AREA)
    return page.picture_address(small)


def _figures(folder):
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith('.png') and not name.startswith('predictions_'):
            with open(os.path.join(folder, name), 'rb') as file:
                data = base64.b64encode(file.read()).decode()
            caption = html.escape(_caption(name.removesuffix('.png')), quote=True)
            found.append(
                f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
                f'<figcaption>{caption}</figcaption></figure>'
            )
    return ''.join(found)


def _caption(name):
    """Returns what a figure shows, in words; its name if there are none for it."""
    for start, words in _CAPTIONS.items():
        if name.startswith(start):
            return words.format(rest=name.removeprefix(start))
    return name.replace('_', ' ')


def _headline(rows):
    """Returns the HTML of the error at 1, 2, 4 and 8 frames with the mean face's, by split."""
    parts = []
    splits = sorted({row['split'] for row in rows}, key=lambda split: (split != 'test', split))
    for split in splits:
        own = [row for row in rows if row['split'] == split]
        metric = next((name for name in _METRIC_WORDS if _has(own, name)), None)
        if metric is not None:
            parts.append(_headline_table(own, metric, split))
    return ''.join(parts)


def _has(rows, metric):
    """Returns whether a row of a model at one of the headline's counts holds a metric."""
    counted = (row for row in rows if row['num_frames'] in _HEADLINE_COUNTS and not row['of'])
    return any(_mean(row, metric) is not None for row in counted)


def _mean(row, metric):
    value = row.get(metric)
    return value['mean'] if isinstance(value, dict) else value


def _headline_table(rows, metric, split):
    baseline = next((_mean(r, metric) for r in rows if r['model'] == 'mean_face'), None)
    series = {}
    for row in rows:
        if row['num_frames'] in _HEADLINE_COUNTS and not row['of']:
            label = ' '.join(filter(None, [row['model'], row['checkpoint']]))
            series.setdefault(label, {})[row['num_frames']] = _mean(row, metric)
    heads = [f'{count} frame{"s" if count > 1 else ""}' for count in _HEADLINE_COUNTS]
    table = [['', *heads, 'mean face']]
    for label, values in series.items():
        numbers = [values.get(count) for count in _HEADLINE_COUNTS] + [baseline]
        table.append([label, *('-' if v is None else f'{v:.2f}' for v in numbers)])
    caption = f'{html.escape(split)}: {_METRIC_WORDS[metric]}, mm after rigid alignment.'
    return f'<p>{caption}</p>' + page.table(table, 'numbers')


def _table(title, rows):
    if not rows[1:]:
        return ''
    return f'<details><summary>{html.escape(title)}</summary>{page.table(rows)}</details>'


def _real(folder):
    """Returns the HTML of the errors on real people that an evaluation of them left here."""
    path = os.path.join(folder, 'real.json')
    if not os.path.exists(path):
        return ''
    with open(path, encoding='utf-8') as file:
        results = json.load(file)
    each = f'<details><summary>Each person</summary>{real_page.people(results)}</details>'
    return f'<h2>Real people</h2>{real_page.headline(results)}{each}<h2>People of the records</h2>'
