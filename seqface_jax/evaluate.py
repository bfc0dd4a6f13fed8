"""Evaluates runs and baselines on whole splits: each subject once, for all the same frames."""

import concurrent.futures
import dataclasses
import os
import zlib
from typing import NamedTuple

import numpy as np
from absl import logging
from tqdm import tqdm

from seqface_jax import (
    baselines,
    input_pipeline,
    models,
    predict,
    reconstruct,
    results,
    scoring,
    surface,
)
from seqface_jax import rows as rows_lib
from seqface_jax import runs as runs_lib
from seqface_jax.errors import UserError

SPLITS = ('train', 'validation', 'test')
_CHOSEN_VIEWS = ('front', 'pair')  # Models that read these are shown frames chosen by their yaw.


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
    runs = runs_lib.load(workdirs, options)
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


class _Plan(NamedTuple):
    frames: tuple
    splits: tuple
    checkpoints: tuple
    max_subjects: int
    seed: int
    training: input_pipeline.Split
    mask: np.ndarray


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
        self.subjects = scoring.load_subjects(
            next(iter(self._splits.values())), plan.max_subjects, self._draw
        )
        self._shown = {}

    def run(self):
        """Returns the split's rows and the same per subject, as flat dicts."""
        rows, per_subject, reference = [], [], None
        for answers in self._answers():
            scores = self._score(answers)
            reference = scores if reference is None else reference  # mean_face comes first.
            rows.append(rows_lib.make_row(answers, scores, reference, seed=self._plan.seed))
            per_subject += [
                answers.condition._asdict() | {'subject': subject} | scoring.flatten(values)
                for subject, values in zip(self.subjects.ids, scores, strict=True)
            ]
            condition = answers.condition
            if condition.model == 'mean_face' or (condition.checkpoint and not condition.of):
                self._shown[condition.model, condition.checkpoint] = answers
        return rows, per_subject

    def show(self):
        """Returns what the pictures of this split need: split, subjects, frames, answers."""
        workdir = next(iter(self._runs))
        count = min(2, len(self.subjects.ids))
        frames = [self._splits[workdir].frames(i, self.subjects.drawn[i][:8]) for i in range(count)]
        return self._name, self.subjects, frames, list(self._shown.values())

    def _answers(self):
        yield from self._baselines()
        for workdir, run in self._runs.items():
            logging.info('%s: predicting the %s split', run.name, self._name)
            split = self._splits[workdir]
            drawn = self._drawn_for(run, split)
            frames = [split.frames(i, own) for i, own in enumerate(drawn)]
            for checkpoint, (step, variables) in run.models.items():
                yield from self._predict(run, checkpoint, step, variables, frames)

    def _baselines(self):
        training, ids = self._plan.training, self.subjects.ids
        maps = training.subjects['position_map']
        mean = baselines.mean_face(maps, training.subjects['mask'])
        yield self._constant('mean_face', np.repeat(mean[None], len(ids), axis=0))
        if set(training.subject_ids) - set(ids) or len(training.subject_ids) > 1:
            others = baselines.random_subjects(ids, training.subject_ids, seed=self._plan.seed)
            yield self._constant('random_subject', maps[others])

    def _constant(self, name, maps):
        """Returns the Answers of what looks at no frame."""
        condition = predict.Condition(name, None, self._name, None)
        return predict.Answers(condition, models.Prediction(maps), True, self._plan.mask, None)

    def _predict(self, run, checkpoint, step, variables, frames):
        selection = run.selection(checkpoint, self._name, self.subjects.ids)
        condition = predict.Condition(run.name, checkpoint, self._name, None, selection)
        reads = models.reads(run.config.model)
        counts = predict.usable_counts(self._plan.frames, models.MAX_FRAMES[reads])
        yield from self._stream(run, condition, step, variables, frames, counts)
        counts = [count for count in self._plan.frames if count > 1]  # One is the model itself.
        if reads in _CHOSEN_VIEWS:
            return
        if counts and checkpoint == self._averaged_checkpoint(run):
            condition = condition._replace(model='averaged_single_frames', of=run.name)
            yield from self._stream(run, condition, step, variables, frames, counts, single=True)

    def _stream(self, run, condition, step, variables, frames, counts, *, single=False):
        ordered = reconstruct.is_ordered(run.config)
        predictions, seconds = predict.stream(step, variables, frames, counts, single=single)
        for place, count in enumerate(counts):
            own = condition._replace(num_frames=count)
            yield predict.Answers(own, predictions[place], ordered, self._plan.mask, seconds[place])

    def _draw(self, subject, frame_index, count=None):
        seed = [self._plan.seed, zlib.crc32(subject.encode())]  # The same in any split.
        count = count or self._plan.frames[-1]
        return predict.draw_frames(frame_index.sequences, count, seed=seed)

    def _drawn_for(self, run, split):
        """Returns the frames to show a run, one array per subject."""
        reads = models.reads(run.config.model)
        if reads not in _CHOSEN_VIEWS:
            return self.subjects.drawn
        data, drawn = run.config.data, []
        for subject, index in zip(self.subjects.ids, split.frame_index, strict=False):
            order = self._draw(subject, index, len(index.sequences))
            pair = predict.draw_pair(
                order, index.yaw_deg, data.front_max_yaw_deg, data.side_min_yaw_deg
            )
            drawn.append(pair[: models.MAX_FRAMES[reads]])
        return drawn

    def _averaged_checkpoint(self, run):
        return 'best_validation' if 'best_validation' in run.models else next(iter(run.models))

    def _score(self, answers):
        """Returns the metrics of each subject, in order; the subjects are spread over threads."""
        condition = answers.condition
        if not answers.is_finite():
            raise UserError(
                f'{condition.checkpoint} of {condition.model} answers with numbers that are not '
                'finite: train it again with a lower optimizer.learning_rate'
            )

        def score_one(index):
            return scoring.score(self.subjects, index, answers.of(index))

        parts = [condition.split, condition.model, condition.of, condition.checkpoint]
        parts.append(condition.num_frames)
        title = ' '.join(str(part) for part in parts if part is not None)
        indices = range(len(self.subjects.ids))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            scored = pool.map(score_one, indices)
            return list(tqdm(scored, total=len(indices), desc=title, leave=False))


def _protocol(plan, workdirs, runs):
    config = next(iter(runs.values())).config
    return {
        'records': os.path.join(config.data.dir, config.data.name),
        'workdirs': list(workdirs),
        'frames': 'one seeded draw of distinct frames per subject, spread over its sequences, '
        'the same for every model; a subject with fewer frames shows all it has; a model '
        'that reads a frontal view, or a pair with one from the side, is shown the first such '
        'frames of the draw',
        'num_frames': list(plan.frames),
        'seed': plan.seed,
        'max_subjects': plan.max_subjects,
        'selection': 'rows on test are marked if the run chose its checkpoint, or was trained, on '
        'subjects of test',
        'crop': '95 mm around the nose tip of the scan',
        'alignment': 'rigid, no scale; the scan crop onto the predicted surface by trimmed '
        'point-to-plane ICP, started from the canonical frame, the same for every row',
        'scale': 'none is fitted to the scan; a network that answers in image space has no mm, and '
        'is given the size of the mean face of its training split',
        'intervals': '95 %, bootstrap over subjects',
        'p_value': 'paired sign-flip test against mean_face, on p_metric, two-sided',
        'nme_thesis': 'for comparison with the thesis only: a collapsed prediction scores 0',
        'vertex_mm': 'distance of equal map pixels to the synthetic truth; null without truth, '
        'or for unordered predictions',
        'seconds_per_sequence': 'prediction of all frames, without compiling, per subject of a '
        f'batch of at most {predict.BATCH_SIZE}',
    }
