"""Scores runs and baselines on whole splits: every subject once, the same frames for every model.

Predictions are made by streaming, one compiled step per model: the answer after the n-th frame is
what a table's row of n frames reports, and the draw of n frames is the start of the draw of more.
"""

import concurrent.futures
import dataclasses
import os
import time
import zlib
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from seqface_jax import (
    baselines,
    checkpoints,
    input_pipeline,
    metrics,
    reconstruct,
    results,
    statistics,
    surface,
)
from seqface_jax.errors import UserError

SPLITS = ('train', 'validation', 'test')
_BATCH_SIZE = 8  # Subjects per compiled step; the last batch is filled up to it.
_SELECTED_ON_TEST = 'selected on test'
_TRAINED_ON_TEST = 'trained on test'
_INTERVALS = ('nme_thesis', 'scan_to_mesh_mm', 'mesh_to_scan_mm', 'coverage', 'vertex_mm')


@dataclasses.dataclass(frozen=True)
class Options:
    """What to evaluate; None takes what the first run's config.eval says.

    Attributes:
        frames: numbers of frames.
        splits: of 'train', 'validation', 'test'.
        checkpoints: of checkpoints.WHICH.
        max_subjects: of each split, in order of their ids; 0: all.
        data_dir, data_name: other records than those the runs were trained on.
    """

    frames: tuple | None = None
    splits: tuple | None = None
    checkpoints: tuple | None = None
    max_subjects: int | None = None
    data_dir: str | None = None
    data_name: str | None = None


class Subjects(NamedTuple):
    """The subjects of one split, ready to be scored.

    Attributes:
        ids: list of S str.
        scans: list of S surface.Surface, the 95 mm crops.
        points: [S, N, 3] mm, the thesis's targets.
        true_maps, true_masks: [S, 128, 128, 3] mm and [S, 128, 128]; masks are empty where the
            truth is not known.
        drawn: list of S int arrays, the frames to show, in order.
    """

    ids: list
    scans: list
    points: np.ndarray
    true_maps: np.ndarray
    true_masks: np.ndarray
    drawn: list


class Condition(NamedTuple):
    """What makes a row: who answered, on whom, after how many frames."""

    model: str
    checkpoint: str | None
    split: str
    num_frames: int | None
    selection: str | None = None
    of: str | None = None  # The run whose single-frame answers are averaged.


class Answers(NamedTuple):
    """The predictions of one condition: maps [S, M, M, 3] mm, one per subject."""

    condition: Condition
    maps: np.ndarray
    ordered: bool
    seconds: float | None


def evaluate(workdirs, options=None):
    """Evaluates runs and baselines, and writes <first workdir>/eval/.

    Args:
        workdirs: list of runs; all are shown the same frames of the same records.
        options: Options.

    Returns:
        The rows written to results.json.

    Raises:
        UserError: a run, checkpoint, split or the records are missing, or nothing is asked for.
    """
    from seqface_jax import figures

    options = options or Options()
    runs = _load_runs(workdirs, options)
    plan = _plan(next(iter(runs.values())), options)
    rows, per_subject, shown = [], [], []
    for split in plan.splits:
        evaluation = _SplitEvaluation(split, plan, runs)
        split_rows, split_per_subject = evaluation.run()
        rows += split_rows
        per_subject += split_per_subject
        shown.append(evaluation.show())
    folder = os.path.join(workdirs[0], 'eval')
    results.write(folder, _protocol(plan, workdirs, runs), rows, per_subject)
    figures.write(os.path.join(folder, 'figures'), rows, shown, workdirs)
    return rows


def draw_frames(sequences, count, *, seed):
    """Draws distinct frames of one subject, spread over its sequences.

    The sequences take turns in random order, each giving a random one of its frames left. A
    smaller count with the same seed gives the beginning of the same draw.

    Args:
        sequences: [F] str, the sequence of each frame.
        count: of frames; all F, if there are fewer.
        seed: int or sequence of int.

    Returns:
        [min(count, F)] int frame indices, in the order to show them.
    """
    rng = np.random.default_rng(seed)
    turn = np.empty(len(sequences), np.int64)
    for name in np.unique(sequences):
        own = np.flatnonzero(sequences == name)
        turn[own] = rng.permutation(len(own))
    order = np.lexsort([rng.permutation(len(sequences)), turn])
    return order[:count]


def predict(step, variables, frames, counts, *, single=False):
    """Streams frames through a model and keeps the answers after given numbers of frames.

    Args:
        step: what reconstruct.make_step returned.
        variables: of the model.
        frames: list of S uint8 arrays [T_s, H, W, 3]; a subject with fewer frames than asked for
            answers after its last one.
        counts: increasing numbers of frames.
        single: show each frame to an empty state and average the answers.

    Returns:
        maps [len(counts), S, M, M, 3] mm and seconds per sequence [len(counts)], without the
        time to compile.
    """
    answers, seconds = [], np.zeros(len(counts))
    size = min(_BATCH_SIZE, len(frames))
    for start in range(0, len(frames), size):
        batch = frames[start : start + size]
        # Filled up with the first subject again, so that one compilation serves all batches.
        filled = batch + [frames[0]] * (size - len(batch))
        maps, batch_seconds = _predict_batch(step, variables, filled, counts, single)
        answers.append(maps[:, : len(batch)])
        seconds += batch_seconds
    return np.concatenate(answers, axis=1), seconds / len(frames)


def _predict_batch(step, variables, frames, counts, single):
    lengths = np.array([len(own) for own in frames])
    _, warm = step(variables, None, np.stack([own[0] for own in frames]))
    side = warm.position_map.shape[1]
    maps = np.zeros((len(counts), len(frames), side, side, 3), np.float32)
    seconds, total, state = np.zeros(len(counts)), 0.0, None
    current = np.zeros(maps.shape[1:], np.float32)
    for place in range(min(counts[-1], lengths.max())):
        shown = np.stack([own[min(place, len(own) - 1)] for own in frames])
        begin = time.perf_counter()
        state, prediction = step(variables, None if single else state, shown)
        answer = np.asarray(jax.block_until_ready(prediction.position_map))
        total += time.perf_counter() - begin
        fresh = (place < lengths)[:, None, None, None]
        blend = answer if not single else current + (answer - current) / (place + 1)
        current = np.where(fresh, blend, current)
        for row, count in enumerate(counts):
            if place < count:
                maps[row], seconds[row] = current, total
    return maps, seconds


def score(subjects, index, answer, *, ordered, mask):
    """Computes every metric of one prediction.

    Args:
        subjects: Subjects.
        index: which of them.
        answer: [M, M, 3] mm.
        ordered: whether pixel k is the same place on every face.
        mask: [128, 128] bool, the pixels of an ordered map that are face.

    Returns:
        dict of nme_thesis, scan_to_mesh_mm, mesh_to_scan_mm (metrics.Summary or None), coverage,
        and vertex_mm (None where it is not defined).
    """
    scan = subjects.scans[index]
    vertices, triangles = surface.from_prediction(answer, ordered=ordered, mask=mask)
    predicted = surface.Surface(vertices, triangles)
    transform = metrics.align(scan, predicted)
    hits = metrics.scan_hits(scan, predicted, transform)
    vertex_mm = None
    if ordered:
        side = len(answer)
        true_map = subjects.true_maps[index][:: 128 // side, :: 128 // side]
        true_mask = surface.resize_mask(subjects.true_masks[index], side)
        vertex_mm = metrics.vertex_mm(answer, true_map, true_mask)
    return {
        'nme_thesis': metrics.nme_thesis(vertices, subjects.points[index]),
        'scan_to_mesh_mm': metrics.scan_to_mesh_mm(hits),
        'mesh_to_scan_mm': metrics.mesh_to_scan_mm(scan, predicted, transform),
        'coverage': metrics.coverage(hits),
        'vertex_mm': vertex_mm,
    }


class _Run(NamedTuple):
    name: str
    config: object
    dataset: input_pipeline.Dataset
    models: dict  # Checkpoint -> (step, variables).
    foreign: bool  # Whether it was trained on other records than it is scored on.

    def selection(self, checkpoint, split, subject_ids):
        """Says whether the run has seen the subjects that it is scored on as unseen."""
        if split != 'test' or self.foreign:
            return None
        data = self.config.data
        if set(self.dataset.split(data.train_split).subject_ids) & set(subject_ids):
            return _TRAINED_ON_TEST
        validation = set(self.dataset.split(data.validation_split).subject_ids)
        if checkpoint == 'best_validation' and validation & set(subject_ids):
            return _SELECTED_ON_TEST
        return None


class _Plan(NamedTuple):
    frames: tuple
    splits: tuple
    checkpoints: tuple
    max_subjects: int
    seed: int
    training: input_pipeline.Split
    mask: np.ndarray


def _load_runs(workdirs, options):
    """Returns {workdir: _Run}; checks that all are to be scored on the same records."""
    names = [os.path.basename(os.path.normpath(workdir)) for workdir in workdirs]
    if len(set(names)) < len(names):
        names = [os.path.normpath(workdir) for workdir in workdirs]
    runs, records = {}, None
    for workdir, name in zip(workdirs, names, strict=True):
        config = checkpoints.read_config(workdir)
        trained_on = (os.path.abspath(config.data.dir), config.data.name)
        config.data.dir = options.data_dir or config.data.dir
        config.data.name = options.data_name or config.data.name
        own = (os.path.abspath(config.data.dir), config.data.name)
        if records not in (None, own):
            raise UserError(
                f'{workdir} was trained on {config.data.name} in {config.data.dir}, not on the '
                'records of the first run: name the records with --data_dir and --data_name'
            )
        records = own
        which = options.checkpoints or config.eval.checkpoints
        models, step = {}, None
        for checkpoint in which:
            _, model, variables = checkpoints.load(workdir, checkpoint)
            step = step or reconstruct.make_step(config, model)  # Compiled once per run.
            models[checkpoint] = (step, jax.device_put(variables))
        dataset = input_pipeline.open_dataset(config.data)
        runs[workdir] = _Run(name, config, dataset, models, trained_on != own)
    return runs


def _plan(run, options):
    config = run.config
    splits = tuple(options.splits or config.eval.splits)
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"there is no split '{split}' to evaluate: choose of {SPLITS}")
    frames = tuple(sorted(set(options.frames or config.eval.num_frames)))
    if frames[0] < 1:
        raise UserError(f'the numbers of frames must be at least 1, got {frames[0]}')
    maximum = config.eval.max_subjects if options.max_subjects is None else options.max_subjects
    training = run.dataset.split(config.data.train_split)
    return _Plan(
        frames,
        splits,
        tuple(options.checkpoints or config.eval.checkpoints),
        maximum,
        config.eval.seed,
        training,
        surface.face_mask(training.subjects['mask']),
    )


class _SplitEvaluation:
    """All rows of one split."""

    def __init__(self, name, plan, runs):
        self._name, self._plan, self._runs = name, plan, runs
        # Every run is scored on the first one's subjects, at its own image size.
        expression = next(iter(runs.values())).config.data[f'{name}_split']
        self._splits = {workdir: run.dataset.split(expression) for workdir, run in runs.items()}
        self.subjects = _subjects(next(iter(self._splits.values())), plan)
        self._shown = {}

    def run(self):
        """Returns the split's rows and the same per subject, as flat dicts."""
        rows, per_subject, reference = [], [], None
        for answers in self._answers():
            scores = self._score(answers)
            reference = scores if reference is None else reference  # mean_face comes first.
            rows.append(self._row(answers, scores, reference))
            per_subject += [
                _flat_scores(answers.condition, subject, values)
                for subject, values in zip(self.subjects.ids, scores, strict=True)
            ]
            condition = answers.condition
            if condition.model == 'mean_face' or (condition.checkpoint and not condition.of):
                self._shown[condition.model, condition.checkpoint] = answers
        return rows, per_subject

    def show(self):
        """Returns what the pictures of this split need: split, subjects, frames, mask, answers."""
        workdir = next(iter(self._runs))
        count = min(2, len(self.subjects.ids))
        frames = [self._splits[workdir].frames(i, self.subjects.drawn[i][:8]) for i in range(count)]
        return self._name, self.subjects, frames, self._plan.mask, list(self._shown.values())

    def _answers(self):
        yield from self._baselines()
        for workdir, run in self._runs.items():
            logging.info('%s: predicting the %s split', run.name, self._name)
            split = self._splits[workdir]
            frames = [split.frames(i, drawn) for i, drawn in enumerate(self.subjects.drawn)]
            for checkpoint, (step, variables) in run.models.items():
                yield from self._predict(run, checkpoint, step, variables, frames)

    def _baselines(self):
        training, ids = self._plan.training, self.subjects.ids
        maps = training.subjects['position_map']
        mean = baselines.mean_face(maps, training.subjects['mask'])
        condition = Condition('mean_face', None, self._name, None)
        yield Answers(condition, np.repeat(mean[None], len(ids), axis=0), True, None)
        if set(training.subject_ids) - set(ids) or len(training.subject_ids) > 1:
            others = baselines.random_subjects(ids, training.subject_ids, seed=self._plan.seed)
            condition = Condition('random_subject', None, self._name, None)
            yield Answers(condition, maps[others], True, None)

    def _predict(self, run, checkpoint, step, variables, frames):
        ordered = reconstruct.is_ordered(run.config)
        selection = run.selection(checkpoint, self._name, self.subjects.ids)
        counts = self._plan.frames
        maps, seconds = predict(step, variables, frames, counts)
        for place, count in enumerate(counts):
            condition = Condition(run.name, checkpoint, self._name, count, selection)
            yield Answers(condition, maps[place], ordered, seconds[place])
        counts = [count for count in counts if count > 1]  # After one frame it is the model itself.
        if counts and checkpoint == self._averaged_checkpoint(run):
            maps, seconds = predict(step, variables, frames, counts, single=True)
            for place, count in enumerate(counts):
                condition = Condition(
                    'averaged_single_frames', checkpoint, self._name, count, selection, run.name
                )
                yield Answers(condition, maps[place], ordered, seconds[place])

    def _averaged_checkpoint(self, run):
        return 'best_validation' if 'best_validation' in run.models else next(iter(run.models))

    def _score(self, answers):
        """Returns the metrics of each subject, in order; the subjects are spread over threads."""
        condition = answers.condition
        if not np.isfinite(answers.maps).all():
            raise UserError(
                f'{condition.checkpoint} of {condition.model} answers with numbers that are not '
                'finite: train it again with a lower optimizer.learning_rate'
            )

        def score_one(index):
            return score(
                self.subjects,
                index,
                answers.maps[index],
                ordered=answers.ordered,
                mask=self._plan.mask,
            )

        parts = [condition.split, condition.model, condition.of, condition.checkpoint]
        parts.append(condition.num_frames)
        title = ' '.join(str(part) for part in parts if part is not None)
        indices = range(len(self.subjects.ids))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            scored = pool.map(score_one, indices)
            return list(tqdm(scored, total=len(indices), desc=title, leave=False))

    def _row(self, answers, scores, reference):
        seed = self._plan.seed
        row = answers.condition._asdict() | {'num_subjects': len(scores)}
        row |= {
            name: _mean([values[name] for values in scores])
            for name in ('nme_thesis', 'scan_to_mesh_mm', 'mesh_to_scan_mm', 'coverage')
        }
        row['vertex_mm'] = _mean([values['vertex_mm'] for values in scores])
        row['seconds_per_sequence'] = answers.seconds
        row['intervals'] = {}
        for name in _INTERVALS:
            values = _column(scores, name)
            interval = statistics.bootstrap_interval(values, seed=seed) if values else None
            row['intervals'][name] = interval
        row['p_value'], row['p_metric'] = _p_value(scores, reference, seed)
        row['protocol'] = {
            'alignment': 'rigid, trimmed point-to-plane ICP of the scan crop from the canonical '
            'frame; nme_thesis: its own point ICP; vertex_mm: rigid by the true pairs',
            'target': 'raw scan, cleaned, 95 mm crop',
            'selection': answers.condition.selection,
            'ordered': answers.ordered,
        }
        return row


def _subjects(split, plan):
    count = len(split.subject_ids)
    count = min(count, plan.max_subjects) if plan.max_subjects else count
    table = split.subjects
    scans = []
    for i in range(count):
        if not len(table['scan_triangles'][i]):
            raise UserError(f'the scan of subject {split.subject_ids[i]} is empty: prepare again')
        scans.append(surface.Surface(table['scan_vertices'][i], table['scan_triangles'][i]))
    known = table['has_truth'][:count].astype(bool)
    drawn = []
    for i in range(count):
        seed = [plan.seed, zlib.crc32(split.subject_ids[i].encode())]  # The same in any split.
        sequences = split.frame_index[i].sequences
        drawn.append(draw_frames(sequences, plan.frames[-1], seed=seed))
    return Subjects(
        split.subject_ids[:count],
        scans,
        table['points'][:count],
        table['true_position_map'][:count],
        table['true_mask'][:count].astype(bool) & known[:, None, None],
        drawn,
    )


def _column(scores, name):
    """Returns a metric's value per subject where it is defined; the mean of a summary."""
    found = [values[name] for values in scores if values[name] is not None]
    return [value.mean if isinstance(value, metrics.Summary) else value for value in found]


def _mean(values):
    """Averages a metric over the subjects; each statistic of a summary by itself; None if none."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    if isinstance(found[0], metrics.Summary):
        means = np.mean(np.array(found), axis=0)
        return metrics.Summary(*map(float, means))._asdict()
    return float(np.mean(found))


def _p_value(scores, reference, seed):
    """Tests against the mean face on vertex_mm where both have it, else on scan_to_mesh_mm."""
    if scores is reference:
        return None, None
    for name in ('vertex_mm', 'scan_to_mesh_mm'):
        own, other = _column(scores, name), _column(reference, name)
        if len(own) == len(scores) == len(other):
            return statistics.paired_p_value(own, other, seed=seed), name
    return None, None


def _flat_scores(condition, subject, values):
    flat = condition._asdict() | {'subject': subject}
    for name, value in values.items():
        if isinstance(value, metrics.Summary):
            flat |= {f'{name}_{key}': number for key, number in value._asdict().items()}
        else:
            flat[name] = value
    return flat


def _protocol(plan, workdirs, runs):
    config = next(iter(runs.values())).config
    return {
        'records': os.path.join(config.data.dir, config.data.name),
        'workdirs': list(workdirs),
        'frames': 'one seeded draw of distinct frames per subject, spread over its sequences, '
        'the same for every model; a subject with fewer frames shows all it has',
        'num_frames': list(plan.frames),
        'seed': plan.seed,
        'max_subjects': plan.max_subjects,
        'selection': 'rows on test are marked if the run chose its checkpoint, or was trained, on '
        'subjects of test',
        'crop': '95 mm around the nose tip of the scan',
        'alignment': 'rigid, no scale; the scan crop onto the predicted surface by trimmed '
        'point-to-plane ICP, started from the canonical frame, the same for every row',
        'intervals': '95 %, bootstrap over subjects',
        'p_value': 'paired sign-flip test against mean_face, on p_metric, two-sided',
        'nme_thesis': 'for comparison with the thesis only: a collapsed prediction scores 0',
        'vertex_mm': 'distance of equal map pixels to the synthetic truth; null without truth, '
        'or for unordered predictions',
        'seconds_per_sequence': 'prediction of all frames, without compiling, per subject of a '
        f'batch of at most {_BATCH_SIZE}',
    }
