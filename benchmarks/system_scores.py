"""Scores the systems on people of records and real people, on as many frames as each one reads."""

import functools
import json
import os
from typing import NamedTuple

import jax

from seqface_jax import checkpoints, evaluate, models
from seqface_jax.evaluation import real_people, runs, streaming

WHICH = 'best_validation'


class Score(NamedTuple):
    """A system on some people after some frames.

    Attributes:
        frames: number of frames, None for what looks at none.
        vertex_mm: None where its points have no order, or the truth is not known.
        scan_to_mesh_mm: float.
        num_people: int, over whom both are averaged.
        p_value: against the mean face, by vertex_mm where both have it; None where not tested.
        ms_per_face: None where it is not measured.
        oracle: Score of the best that the system's form of answer allows; None where it allows
            everything, or the truth is not known.
    """

    frames: int | None
    vertex_mm: float | None
    scan_to_mesh_mm: float
    num_people: int
    p_value: float | None = None
    ms_per_face: float | None = None
    oracle: 'Score | None' = None


def score_records(workdirs, options):
    """Scores runs on one split of records, and writes what evaluate.evaluate writes.

    Args:
        workdirs: {name: workdir}.
        options: evaluate.EvaluationOptions of one split.

    Returns:
        {name: [Score]}, with the mean face.
    """
    rows, found = evaluate.evaluate(list(workdirs.values()), options), {}
    for name, model, workdir in _models(workdirs):
        most = 0 if workdir is None else max(frames_of(workdir, options.frames))
        at_best = (_score(row) for row in rows if (row['model'], row['of']) == ('oracle', model))
        oracle = next(at_best, None)
        found[name] = [  # Where people have fewer frames, a row is of as many as there are.
            _score(row)._replace(oracle=oracle)
            for row in rows
            if row['model'] == model and not row['of'] and (row['num_frames'] or 0) <= most
        ]
    return found


def score_real(workdirs, folder, output, frames):
    """Scores runs on photos and scans of people; see data_prep.scanned_people for the folder.

    Args:
        workdirs: {name: workdir}.
        folder: of the people.
        output: folder for real.json, real.md and the page.
        frames: numbers of photos.

    Returns:
        {name: [Score]}, means over the people, with the mean face.
    """
    from data_prep import scanned_people

    scans = scanned_people.find(folder).values()
    loads = [functools.partial(scanned_people.read, scan) for scan in scans]
    evaluate.score_real_people(list(workdirs.values()), loads, output, frames=frames)
    with open(os.path.join(output, f'{real_people.NAME}.json'), encoding='utf-8') as file:
        rows = json.load(file)['rows']
    found = {}
    for name, model, workdir in _models(workdirs):
        counts = (None,) if workdir is None else frames_of(workdir, frames)
        own = [
            [row['mean_mm'] for row in rows if (row['model'], row['photos']) == (model, count)]
            for count in counts
        ]
        found[name] = [
            Score(count, None, sum(values) / len(values), len(values))
            for count, values in zip(counts, own, strict=True)
            if values
        ]
    return found


def frames_of(workdir, frames):
    """Returns the numbers of frames to score a run at, none larger than it was trained to read."""
    config = checkpoints.read_config(workdir)
    if config.model.name == checkpoints.FLAGSHIP:
        return tuple(frames)
    limit = models.MAX_FRAMES[models.reads(config.model)]
    if limit is not None:
        limit = min(limit, config.data.num_frames)
    return streaming.usable_counts(frames, limit)


def num_parameters(workdir):
    """Returns the number of parameters of a run."""
    _, _, variables = checkpoints.load(workdir, WHICH)
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


def _models(workdirs):
    """Yields (name, what tables call it, workdir) of the mean face, whose workdir is None, and of
    runs {name: workdir}."""
    yield real_people.MEAN_FACE, real_people.MEAN_FACE, None
    yield from zip(workdirs, runs.names_of(list(workdirs.values())), workdirs.values(), strict=True)


def _score(row):
    seconds = row['seconds_per_sequence']
    return Score(
        row['num_frames'],
        row['vertex_mm'],
        row['scan_to_mesh_mm']['mean'],
        row['num_subjects'],
        row['p_value'],
        None if seconds is None else 1e3 * seconds / row['num_frames'],
    )
