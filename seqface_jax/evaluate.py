"""Evaluates runs and baselines on whole splits: each subject once, for all the same frames."""

import dataclasses
import os

from seqface_jax import checkpoints
from seqface_jax.errors import UserError, check_choice, writing_to
from seqface_jax.evaluation import (
    comparisons,
    now_challenge,
    real_people,
    report,
    reported_metrics,
    runs,
    split_evaluation,
    statistics,
    streaming,
    tables,
)

SPLITS = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate; None takes what the first run's config.eval says.

    Attributes:
        frames: numbers of frames.
        splits: of 'train', 'validation', 'test'.
        checkpoints: of checkpoints.WHICH.
        max_subjects: of each split, evenly over their ids; 0: all.
        data_dir, data_name: other records than those the runs were trained on.
        output: folder for the tables; None: see `output_folder`.
        permutations: orders of the same frames to measure the order spread over; 0: it is not.
        baselines_name: records beside those scored on. The baselines are made of their people where
            those scored on have nobody to train on and the first run learned from pictures.
    """

    frames: tuple | None = None
    splits: tuple | None = None
    checkpoints: tuple | None = None
    max_subjects: int | None = None
    data_dir: str | None = None
    data_name: str | None = None
    output: str | None = None
    permutations: int = 0
    baselines_name: str | None = None


def evaluate(workdirs, options=None):
    """Evaluates runs and baselines, and writes tables, figures and a page.

    Args:
        workdirs: list of runs; all are shown the same frames of the same records.
        options: EvaluationOptions; its output says where, see `output_folder`.

    Returns:
        The rows written to results.json.

    Raises:
        UserError: a run, checkpoint, split or the records are missing, or nothing is asked for.
    """
    from seqface_jax.evaluation import figures

    options = options or EvaluationOptions()
    for name in options.checkpoints or ():
        check_choice(name, checkpoints.WHICH, 'checkpoint')
    folder = output_folder(workdirs[0], options.output)
    with writing_to(folder):
        os.makedirs(folder, exist_ok=True)
    loaded = runs.load(workdirs, options, _flagship_step)
    plan = _plan(next(iter(loaded.values())), options)
    scored, per_subject, shown = [], [], []
    for split in plan.splits:
        evaluation = split_evaluation.SplitEvaluation(split, plan, loaded)
        own = evaluation.run()
        scored += own
        per_subject += evaluation.per_subject(own)
        shown.append(evaluation.show())
    found = tables.Results(
        _protocol(plan, workdirs, loaded),
        [own.row for own in scored],
        comparisons.over_frames(scored, seed=plan.seed),
        comparisons.between(scored, seed=plan.seed),
        comparisons.seen_and_unseen(_trained_here(scored, loaded), seed=plan.seed),
    )
    ced = tables.ced_rows(scored)
    tables.write(folder, found, per_subject, ced)
    figures.write(os.path.join(folder, 'figures'), found.rows, ced, shown, workdirs)
    report.write(os.path.join(folder, 'report.html'), found, shown, os.path.join(folder, 'figures'))
    return found.rows


def score_real_people(workdirs, people, folder, *, checkpoint='best_validation', **options):
    """Scores runs on photos and scans of people, and writes tables and a page.

    Args:
        workdirs: list of runs; None among them is the run of the package.
        people, folder: as of real_people.evaluate; options: its frames.
        checkpoint: one of checkpoints.WHICH.

    Returns:
        str, the table as Markdown.

    Raises:
        UserError: as of real_people.evaluate, or a run cannot be read.
    """
    reconstructors = _restore(workdirs, checkpoint)
    mean = real_people.mean_face(_packaged_geometry())
    return real_people.evaluate(reconstructors, mean, people, folder, **options)


def score_now_challenge(workdirs, people, folder, *, checkpoint='best_validation', **options):
    """Scores runs of the flagship on the NoW challenge's validation people, and writes tables.

    Args:
        workdirs, checkpoint: as of `score_real_people`.
        people, folder: as of now_challenge.evaluate; options: its frames.

    Returns:
        str, the tables as Markdown.

    Raises:
        UserError: as of now_challenge.evaluate, or a run cannot be read or says no landmarks.
    """
    for workdir in workdirs:
        config = checkpoints.read_config(workdir or checkpoints.pretrained())
        if config.model.name != checkpoints.FLAGSHIP:
            raise UserError(
                f'{workdir} says no landmarks, from which the NoW challenge aligns: give the '
                '--workdir of a run of the flagship, or score it with --real'
            )
    reconstructors, packaged = _restore(workdirs, checkpoint), _packaged_geometry()
    mean = real_people.mean_face(packaged)
    return now_challenge.evaluate(
        reconstructors, mean, packaged.landmarks, people, folder, **options
    )


def output_folder(workdir, output=None):
    """Returns the folder of an evaluation.

    Args:
        workdir: of the first run; None: that of the package.
        output: folder that a person has named; None: eval/ of the run, or of a folder in runs/
            where the run is not theirs: that of the package, or one that cannot be written to.
    """
    if output:
        return output
    workdir = workdir or checkpoints.pretrained()
    name = os.path.basename(os.path.realpath(workdir))
    is_packaged = os.path.realpath(workdir) == os.path.realpath(checkpoints.PRETRAINED)
    if is_packaged or (os.path.isdir(workdir) and not os.access(workdir, os.W_OK)):
        return os.path.join('runs', name, 'eval')
    return os.path.join(workdir, 'eval')


def _restore(workdirs, checkpoint):
    """Returns a dict of Reconstructors by the names of their runs."""
    from seqface_jax.reconstruct import Reconstructor

    check_choice(checkpoint, checkpoints.WHICH, 'checkpoint')
    return {
        name: Reconstructor.restore(workdir, checkpoint)
        for name, workdir in zip(runs.names_of(workdirs), workdirs, strict=True)
    }


def _packaged_geometry():
    """Returns the flagship.Geometry of the package's run."""
    from seqface_jax.reconstruction import flagship

    return flagship.read_geometry(flagship.geometry_path(checkpoints.pretrained()))


def _flagship_step(workdir, checkpoint, says_frames):
    """Returns the step of a run of the flagship; see map_answers.make_step."""
    from seqface_jax.reconstruction import map_answers

    return map_answers.make_step(map_answers.restore(workdir, checkpoint), says_frames=says_frames)


def _trained_here(scored, loaded):
    """Returns rows.Scored but those of runs that have seen nobody of these records."""
    strangers = {run.name for run in loaded.values() if run.foreign}
    return [own for own in scored if own.row['model'] not in strangers]


def _plan(run, options):
    config = run.config
    splits = tuple(options.splits or config.eval.splits)
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"there is no split '{split}' to evaluate: choose of {SPLITS}")
    frames = tuple(sorted(set(options.frames or config.eval.num_frames)))
    if frames[0] < 1:
        raise UserError(f'the numbers of frames must be at least 1, got {frames[0]}')
    if options.permutations < 0 or options.permutations == 1:
        raise UserError('the order spread takes at least 2 permutations, or 0 to leave it out')
    maximum = config.eval.max_subjects if options.max_subjects is None else options.max_subjects
    training = run.training_people(options.baselines_name)
    return split_evaluation.Plan(
        frames,
        splits,
        tuple(options.checkpoints or config.eval.checkpoints),
        maximum,
        config.eval.seed,
        training,
        options.permutations,
    )


def _protocol(plan, workdirs, loaded):
    config = next(iter(loaded.values())).config
    return {
        'records': os.path.join(config.data.dir, config.data.name),
        'workdirs': list(workdirs),
        'frames': 'one seeded draw of distinct frames per subject, spread over its sequences, '
        'the same for every model; a number beyond what any subject of a split has stands for '
        'the most one has; a subject with fewer shows all it has (fewest_frames); a model '
        'that reads a frontal view, or a pair with one from the side, is shown the first such '
        'frames of the draw',
        'num_frames': list(plan.frames),
        'seed': plan.seed,
        'max_subjects': plan.max_subjects,
        'baselines': 'mean_face and random_subject are of the training split of these records; '
        "where they have none, of the first run's own, or of those of records beside them that are "
        'named for it',
        'selection': 'rows on test are marked if the run chose its checkpoint, or was trained, on '
        'subjects of test',
        'flagship': 'a run of the flagship is shown each frame as the middle of a photo, of the '
        'size of the records, and finds the face itself; its mesh is cast to the position map',
        'crop': '95 mm around the nose tip of the scan',
        'alignment': 'rigid, no scale; the scan crop onto the predicted surface by trimmed '
        'point-to-plane ICP, started from the canonical frame, the same for every row',
        'scale': 'none is fitted to the scan; a network that answers in image space has no mm, and '
        'is given the size of the mean face of its training split',
        'intervals': '95 %, bootstrap over subjects',
        'p_value': 'paired sign-flip test against mean_face, on p_metric, two-sided; tables '
        f'show none for fewer than {statistics.MIN_TESTED} people, which nothing tells from chance',
        'no_expression': "a run's neutral face, taken for that of the last frame: what its "
        'frame_mm must beat',
        'averaged_single_frames': "the mean of a run's answers to each frame alone",
        'repeated_first_frame': "a run's answer to that many copies of the first frame: copies "
        'tell nothing new, so neither its error nor sigma_mm should shrink',
        'oracle': "the best that a run's form of answer allows, beyond all evidence: the "
        "truth (or the scan's map) projected on its linear face space by least squares; or in its "
        'voxels; or the image map of the first frame that is shown, with its expression and the '
        "mean face's size",
        'permutations': plan.permutations,
        'seconds_per_sequence': 'prediction of all frames, without compiling, per subject of a '
        f'batch of at most {streaming.BATCH_SIZE}',
        **{metric.name: metric.sentence for metric in reported_metrics.METRICS},
        **{metric.name: metric.sentence for metric in reported_metrics.REGIONS},
    }
