"""Scores runs on the NoW challenge's validation people: `run_eval.py --now=FOLDER`.

Two tables that must not be mixed. The challenge's own: each photo gives a face by itself. And one
that the challenge does not have: 1, 2, 4, 8 photos of a person, drawn over all kinds of its photos,
give one face. The protocol: now_protocol.py. A photo that is not used counts with the mean face;
how many there were stands in the table.
"""

import functools
import json
import os
import zlib
from typing import NamedTuple

import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.evaluation import now_protocol, real_people, statistics, tables
from seqface_jax.photos import photo_file

FRAMES = (1, 2, 4, 8)
NAME = 'now'  # The files' name.
ALL = 'all'
_SEED = 0


class NowScore(NamedTuple):
    """A face on a person's scan.

    Attributes:
        model, subject: str.
        challenge: kind of the photo; None where several photos give one face.
        photos: number of photos; None for the mean face.
        used: number of them that showed a face.
        distances_mm: [N].
    """

    model: str
    subject: str
    challenge: str | None
    photos: int | None
    used: int
    distances_mm: np.ndarray


def evaluate(reconstructors, mean, landmarks, people, folder, *, frames=FRAMES):
    """Scores runs, and writes now.json and now.md.

    Args:
        reconstructors: dict of a flagship's reconstructors by the run's name.
        mean: real_people.ScoredFace before any photo.
        landmarks: [68] vertices of `mean`, as of flagship.Geometry.
        people: list of functions without arguments, each of which returns a person as
            data_prep.now_files.NowPerson describes one; only one is in memory.
        folder: where to write; made if missing.
        frames: numbers of photos of a person that give one face.

    Returns:
        str, the tables as Markdown.

    Raises:
        UserError: a file cannot be read, or a number of photos is not positive.
    """
    frames = tuple(sorted(set(frames)))
    if not frames or frames[0] < 1:
        raise UserError('the numbers of photos must be at least 1')
    single, several = [], []
    for load in people:
        person = load()
        target = now_protocol.make_target(person.vertices, person.landmarks)
        base = _distances(landmarks, target, mean)
        unseen = functools.partial(NowScore, real_people.MEAN_FACE, person.name)
        single += [unseen(challenge, None, 0, base) for challenge, _ in person.photos]
        several.append(unseen(None, None, 0, base))
        for name, reconstructor in reconstructors.items():
            compare = functools.partial(_distances, reconstructor.geometry.landmarks, target)
            single += _single(name, reconstructor, person, compare, base)
            several += _several(name, reconstructor, person, compare, base, frames)
    results = {'protocol': _protocol(), 'single': _rows(single), 'several': _rows(several)}
    text = markdown(results)
    os.makedirs(folder, exist_ok=True)
    written = json.dumps(results, indent=1, allow_nan=False) + '\n'
    tables.write_text(os.path.join(folder, f'{NAME}.json'), written)
    tables.write_text(os.path.join(folder, f'{NAME}.md'), text)
    return text


def draw(person):
    """Returns a person's photos in the order in which they are shown together, the same always."""
    rng = np.random.default_rng([_SEED, zlib.crc32(person.name.encode())])
    return [person.photos[index][1] for index in rng.permutation(len(person.photos))]


def markdown(results):
    """Returns the tables of now.md."""
    lines = []
    for title, rows in (
        ('One photo, one face: the challenge, validation people', results['single']),
        ('Several photos of a person, one face: not of the challenge', results['several']),
    ):
        lines += [f'### {title}', '']
        head = ('model', 'kind of photo', 'photos', 'median, mm', 'mean, mm', 'std, mm')
        head += ('people', 'faces', 'without a face', 'mean of people, mm [95 %]')
        lines += ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
        lines += ['| ' + ' | '.join(_cells(row)) + ' |' for row in rows] + ['']
    lines += [f'- {name}: {text}' for name, text in results['protocol'].items()]
    return '\n'.join(lines) + '\n'


def _distances(landmarks, target, face):
    marks = landmarks[list(now_protocol.LANDMARKS)]
    return now_protocol.distances(face.vertices, face.triangles, face.vertices[marks], target)


def _single(name, reconstructor, person, compare, base):
    found = []
    for challenge, path in person.photos:
        faces, used = _faces(reconstructor, [path])
        own = compare(faces[0]) if used else base
        found.append(NowScore(name, person.name, challenge, 1, used, own))
    return found


def _several(name, reconstructor, person, compare, base, frames):
    found, order = [], draw(person)
    for count in (count for count in frames if count <= len(order)):
        faces, used = _faces(reconstructor, order[:count])
        own = compare(faces[-1]) if used else base
        found.append(NowScore(name, person.name, None, count, used, own))
    return found


def _faces(reconstructor, paths):
    """Returns the faces after each photo that was used, and their number."""
    state, faces = reconstructor.initial_state(), []
    for path in paths:
        state, face = reconstructor.update(state, photo_file.read(path))
        if face is not None:
            faces.append(face)
    return faces, len(faces)


def _rows(scored):
    """Returns a row for each model, kind of photo and number of photos; kinds together first."""
    groups = {}
    for own in scored:
        kinds = (ALL,) if own.challenge is None else (ALL, own.challenge)
        for kind in kinds:
            groups.setdefault((own.model, kind, own.photos), []).append(own)
    rows = []
    for (model, kind, photos), members in groups.items():
        median, mean, std = now_protocol.pooled([own.distances_mm for own in members])
        by_person = {}
        for own in members:
            by_person.setdefault(own.subject, []).append(own.distances_mm.mean())
        means = [float(np.mean(values)) for values in by_person.values()]
        low, high = statistics.bootstrap_interval(means) or (None, None)
        rows.append(
            {
                'model': model,
                'kind': kind,
                'photos': photos,
                'median_mm': median,
                'mean_mm': mean,
                'std_mm': std,
                'people': len(means),
                'faces': len(members),
                'without': 0 if photos is None else sum(own.used == 0 for own in members),
                'person_mean_mm': float(np.mean(means)),
                'low_mm': low,
                'high_mm': high,
            }
        )
    return sorted(rows, key=lambda row: row['kind'] != ALL)


def _cells(row):
    interval = '' if row['low_mm'] is None else f' [{row["low_mm"]:.2f}, {row["high_mm"]:.2f}]'
    return (
        row['model'],
        row['kind'],
        '-' if row['photos'] is None else str(row['photos']),
        *(f'{row[name]:.2f}' for name in ('median_mm', 'mean_mm', 'std_mm')),
        *(str(row[name]) for name in ('people', 'faces', 'without')),
        f'{row["person_mean_mm"]:.2f}{interval}',
    )


def _protocol():
    return {
        'one photo': 'crop, alignment (with scale) and distance as the challenge publishes them; '
        'median, mean and std are of all scan vertices of all photos together',
        'several photos': 'the same, of the face after so many photos of a person, drawn once over '
        'all its photos',
        'without a face': 'photos, or draws of photos, in which no face was found; the mean face '
        'stands in',
        'validation': "of the challenge; its published table is of other people, the test set's",
    }
