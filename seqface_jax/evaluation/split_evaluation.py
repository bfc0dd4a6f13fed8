"""All rows of one split: what is asked of whom about it, in which order."""

import concurrent.futures
import os
import zlib
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from seqface_jax import models
from seqface_jax.data import input_pipeline
from seqface_jax.evaluation import baselines, rows, scoring, streaming
from seqface_jax.geometry import surface
from seqface_jax.models.network import is_ordered

_CHOSEN_VIEWS = ('front', 'pair')  # Models that read these are shown frames chosen by their yaw.
_SHOWN_SUBJECTS = 2  # In pictures and in the report.
_IMAGE_TRUTH = ('image_map', 'image_mask')
_TIMELINE = 8  # Frames after each of which the report shows the face; then those of the rows.
_SPREAD_FRAMES = 8  # The order spread is measured at the number of frames nearest to it.


class Plan(NamedTuple):
    """What every split is evaluated by.

    Attributes:
        frames: increasing numbers of frames.
        splits, checkpoints, max_subjects: as of evaluate.EvaluationOptions.
        seed: of draws, bootstrap and tests.
        training: input_pipeline.Split, for the baselines.
        permutations: orders of the same frames; 0: the order spread is not measured.
    """

    frames: tuple
    splits: tuple
    checkpoints: tuple
    max_subjects: int
    seed: int
    training: input_pipeline.Split
    permutations: int = 0


class Timeline(NamedTuple):
    """The answers of one run about the shown subjects, frame after frame.

    Attributes:
        model: the run's name.
        counts: increasing numbers of frames.
        answers: list of streaming.Answers, one per count.
        frames: list of streaming.ShownFrames, one per subject.
    """

    model: str
    counts: tuple
    answers: list
    frames: list


class Shown(NamedTuple):
    """What the pictures of a split need.

    Attributes:
        split: its name.
        subjects: scoring.Subjects.
        frames: list of uint8 [T, H, W, 3], up to eight of the first subjects.
        answers: list of streaming.Answers about the first subjects.
        timelines: list of Timeline.
    """

    split: str
    subjects: scoring.Subjects
    frames: list
    answers: list
    timelines: list


class SplitEvaluation:
    """All rows of one split."""

    def __init__(self, name, plan, runs):
        """Loads the subjects of split `name`; `runs` is what runs.load returned."""
        self._name, self._plan, self._runs = name, plan, runs
        # The pixels of an ordered map that are face.
        self._mask = surface.face_mask(plan.training.subjects['mask'])
        # Every run is scored on the first one's subjects, at its own image size.
        expression = next(iter(runs.values())).config.data[f'{name}_split']
        self._splits = {
            workdir: run.dataset.split(expression).evenly(plan.max_subjects)
            for workdir, run in runs.items()
        }
        first = next(iter(self._splits.values()))
        self._counts = _limit(plan.frames, first)
        self.subjects = scoring.load_subjects(first, self._draw)
        self._shown, self._timelines = {}, []
        # The frames' own faces matter where a run says what they are; runs.load has asked for them.
        maps_of = (split for split in self._splits.values() if split.has_frame_maps)
        self._maps_of = next(maps_of, None)

    def run(self):
        """Returns the split's list of rows.Scored; mean_face comes first."""
        scored, reference = [], None
        for answers, extra in self._answers():
            scores = self._score(answers)
            for own, more in zip(scores, extra or (), strict=bool(extra)):
                own.update(more)
            reference = scores if reference is None else reference
            row = rows.make_row(answers, scores, reference, seed=self._plan.seed)
            scored.append(rows.Scored(row, scores))
            condition = answers.condition
            if condition.model == 'mean_face' or (condition.checkpoint and not condition.of):
                self._shown[condition.model, condition.checkpoint] = _first(answers)
        return scored

    def per_subject(self, scored):
        """Returns the rows once for every subject, flat dicts."""
        names = ('model', 'checkpoint', 'split', 'num_frames', 'selection', 'of')
        return [
            {name: own.row[name] for name in names} | {'subject': subject} | scoring.flatten(values)
            for own in scored
            for subject, values in zip(self.subjects.ids, own.scores, strict=True)
        ]

    def show(self):
        """Returns the Shown of this split; after `run`."""
        split = next(iter(self._splits.values()))
        count = min(_SHOWN_SUBJECTS, len(self.subjects.ids))
        frames = [split.frames(i, self.subjects.drawn[i][:8]) for i in range(count)]
        return Shown(self._name, self.subjects, frames, list(self._shown.values()), self._timelines)

    def _answers(self):
        """Yields Answers, and more scores of each subject (a list of dict) or None."""
        for answers in self._baselines():
            yield answers, None
        for workdir, run in self._runs.items():
            logging.info('%s: predicting the %s split', run.name, self._name)
            split = self._splits[workdir]
            drawn = self._drawn_for(run, split)
            frames = [streaming.ShownFrames(split, i, own) for i, own in enumerate(drawn)]
            for checkpoint, (step, variables) in run.models.items():
                yield from self._predict(run, checkpoint, step, variables, frames)

    def _baselines(self):
        training, ids = self._plan.training, self.subjects.ids
        maps = training.subjects['position_map']
        mean = baselines.mean_face(maps, training.subjects['mask'])
        mean_maps = np.repeat(mean[None], len(ids), axis=0)
        yield self._constant('mean_face', models.Prediction(mean_maps))
        if set(training.subject_ids) - set(ids) or len(training.subject_ids) > 1:
            others = baselines.random_subjects(ids, training.subject_ids, seed=self._plan.seed)
            yield self._constant('random_subject', models.Prediction(maps[others]))

    def _constant(self, name, prediction, **condition):
        """Returns the Answers of what looks at no frame."""
        condition = streaming.Condition(name, None, self._name, None)._replace(**condition)
        return streaming.Answers(condition, prediction, True, self._mask, None)

    def _predict(self, run, checkpoint, step, variables, frames):
        selection = run.selection(checkpoint, self._name, self.subjects.ids)
        condition = streaming.Condition(run.name, checkpoint, self._name, None, selection)
        reads = run.reads
        counts = streaming.usable_counts(self._counts, models.MAX_FRAMES[reads])
        main = checkpoint == run.main_checkpoint
        spread_at, spread = None, None
        if main and reads not in _CHOSEN_VIEWS and self._plan.permutations:
            spread_at, spread = self._order_spread(run, step, variables, frames, counts)
        neutral = []
        for answers in self._stream(run, condition, step, variables, frames, counts):
            yield answers, spread if answers.condition.num_frames == spread_at else None
            if answers.prediction.frame_map is not None and self._maps_of:
                neutral.append(self._without_expression(answers))
        if not main:
            return
        yield from ((answers, None) for answers in neutral)
        self._timelines.append(self._timeline(run, condition, step, variables, frames, counts))
        derived = condition._replace(of=run.name)
        oracle = self._oracle(variables.get('constants', {}), answers.prediction, frames)
        if oracle is not None:
            own = {'checkpoint': checkpoint, 'of': run.name}
            yield self._constant('oracle', oracle, **own), None
        counts = [count for count in self._counts if count > 1]  # One is the model itself.
        if reads in _CHOSEN_VIEWS or not counts:
            return
        averaged = derived._replace(model='averaged_single_frames')
        for answers in self._stream(run, averaged, step, variables, frames, counts, single=True):
            yield answers, None
        counts = [count for count in counts if count <= (models.MAX_FRAMES[reads] or count)]
        if counts:
            copies = [own.reordered(np.zeros(counts[-1], int)) for own in frames]
            repeated = derived._replace(model='repeated_first_frame')
            for answers in self._stream(run, repeated, step, variables, copies, counts):
                yield answers, None

    def _stream(self, run, condition, step, variables, frames, counts, *, single=False):
        ordered = is_ordered(run.config)
        predictions, seconds = streaming.stream(step, variables, frames, counts, single=single)
        fewest = min(map(len, frames))
        for place, count in enumerate(counts):
            own = condition._replace(num_frames=count)
            yield streaming.Answers(
                own,
                predictions[place],
                ordered,
                self._mask,
                seconds[place],
                min(count, fewest),
                None if single else [own.drawn[min(count, len(own)) - 1] for own in frames],
            )

    def _without_expression(self, answers):
        """Returns the same answers as if every frame's face were the neutral one."""
        condition = answers.condition
        return answers._replace(
            condition=condition._replace(model=rows.NO_EXPRESSION, of=condition.model),
            prediction=answers.prediction._replace(frame_map=None),
        )

    def _frame_maps(self, answers, index):
        """Returns the faces of frames that an answer about one subject is compared with.

        That of the last frame which it has seen; what looks at no frame is compared with those of
        all the rows.
        """
        condition = answers.condition
        if self._maps_of is None or (condition.num_frames and answers.last_frames is None):
            return ()
        if condition.num_frames:
            frames = [answers.last_frames[index]]
        else:
            drawn = self.subjects.drawn[index]
            frames = [drawn[min(count, len(drawn)) - 1] for count in self._counts]
        maps = self._maps_of.frame_maps(index, frames)
        return list(zip(maps['frame_map'], maps['frame_mask'], strict=True))

    def _oracle(self, constants, answered, frames):
        """Returns the best Prediction that the form of a model's answers allows.

        Args:
            constants: of the model.
            answered: models.Prediction of the model about all subjects.
            frames: list of streaming.ShownFrames; an image map is about the first.

        Returns:
            models.Prediction of all subjects, or None where the form allows everything, or the
            truth of the frames is not there.
        """
        if answered.image_map is not None:
            if self._maps_of is None:
                return None
            firsts = [self._maps_of.frame_maps(i, own.drawn[:1]) for i, own in enumerate(frames)]
            truth = (np.concatenate([own[name] for own in firsts]) for name in _IMAGE_TRUTH)
            mean_face = constants['mean_map'], constants['mean_mask']
            return models.Prediction(baselines.oracle_of_image_maps(*mean_face, *truth))
        subjects, table = self.subjects, next(iter(self._splits.values())).subjects
        known = subjects.true_masks.any(axis=(1, 2))
        masks = np.where(known[:, None, None], subjects.true_masks, table['mask'])
        maps = np.where(known[:, None, None, None], subjects.true_maps, subjects.maps)
        if answered.voxels is not None:
            side = answered.position_map.shape[-2]
            return baselines.oracle_of_voxels(answered.voxels, maps, side)
        if {'mean_map', 'basis'} <= set(constants):
            mean_map, basis = (np.asarray(constants[name]) for name in ('mean_map', 'basis'))
            return models.Prediction(baselines.oracle(mean_map, basis, maps, masks.astype(bool)))
        return None

    def _order_spread(self, run, step, variables, frames, counts):
        """Measures how much the order of the same frames matters.

        Returns:
            the number of frames, and [{'order_spread': x}] per subject: the standard deviation of
            its error over the permutations, over their mean. None and None for single frames.
        """
        counts = [count for count in counts if count > 1]
        if not counts:
            return None, None
        count = min(counts, key=lambda count: (abs(count - _SPREAD_FRAMES), count))
        ordered, errors = is_ordered(run.config), []
        for number in tqdm(range(self._plan.permutations), 'orders', leave=False):
            shown = []
            for subject, own in zip(self.subjects.ids, frames, strict=True):
                rng = np.random.default_rng([self._plan.seed, zlib.crc32(subject.encode()), number])
                shown.append(own.reordered(rng.permutation(min(count, len(own)))))
            (prediction,), _ = streaming.stream(step, variables, shown, [count])
            answers = streaming.Answers(None, prediction, ordered, self._mask, None)
            errors.append(
                [
                    scoring.error_mm(self.subjects, index, answers.of(index))
                    for index in range(len(self.subjects.ids))
                ]
            )
        spread = np.std(errors, axis=0) / np.mean(errors, axis=0)
        return count, [{'order_spread': float(own)} for own in spread]

    def _timeline(self, run, condition, step, variables, frames, counts):
        most = min(counts[-1], max(map(len, frames[:_SHOWN_SUBJECTS])))
        moments = tuple(
            sorted({*range(1, min(_TIMELINE, most) + 1), *(min(c, most) for c in counts)})
        )
        # As many subjects as in the batches before: nothing is compiled again.
        frames = frames[: streaming.BATCH_SIZE]
        answers = self._stream(run, condition, step, variables, frames, moments)
        return Timeline(
            run.name, moments, [_first(own) for own in answers], frames[:_SHOWN_SUBJECTS]
        )

    def _draw(self, subject, frame_index, count=None):
        seed = [self._plan.seed, zlib.crc32(subject.encode())]  # The same in any split.
        count = count or self._counts[-1]
        return streaming.draw_frames(frame_index.sequences, count, seed=seed)

    def _drawn_for(self, run, split):
        """Returns the frames to show a run, one array per subject."""
        reads = run.reads
        if reads not in _CHOSEN_VIEWS:
            return self.subjects.drawn
        data, drawn = run.config.data, []
        for subject, index in zip(self.subjects.ids, split.frame_index, strict=True):
            order = self._draw(subject, index, len(index.sequences))
            pair = streaming.draw_pair(
                order, index.yaw_deg, data.front_max_yaw_deg, data.side_min_yaw_deg
            )
            drawn.append(pair[: models.MAX_FRAMES[reads]])
        return drawn

    def _score(self, answers):
        """Returns the metrics of each subject, in order; the subjects are spread over threads."""
        condition = answers.condition
        answers.require_finite()

        def score_one(index):
            frame_maps = self._frame_maps(answers, index)
            return scoring.score(self.subjects, index, answers.of(index), frame_maps)

        parts = [condition.split, condition.model, condition.of, condition.checkpoint]
        parts.append(condition.num_frames)
        title = ' '.join(str(part) for part in parts if part is not None)
        indices = range(len(self.subjects.ids))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            scored = pool.map(score_one, indices)
            return list(tqdm(scored, total=len(indices), desc=title, leave=False))


def _limit(counts, split):
    """Returns the numbers of frames, none beyond the most that any subject has."""
    most = int(split.frames_by_subject.max())
    if counts[-1] > most:
        logging.warning(
            'nobody in split %s has more than %d frames: rows of %s frames are of %d',
            split.name,
            most,
            ', '.join(str(count) for count in counts if count > most),
            most,
        )
    return tuple(sorted({min(count, most) for count in counts}))


def _first(answers):
    """Returns the Answers about the subjects that are shown."""
    own = jax.tree.map(lambda leaf: leaf[:_SHOWN_SUBJECTS], answers.prediction)
    return answers._replace(prediction=own)
