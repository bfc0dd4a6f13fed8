"""Scores of runs on MICC Florence, by the field's protocols and for each of its videos."""

import concurrent.futures
import csv
import io
import os
import zlib
from typing import NamedTuple

import numpy as np
from absl import logging

from seqface_jax import models
from seqface_jax.data import input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.evaluation import baselines, protocols, statistics, streaming
from seqface_jax.geometry import surface
from seqface_jax.models.network import face_mask, is_ordered

CHECKPOINT = 'best_validation'
_TITLES = ('protocol', 'model', 'setting', 'frames', 'subjects', 'mean', 'std', '95 %', 'p')


class Score(NamedTuple):
    """One subject's value of one row.

    Attributes:
        protocol: one of protocols.NAMES.
        model: name of the run, or 'mean_face'.
        setting: sequence that the frames are of; None where no frame is looked at.
        num_frames: that were shown, or all the subject has there; None as for setting.
        subject: its id.
        value: in protocols.UNITS.
    """

    protocol: str
    model: str
    setting: str | None
    num_frames: int | None
    subject: str
    value: float


def score(runs, names, frames):
    """Scores runs, and the mean face that the first of them knows of its training split.

    Args:
        runs: list of ScoredRun.
        names: of protocols.NAMES.
        frames: increasing numbers of frames of one setting to show.

    Returns:
        list of Score, rows after rows, subjects in order.
    """
    found, targets = [], None
    for run in runs:
        if targets is None:
            targets = run.targets()
            found += _scores(names, 'mean_face', None, None, targets, run.mean_faces(targets))
        for setting in run.settings():
            for count, answers in run.answers(setting, frames):
                found += _scores(names, run.name, setting, count, targets, answers)
    return found


def table(scores):
    """Returns the rows of scores as Markdown: mean and spread over the subjects, by protocol.

    p: paired sign-flip test against the mean face on the same subjects; the interval: 95 %,
    bootstrap over subjects.
    """
    rows = {}
    for score in scores:
        rows.setdefault(score[:4], {})[score.subject] = score.value
    lines = ['| ' + ' | '.join(_TITLES) + ' |', '|' + '---|' * len(_TITLES)]
    for key, own in sorted(rows.items(), key=lambda row: protocols.NAMES.index(row[0][0])):
        protocol, model, setting, num_frames = key
        values = np.array(list(own.values()))
        interval = statistics.bootstrap_interval(values)
        reference = rows.get((protocol, 'mean_face', None, None), {})
        p_value = None
        if model != 'mean_face' and set(own) <= set(reference):
            p_value = statistics.paired_p_value(values, [reference[name] for name in own])
        digits = '.2f' if protocols.UNITS[protocol] == 'mm' else '.4f'
        cells = [
            f'{protocol} ({protocols.UNITS[protocol]})',
            model,
            setting or '-',
            str(num_frames or '-'),
            str(len(own)),
            format(values.mean(), digits),
            format(values.std(), digits),
            '-' if interval is None else f'[{interval[0]:{digits}}, {interval[1]:{digits}}]',
            statistics.show_p(p_value, len(own)),
        ]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def csv_text(scores):
    """Returns the scores as a CSV table with a head."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(Score._fields)
    writer.writerows(scores)
    return buffer.getvalue()


class ScoredRun:
    """One run on the records that are scored on."""

    def __init__(self, run, mean, seed):
        """Takes a runs.Run; `mean` is the position map of a flagship's mean face, else None."""
        self.name, self._run, self._mean, self._seed = run.name, run, mean, seed
        self._step, self._variables = run.models[CHECKPOINT]
        if mean is None:
            self._mask = face_mask(self._variables.get('constants', {}))
        else:
            self._mask = surface.crop_mask(mean)
        self._split = run.dataset.split(run.config.data.test_split)

    def targets(self):
        """Returns the protocols.Target of every subject of the test split."""
        table, found = self._split.subjects, []
        for index, subject in enumerate(self._split.subject_ids):
            scan = surface.Surface(table['scan_vertices'][index], table['scan_triangles'][index])
            own = (table[name][index] for name in ('points', 'position_map', 'mask'))
            found.append(protocols.make_target(subject, scan, *own))
        return found

    def settings(self):
        """Returns the names of the sequences that any subject has photos of."""
        return sorted({str(name) for own in self._split.frame_index for name in own.sequences})

    def mean_faces(self, targets):
        """Returns {subject: surface of the mean face}; empty if the training split is gone.

        That of the people whom the run learned from; a flagship has its own.
        """
        try:
            mean, mask = self._mean_map()
        except UserError as error:
            logging.warning('no row of the mean face: %s', error)
            return {}
        answer = streaming.to_answer(models.Prediction(mean), ordered=True, mask=mask)
        face = surface.Surface(answer.vertices, answer.triangles)
        return {target.subject: face for target in targets}

    def _mean_map(self):
        """Returns the position map of the mean face and its mask; UserError: nobody is there."""
        if self._mean is not None:
            return self._mean, self._mask
        data = self._run.trained_on
        people = input_pipeline.open_dataset(data).split(data.train_split).subjects
        mean = baselines.mean_face(people['position_map'], people['mask'])
        return mean, surface.face_mask(people['mask'])

    def answers(self, setting, counts):
        """Yields (number of frames, {subject: surface}) of the subjects that have the setting."""
        max_frames = models.MAX_FRAMES[self._run.reads]
        drawn = self._draw(setting, max_frames)
        counts = streaming.usable_counts(counts, max_frames)
        shown = [self._split.frames(index, order[: counts[-1]]) for index, order in drawn.items()]
        predictions, _ = streaming.stream(self._step, self._variables, shown, counts)
        mask = np.ones((128, 128), bool) if self._mask is None else self._mask
        ordered = is_ordered(self._run.config)
        for count, prediction in zip(counts, predictions, strict=True):
            condition = streaming.Condition(self.name, CHECKPOINT, 'test', count)
            answers = streaming.Answers(condition, prediction, ordered, mask, None)
            answers.require_finite()
            own = {self._split.subject_ids[index]: answers.of(n) for n, index in enumerate(drawn)}
            yield (
                count,
                {
                    subject: surface.Surface(answer.vertices, answer.triangles)
                    for subject, answer in own.items()
                },
            )

    def _draw(self, setting, max_frames):
        """Returns {index of a subject: its frames of the setting in the order to show them}."""
        data, found = self._run.config.data, {}
        for index, subject in enumerate(self._split.subject_ids):
            own = self._split.frame_index[index]
            frames = np.flatnonzero(np.asarray(own.sequences) == setting)
            if not len(frames):
                continue
            rng = np.random.default_rng([self._seed, zlib.crc32(f'{subject} {setting}'.encode())])
            order = rng.permutation(frames)
            if max_frames == 2:
                order = streaming.draw_pair(
                    order, own.yaw_deg, data.front_max_yaw_deg, data.side_min_yaw_deg
                )
            found[index] = order
        return found


def _scores(names, model, setting, count, targets, surfaces):
    """Returns the Scores of one row in every protocol; subjects are spread over threads."""
    known = [target for target in targets if target.subject in surfaces]
    tasks = [(name, target) for name in names for target in known]

    def score(task):
        name, target = task
        value = protocols.score(name, surfaces[target.subject], target)
        return Score(name, model, setting, count, target.subject, value)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(score, tasks))
