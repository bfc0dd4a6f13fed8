"""What is to be prepared: a raw tree and the tables, looked at and checked."""

import os
from typing import NamedTuple

import numpy as np

from data_prep import code_key, neutral, sources, subject
from data_prep.sources import Skipped, splits
from data_prep.work import work_files
from seqface_jax.errors import UserError

# Modules that make the work files, with the source's own.
READERS = (
    'data_prep.subject',
    'data_prep.frame_scans',
    'data_prep.registration.pose_outliers',
)


class Inputs(NamedTuple):
    """What is to be prepared: checked, and not yet read."""

    dataset: str
    raw_dir: str
    folder: str  # data_dir/<dataset>.
    work_dir: str
    missing: list[str]
    tasks: list[subject.ReadTask]  # Sorted by subject.
    truth: object  # Source.truth.
    assignment: dict[str, str]  # Subject -> split.
    by_rule: list[str]  # Subjects that are not in the CSV of the splits.
    passed_over: list[Skipped]  # Source.passed_over.
    with_maps: bool  # Maps of every frame are asked for.


def find(dataset, raw_dir, data_dir, subject_ids, splits_csv, neutral_csv, with_maps=False):
    """Looks at the raw tree and the tables; returns Inputs or raises UserError."""
    source = sources.open_source(dataset, raw_dir)
    subjects = _select(source.subjects(), subject_ids, raw_dir)
    chosen = neutral.read_csv(neutral_csv) if neutral_csv else {}
    neutral.check_csv(neutral_csv, chosen, subjects)
    splits_csv = splits_csv or splits.default_csv(dataset)
    table = splits.read_csv(splits_csv) if splits_csv else {}
    assignment, by_rule = splits.assign([entry.id for entry in subjects], table, source.split)
    for entry in subjects:
        chosen.setdefault(entry.id, source.neutral(entry.id))
    work_dir = os.path.join(data_dir, '.work', dataset)
    reader = code_key.of_modules(*READERS, sources.module_of(dataset))
    code = work_files.key_of(reader, *map(_size_and_time, source.shared_files))
    tasks = [
        subject.ReadTask(
            entry,
            chosen.get(entry.id),
            raw_dir,
            _input_key(code, entry, chosen.get(entry.id), raw_dir, source.truth(entry.id)),
            os.path.join(work_dir, f'{entry.id}.read.npz'),
        )
        for entry in subjects
    ]
    return Inputs(
        dataset,
        raw_dir,
        os.path.join(data_dir, dataset),
        work_dir,
        source.missing,
        tasks,
        source.truth,
        assignment,
        by_rule,
        source.passed_over,
        with_maps,
    )


def _select(subjects, subject_ids, raw_dir):
    known = {entry.id: entry for entry in subjects}
    unknown = [name for name in subject_ids if name not in known]
    if unknown:
        raise UserError(
            f'--subjects names {", ".join(unknown)}, but {raw_dir} holds only {_some(known)}'
        )
    return [known[name] for name in sorted(set(subject_ids) or known)]


def _some(names, most=8):
    names = sorted(names)
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def _input_key(code, entry, chosen, raw_dir, truth):
    """Returns a digest of one subject's raw files: names, sizes, times; and of its truth."""
    files = []
    for frame in entry.frames:
        files.append((frame.sequence, frame.index, entry.in_time))
        for path in filter(None, (frame.image_path, frame.scan_path)):
            files.append((os.path.relpath(path, raw_dir), *_size_and_time(path)))
    truth = [part for name in sorted(truth or ()) for part in (name, np.asarray(truth[name]))]
    return work_files.key_of(code, entry.id, chosen, files, *truth)


def _size_and_time(path):
    try:
        status = os.stat(path)
    except OSError as error:  # A link to nowhere: its reader will say so.
        return error.errno, None
    return status.st_size, status.st_mtime_ns
