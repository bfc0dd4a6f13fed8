"""Scores runs on photos and scans of real people: `run_eval.py --real=FOLDER`.

Photos go in through a `Reconstructor`, as a user's do, in order of their names; so every run that
`Reconstructor.restore` reads can be scored. The mean face is that of the run of the package, and
looks at no photo. How a face is compared with a scan: scan_distance.py.
"""

import contextlib
import json
import os
from typing import NamedTuple

import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.evaluation import real_page, scan_distance, statistics, tables
from seqface_jax.geometry import surface
from seqface_jax.photos import video

FRAMES = (1, 2, 4, 8, 16)
MEAN_FACE = real_page.MEAN_FACE
NAME = 'real'  # The files' name.
_HEAD = ('person', 'model', 'photos', 'scan to mesh, mm: mean / median / p90', 'up to scale, mm')
_HEAD += ('of the mean face', 'inside the 90 % band', 'reprojection, px')


class ScoredFace(NamedTuple):
    """A face after some photos.

    Attributes:
        vertices: [V, 3] mm, canonical frame; triangles: [F, 3].
        deviation_mm: [V] stated standard deviation; None where the run states none.
        reprojection_px: [] root mean square over the photos so far; None where it is not told.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    deviation_mm: np.ndarray | None
    reprojection_px: float | None


def evaluate(reconstructors, mean, people, folder, *, frames=FRAMES):
    """Scores runs on people, and writes real.json, real.md and the page real.html.

    Args:
        reconstructors: dict of reconstruct.Reconstructor, or a flagship's, by the run's name.
        mean: ScoredFace before any photo.
        people: list of functions without arguments, each of which returns a person as
            data_prep.scanned_people.RealPerson describes one; only one is in memory.
        folder: where to write; made if missing.
        frames: numbers of photos; all photos are always scored too.

    Returns:
        str, the table as Markdown.

    Raises:
        UserError: a scan or photos cannot be read, or a number of photos is not positive.
    """
    frames = tuple(sorted(set(frames)))
    if not frames or frames[0] < 1:
        raise UserError('the numbers of photos must be at least 1')
    rows, skipped = [], []
    for load in people:
        person = load()
        points = scan_distance.scan_points(person.vertices, person.triangles, person.nose_tip)
        base = score(mean, points, person.nose_tip)
        rows.append({'person': person.name, 'model': MEAN_FACE, 'photos': None} | base)
        for name, reconstructor in reconstructors.items():
            faces, unused = faces_of(reconstructor, person.photos)
            skipped += [{'person': person.name, 'model': name} | own for own in unused]
            for count in counts(frames, len(faces)):
                own = score(faces[count - 1], points, person.nose_tip)
                rows.append({'person': person.name, 'model': name, 'photos': count} | own)
    results = {'protocol': _protocol(frames), 'rows': rows, 'means': _means(rows, frames)}
    results['skipped_photos'] = skipped
    text = markdown(results)
    os.makedirs(folder, exist_ok=True)
    written = json.dumps(results, indent=1, allow_nan=False) + '\n'
    tables.write_text(os.path.join(folder, f'{NAME}.json'), written)
    tables.write_text(os.path.join(folder, f'{NAME}.md'), text)
    real_page.write(os.path.join(folder, f'{NAME}.html'), results)
    return text


def mean_face(geometry):
    """Returns the ScoredFace before any photo, of a flagship.Geometry."""
    mean = geometry.eyes.joined(np.asarray(geometry.basis.mean))
    return ScoredFace(mean, geometry.triangles, None, None)


def faces_of(reconstructor, photos):
    """Streams photos through a run.

    Args:
        reconstructor: reconstruct.Reconstructor, or a flagship's.
        photos: folder.

    Returns:
        list of ScoredFace, one after each photo that was used; and a list of dict, which photos
        were not, and why.
    """
    state, faces, unused, errors_px = reconstructor.initial_state(), [], [], []
    with contextlib.closing(video.open_source(photos).frames) as frames:
        for frame in frames:
            if frame.photo is None:
                if frame.is_photo:
                    unused.append({'photo': frame.name, 'reason': frame.problem})
                continue
            observation = reconstructor.examine(state, frame.photo)
            state, face = reconstructor.update(state, frame.photo, observation)
            if face is None:
                unused.append({'photo': frame.name, 'reason': observation.reason})
                continue
            if face.frame is not None:
                errors_px.append(face.frame.reprojection_px)
            faces.append(_as_face(face, errors_px))
    return faces, unused


def counts(frames, available):
    """Returns the numbers of photos to score at: those of `frames` that there are, and all."""
    return sorted({count for count in frames if count <= available} | {available} - {0})


def score(face, points, nose_tip):
    """Returns what a ScoredFace is worth on a scan, a flat dict.

    Args:
        face: ScoredFace.
        points: [N, 3] mm, of scan_distance.scan_points; nose_tip: [3] mm.
    """
    own = surface.Surface(face.vertices, face.triangles)
    rigid = scan_distance.fit(own, points, nose_tip)
    scaled = scan_distance.fit(own, points, nose_tip, scaled=True)
    band = None
    if face.deviation_mm is not None:
        band = scan_distance.inside_band(own.triangles, face.deviation_mm, rigid)
    return {
        'mean_mm': float(rigid.distance.mean()),
        'median_mm': float(np.median(rigid.distance)),
        'p90_mm': float(np.percentile(rigid.distance, 90)),
        'scaled_mean_mm': float(scaled.distance.mean()),
        'inside_band': band,
        'reprojection_px': face.reprojection_px,
    }


def markdown(results):
    """Returns the tables of real.md."""
    lines = _table(_HEAD, [_cells(row, results['rows']) for row in results['rows']])
    if len({row['person'] for row in results['rows']}) > 1:
        head = ('model', 'photos', 'people', 'scan to mesh, mm [95 %]', 'up to scale, mm')
        head += ('mean face, the same people', 'p')
        lines += ['', *_table(head, [_mean_cells(row) for row in results['means']])]
    unused = len(results['skipped_photos'])
    lines += ['', f'- photos that were not used: {unused} (real.json says why)']
    lines += [f'- {name}: {text}' for name, text in results['protocol'].items()]
    return '\n'.join(lines) + '\n'


def _as_face(face, errors_px):
    states = (face.confidence < 1).any()  # All ones: the network does not say how sure it is.
    deviation = 1 / face.confidence.astype(np.float64) - 1 if states else None
    error = float(np.sqrt(np.mean(np.square(errors_px)))) if errors_px else None
    return ScoredFace(face.vertices, face.triangles, deviation, error)


def _means(rows, frames):
    """Averages over people who have so many photos, beside the mean face of the same people."""
    base = {row['person']: row for row in rows if row['model'] == MEAN_FACE}
    found = []
    for model in dict.fromkeys(row['model'] for row in rows if row['model'] != MEAN_FACE):
        for count in frames:
            own = [row for row in rows if row['model'] == model and row['photos'] == count]
            if not own:
                continue
            values = [row['mean_mm'] for row in own]
            reference = [base[row['person']]['mean_mm'] for row in own]
            low, high = statistics.bootstrap_interval(values) or (None, None)
            found.append(
                {
                    'model': model,
                    'photos': count,
                    'people': len(own),
                    'mean_mm': float(np.mean(values)),
                    'low_mm': low,
                    'high_mm': high,
                    'scaled_mean_mm': float(np.mean([row['scaled_mean_mm'] for row in own])),
                    'mean_face_mm': float(np.mean(reference)),
                    'p_value': statistics.paired_p_value(values, reference),
                }
            )
    return found


def _cells(row, rows):
    base = next(own for own in rows if own['person'] == row['person'])
    share = row['mean_mm'] / base['mean_mm'] - 1
    return (
        row['person'],
        row['model'],
        _text(row['photos'], 'd'),
        f'{row["mean_mm"]:.2f} / {row["median_mm"]:.2f} / {row["p90_mm"]:.2f}',
        _text(row['scaled_mean_mm'], '.2f'),
        '-' if row is base else f'{share:+.0%}',
        _text(row['inside_band'], '.2f'),
        _text(row['reprojection_px'], '.2f'),
    )


def _mean_cells(row):
    interval = '' if row['low_mm'] is None else f' [{row["low_mm"]:.2f}, {row["high_mm"]:.2f}]'
    return (
        row['model'],
        str(row['photos']),
        str(row['people']),
        f'{row["mean_mm"]:.2f}{interval}',
        _text(row['scaled_mean_mm'], '.2f'),
        _text(row['mean_face_mm'], '.2f'),
        statistics.show_p(row['p_value'], row['people']),
    )


def _text(value, digits):
    return '-' if value is None else format(value, digits)


def _table(head, rows):
    return ['| ' + ' | '.join(row) + ' |' for row in (head, ('---',) * len(head), *rows)]


def _protocol(frames):
    radius = f'{scan_distance.RADIUS_MM:.0f} mm'
    return {
        'photos': f'in order of their names; after {", ".join(map(str, frames))} and all photos '
        'that were used',
        'points': f'of {scan_distance.NUM_POINTS} drawn on the scan those within {radius} of its '
        'nose tip that are seen from the front; the distance from each to the face, none left out',
        'alignment': 'rigid ICP, the best of seven starts; up to scale: with one scale for all '
        'axes, for scans whose size is not sure',
        'mean_face': "of the package's run: it looks at no photo",
        'inside_band': 'share of the points whose distance is at most 1.645 stated standard '
        'deviations of one coordinate, after rigid alignment: 0.90 would be right',
        'reprojection_px': 'points found on the photos and those of the fitted face, root mean '
        'square over the photos so far, in pixels of the photo',
    }
