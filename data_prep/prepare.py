"""A raw tree -> records, in four stages, each of which a killed run takes up where it was.

1. Per subject, in parallel: face crops, neutral scan, clean and registered (`subject.read`).
2. All subjects together: wrong poses are found (`pose_outliers.settle`), the others brought to a
   common canonical frame (`groupwise.refine`).
3. Per subject, in parallel: position map, mask, points, scan crop, truth (`subject.surface`).
   If asked for, per sequence, in parallel: the maps of every frame (`frame_scans.make`).
4. Records (`records.write`) and report.json.

Stages 1 and 3 leave work files in data_dir/.work/<dataset>; it is used again while
the subject's raw files and the code that read them are unchanged, and may be deleted. Nothing
depends on the number of workers or on the order of files. What cannot be used is skipped and
listed; only a tree of which nothing can be used is an error.
"""

import contextlib
import glob
import json
import os
import shutil

import tqdm

from data_prep import code_key, preparation_inputs, preparation_report, stages
from data_prep.registration import ray_casting
from data_prep.sources import splits
from data_prep.work import beam_workers, work_files, worker_pool
from seqface_jax import files
from seqface_jax.errors import UserError

_WRITERS = ('data_prep.records',)  # Modules that make the records of the work files.
_OWN = (*preparation_report.PARTS, 'report.json')  # What a preparation writes.


def prepare(
    dataset,
    raw_dir,
    data_dir,
    *,
    num_workers=1,
    subject_ids=(),
    splits_csv=None,
    neutral_csv=None,
    with_maps=False,
    beam_options=None,
):
    """Prepares a raw data set, or finds it up to date.

    Args:
        dataset: a name of `sources.names()`.
        raw_dir: the raw tree, as its owners distribute it.
        data_dir: the records go to data_dir/<dataset>/{frames,subjects}/<version>.
        num_workers: processes.
        subject_ids: the subjects to take; all if empty.
        splits_csv: subject,split; None: the data set's own.
        neutral_csv: subject,sequence,frame of neutral scans; None: all are chosen here.
        with_maps: also the maps of every frame that has a scan: about 1 s of one core each.
        beam_options: of beam_workers.BeamWorkers, which then do the work; None: processes do.

    Returns:
        The report, also in data_dir/<dataset>/report.json, and whether it was up to date.

    Raises:
        UserError: the inputs are wrong, or nothing of them can be used.
    """
    pool = worker_pool.Workers(num_workers)
    if beam_options is not None:
        pool = beam_workers.BeamWorkers(beam_options, num_workers)
        raw_dir, data_dir = os.path.abspath(raw_dir), os.path.abspath(data_dir)
    inputs = preparation_inputs.find(
        dataset, raw_dir, data_dir, subject_ids, splits_csv, neutral_csv, with_maps
    )
    key = _key(inputs)
    with _locked(inputs.work_dir):
        report = preparation_report.read(inputs.folder)
        if report and report['key'] == key:
            return report, True
        ray_casting.check_open3d()  # Or every scan would seem to be at fault.
        ledger = preparation_report.Ledger(raw_dir)
        with pool:
            candidates = _run_stages(pool, inputs, ledger)
        report = preparation_report.make(inputs, key, candidates, ledger)
        _write_records(inputs, candidates, report)
    return report, False


def _key(inputs):
    """Returns a digest of all that the records depend on."""
    return work_files.key_of(
        code_key.of_modules(*_WRITERS),
        [task.key for task in inputs.tasks],
        inputs.assignment,
        inputs.passed_over,
        inputs.with_maps,
    )


def _run_stages(pool, inputs, ledger):
    """Returns the Candidates that are left after all stages; the ledger gets the others."""
    good = ledger.keep(*stages.read(pool, inputs))
    good = ledger.keep(*stages.place(pool, inputs, good))
    good = ledger.keep(*stages.make_surfaces(pool, inputs, good))
    ledger.notes += [note for candidate in good for note in candidate.info['notes']]
    if inputs.with_maps:
        good, skipped, notes = stages.make_frame_maps(pool, good)
        known = {entry['where'] for entry in ledger.skipped}
        ledger.skip(entry for entry in skipped if entry.where not in known)
        ledger.notes += [entry._asdict() for entry in notes]
    return good


def _write_records(inputs, candidates, report):
    """Stage 4; the old records stay until the new ones are whole."""
    from data_prep import records  # TFDS takes seconds to import: not in every worker.

    members = {split: [] for split in splits.SPLITS}
    for entry in candidates:
        member = records.Member(entry.id, entry.task.path, entry.surface_path, entry.maps_paths)
        members[inputs.assignment[entry.id]].append(member)
    members = {split: rows for split, rows in members.items() if rows}
    new = os.path.join(inputs.work_dir, 'records')
    shutil.rmtree(new, ignore_errors=True)
    metadata = {name: report[name] for name in ('dataset', 'source', 'versions', 'counts')}
    metadata |= {'missing': report['missing'], 'skipped': report['skipped']}
    metadata['description'] = f'{inputs.dataset}: face crops and neutral faces, mm.'
    total = sum(count['frames'] for count in report['counts'].values())
    with tqdm.tqdm(total=total, desc='records', unit='frame') as bar:
        records.write(new, members, metadata, on_frame=bar.update)
    for name in set(os.listdir(new)) - set(_OWN):
        shutil.rmtree(os.path.join(new, name))  # Where TFDS would download to.
    with open(os.path.join(new, 'report.json'), 'w', encoding='utf-8') as file:
        json.dump(report, file, indent=1)
    _take_place(new, inputs.folder, os.path.join(inputs.work_dir, 'old_records'))


def _take_place(new, folder, old):
    """Puts the folder `new` in the place of `folder`: at no moment are the two mixed.

    `old` is where the old records go first: a run that is killed between the two renames leaves
    no records, and the next one makes them. What a person keeps in `folder` besides stays there.
    """
    _move_foreign(old, folder)
    os.makedirs(folder, exist_ok=True)
    shutil.rmtree(old, ignore_errors=True)
    os.replace(folder, old)
    os.replace(new, folder)
    _move_foreign(old, folder)
    shutil.rmtree(old)


def _move_foreign(old, folder):
    if os.path.isdir(old):
        os.makedirs(folder, exist_ok=True)
        for name in set(os.listdir(old)) - set(_OWN):
            os.replace(os.path.join(old, name), os.path.join(folder, name))


@contextlib.contextmanager
def _locked(work_dir):
    """Holds the work folder for this process alone; raises UserError if another has it."""
    try:
        os.makedirs(work_dir, exist_ok=True)
        file = files.lock(os.path.join(work_dir, 'lock'))
    except BlockingIOError:
        raise UserError(
            f'another preparation is writing to {work_dir}; wait for it or stop it'
        ) from None
    except OSError as error:
        sentence = f'cannot write to {error.filename} ({error.strerror})'
        raise UserError(f'{sentence}; choose another --data_dir') from error
    with file:
        try:
            for path in glob.glob(os.path.join(work_dir, '*.tmp')):
                os.remove(path)  # What a killed run was writing.
            yield
        except PermissionError as error:
            data_dir = os.path.abspath(os.path.dirname(os.path.dirname(work_dir)))
            place = os.path.abspath(error.filename or data_dir)
            if not (place + os.sep).startswith(data_dir + os.sep):
                raise UserError(f'cannot read {place}: look at its permissions') from error
            raise UserError(f'cannot write to {place}; choose another --data_dir') from error
