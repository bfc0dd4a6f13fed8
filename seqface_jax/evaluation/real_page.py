"""Errors on real people as HTML: a page of their own, real.html, and a part of report.html."""

import html
import os

import numpy as np

from seqface_jax import files
from seqface_jax.evaluation import page

MEAN_FACE = 'mean_face'  # The model that looks at no photo.
_TEMPLATE = os.path.join(os.path.dirname(__file__), 'real_template.html')
_PERSON_HEAD = ('person', 'answer of', 'photos', 'mean, mm', 'median, mm', '90 % are below, mm')
_PERSON_HEAD += ('mean up to scale, mm', 'inside the 90 % band', 'reprojection, px')
_WORDS = {
    'photos': 'Photos',
    'points': 'Points of the scan',
    'alignment': 'Alignment',
    MEAN_FACE: 'Mean face',
    'inside_band': 'Inside the 90 % band',
    'reprojection_px': 'Reprojection',
}


def write(path, results):
    """Writes the page of the results of real.json, whole or not at all."""
    names = dict.fromkeys(row['model'] for row in results['rows'] if row['model'] != MEAN_FACE)
    protocol = {_WORDS.get(name, name): text for name, text in results['protocol'].items()}
    parts = {
        'TITLE': html.escape(f'Real people: {", ".join(names)}'),
        'NUMBERS': headline(results),
        'PEOPLE': people(results),
        'PROTOCOL': page.definitions(protocol),
    }
    files.write_text(path, page.fill(_TEMPLATE, parts))


def headline(results):
    """Returns the HTML of the mean error after some and all photos, with the mean face's.

    Args:
        results: of real.json.
    """
    counts = sorted({row['photos'] for row in results['means']})
    heads = [f'{count} photo{"s" if count > 1 else ""}' for count in counts]
    rows = [['', *heads, 'all photos']]
    for model in dict.fromkeys(row['model'] for row in results['means']):
        values = [_after(results, model, count) for count in counts]
        values.append(_after_all(results, model))
        rows.append([model, *(_number(own) for own, _ in values)])
        rows.append(['mean face, the same people', *(_number(mean) for _, mean in values)])
    count = len({row['person'] for row in results['rows']})
    whom = 'one person' if count == 1 else f'{count} people'
    caption = (
        f'Photos of {whom}: mean distance from the points of the scan to the answer, in mm after '
        'rigid alignment; lower is better. Who has fewer photos than a column says is not in it.'
    )
    return f'<p>{caption}</p>' + page.table(rows, 'numbers')


def people(results):
    """Returns the HTML of each person's errors."""
    rows = [_PERSON_HEAD]
    for row in results['rows']:
        name = 'mean face' if row['model'] == MEAN_FACE else row['model']
        photos = 'none' if row['photos'] is None else str(row['photos'])
        values = [row[key] for key in ('mean_mm', 'median_mm', 'p90_mm', 'scaled_mean_mm')]
        values += [row['inside_band'], row['reprojection_px']]
        rows.append([row['person'], name, photos, *map(_number, values)])
    return page.table(rows)


def _after(results, model, count):
    """Returns a model's mean error after a number of photos, and that of the mean face."""
    for row in results['means']:
        if (row['model'], row['photos']) == (model, count):
            return row['mean_mm'], row['mean_face_mm']
    return None, None


def _after_all(results, model):
    """Returns a model's mean error after all photos of each person, and that of the mean face."""
    rows = results['rows']
    # A person's last row is that of all photos.
    own = {row['person']: row['mean_mm'] for row in rows if row['model'] == model}
    base = [r['mean_mm'] for r in rows if r['model'] == MEAN_FACE and r['person'] in own]
    return float(np.mean(list(own.values()))), float(np.mean(base))


def _number(value):
    return '-' if value is None else f'{value:.2f}'
