"""A raw tree -> records, in four stages, each of which a killed run takes up where it was.

1. Per subject, in parallel: face crops, neutral scan, clean and registered (`subject.read`).
2. All subjects together: wrong poses are found (`pose_outliers.settle`), the others brought to a
   common canonical frame (`canonical.refine_groupwise`).
3. Per subject, in parallel: position map, mask, points, scan crop, truth (`subject.surface`).
   If asked for, per sequence, in parallel: the maps of every frame (`frame_scans.make`).
4. Records (`records.write`) and report.json.

Stages 1 and 3 leave work files in data_dir/.work/<dataset>; it is used again while
the subject's raw files and the code that read them are unchanged, and may be deleted. Nothing
depends on the number of workers or on the order of files. What cannot be used is skipped and
listed; only a tree of which nothing can be used is an error.
"""

import contextlib
import datetime
import glob
import importlib.metadata
import json
import os
import shutil
from typing import NamedTuple

import numpy as np
import tqdm

import seqface_jax
from data_prep import code_key, frame_scans, neutral, sources, splits, subject
from data_prep.registration import canonical, pose_outliers, ray_casting, template
from data_prep.registration.canonical import ScanMotion
from data_prep.sources import Skipped
from data_prep.work import beam_workers, work_files, workers
from seqface_jax import files
from seqface_jax.errors import UserError

_LIBRARIES = ('numpy', 'opencv-python-headless', 'open3d-cpu', 'open3d', 'tensorflow-datasets')
# Modules that make the work files, with the source's own; and that make the records of them.
_READERS = (
    'data_prep.subject',
    'data_prep.frame_scans',
    'data_prep.registration.pose_outliers',
)
_WRITERS = ('data_prep.records',)
_ROUNDS = 2  # Rounds of the groupwise refinement.
_PARTS = ('frames', 'subjects', 'frame_maps')  # Record sets; the last only if asked for.
_OWN = (*_PARTS, 'report.json')  # What a preparation writes.
_SUMMARY_LINES = 20  # Most skipped things in the summary; report.json has all.


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
    pool = workers.Workers(num_workers)
    if beam_options is not None:
        pool = beam_workers.BeamWorkers(beam_options, num_workers)
        raw_dir, data_dir = os.path.abspath(raw_dir), os.path.abspath(data_dir)
    inputs = find_inputs(
        dataset, raw_dir, data_dir, subject_ids, splits_csv, neutral_csv, with_maps
    )
    key = work_files.key_of(
        code_key.of_modules(*_WRITERS),
        [task.key for task in inputs.tasks],
        inputs.assignment,
        inputs.passed_over,
        with_maps,
    )
    with _locked(inputs.work_dir):
        report = read_report(inputs.folder)
        if report and report['key'] == key:
            return report, True
        ray_casting.check_open3d()  # Or every scan would seem to be at fault.
        with pool:
            deaths = _read_all(pool, inputs.tasks)
            usable, skipped, infos = _usable(inputs, deaths)
            transforms, deviations_mm = _common_frame(pool, inputs, usable)
            for task in usable:
                name = task.subject.id
                infos[name]['deviation_mm'] = deviations_mm[name]
                if name not in transforms:
                    why = pose_outliers.why(deviations_mm[name], infos[name]['neutral'])
                    skipped.append(Skipped('subject', name, why)._asdict())
            usable = [task for task in usable if task.subject.id in transforms]
            surfaces, errors = _surfaces(pool, inputs, usable, transforms)
            good = [task for task in usable if task.subject.id not in errors]
            skipped += [Skipped('subject', name, why)._asdict() for name, why in errors.items()]
            if not good:
                raise UserError(_nothing_left(raw_dir, skipped))
            notes = [note for task in good for note in infos[task.subject.id]['notes']]
            maps_paths = {}
            if with_maps:
                maps_paths, unmapped, more = _frame_maps(pool, inputs, good, surfaces)
                known = [entry['where'] for entry in skipped]
                skipped += [entry for entry in unmapped if entry['where'] not in known]
                notes += more
        report = _report(inputs, key, good, infos, skipped, notes)
        _write_records(inputs, good, surfaces, maps_paths, report)
    return report, False


def summary(report, up_to_date):
    """Returns what a person wants to know of a report, a few lines."""
    folder = report['folder']
    head = f'{folder} is up to date' if up_to_date else f'prepared {report["dataset"]} in {folder}'
    counts = ', '.join(
        f'{split} {_count(count["subjects"], "subject")} / {_count(count["frames"], "frame")}'
        for split, count in report['counts'].items()
    )
    lines = [f'{head}: {counts}']
    if report['missing']:
        named = report['missing'][:_SUMMARY_LINES]
        more = len(report['missing']) - len(named)
        rest = f' and {more} more' if more else ''
        lines.append(f'missing in the raw tree: {", ".join(named)}{rest}')
    if report['splits_by_rule']:
        number = _count(len(report['splits_by_rule']), 'subject')
        lines.append(f'not in the table of splits, placed by its rule: {number}')
    for title, entries in (
        ('skipped', report['skipped']),
        ('used, but not as they are', report['notes']),
        ('passed over in the raw tree', report['passed_over']),
    ):
        lines += _listed(title, entries, os.path.join(folder, 'report.json'))
    return '\n'.join(lines) + '\n'


def _listed(title, entries, path):
    """Returns lines that count entries of the report, and name the first of them."""
    if not entries:
        return []
    kinds = [entry['what'] for entry in entries]
    counts = ', '.join(_count(kinds.count(kind), kind) for kind in sorted(set(kinds)))
    lines = [f'{title}: {counts} (all of them in {path})']
    entries = sorted(entries, key=lambda entry: entry['what'] != 'subject')  # These first.
    for entry in entries[:_SUMMARY_LINES]:
        lines.append(f'  {entry["what"]} {entry["where"]}: {entry["why"]}')
    if len(entries) > _SUMMARY_LINES:
        lines.append(f'  ... and {len(entries) - _SUMMARY_LINES} more')
    return lines


def _count(number, noun):
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def read_report(folder):
    """Returns the report of finished records in data_dir/<dataset>, or None."""
    try:
        with open(os.path.join(folder, 'report.json'), encoding='utf-8') as file:
            report = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(report, dict) or 'key' not in report:
        return None
    parts = _PARTS if report.get('frame_maps') else _PARTS[:2]
    whole = all(os.path.isdir(os.path.join(folder, part)) for part in parts)
    return report if whole else None


def find_inputs(dataset, raw_dir, data_dir, subject_ids, splits_csv, neutral_csv, with_maps=False):
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
    reader = code_key.of_modules(*_READERS, sources.module_of(dataset))
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


def _read_all(pool, tasks):
    """Stage 1; returns {subject: why its process died}."""
    missing = [task for task in tasks if not work_files.is_valid(task.path, task.key)]
    total = sum(len(task.subject.frames) for task in tasks)
    left = sum(len(task.subject.frames) for task in missing)
    deaths = {}
    with tqdm.tqdm(total=total, initial=total - left, desc='photos', unit='photo') as bar:
        for task, _, death in pool.run(subject.read, missing):
            bar.update(len(task.subject.frames))
            if death:
                deaths[task.subject.id] = death
    return deaths


def _usable(inputs, deaths):
    """Returns the tasks whose subject can be used, what was skipped, and {subject: info}."""
    usable, skipped, infos = [], [], {}
    for task in inputs.tasks:
        if task.subject.id in deaths:
            why = deaths[task.subject.id]
            skipped.append(Skipped('subject', task.subject.id, why)._asdict())
            continue
        info = subject.read_info(task.path)
        infos[task.subject.id] = info
        skipped += info['skipped']
        if info['usable']:
            usable.append(task)
    if not usable:
        raise UserError(_nothing_left(inputs.raw_dir, skipped))
    return usable, skipped, infos


def _nothing_left(raw_dir, skipped):
    reasons = [entry for entry in skipped if entry['what'] == 'subject']
    details = [entry for entry in skipped if entry['what'] != 'subject']
    first = f'; {reasons[0]["where"]}: {reasons[0]["why"]}' if reasons else ''
    first += f' ({details[0]["where"]}: {details[0]["why"]})' if details else ''
    return f'no subject of {raw_dir} can be used{first}'


def _common_frame(pool, inputs, tasks):
    """Stage 2; returns {subject: final ScanMotion of its scan} and {subject: deviation_mm}.

    The transforms are of the subjects whose scan lies where the others' do, and no other has had
    a part in the common frame.
    """
    key = work_files.key_of([task.key for task in tasks], _ROUNDS)
    path = os.path.join(inputs.work_dir, 'common_frame.npz')
    if not work_files.is_valid(path, key):
        scans, transforms = zip(*(subject.load_scan(task.path) for task in tasks), strict=True)
        steps = (1 + 2 * _ROUNDS) * len(tasks)
        with tqdm.tqdm(total=steps, desc='common frame', unit='scan') as bar:

            def counted_map(function, *iterables):
                for result in pool.map(function, *iterables):
                    bar.update()
                    yield result

            posed = pose_outliers.settle(scans, transforms, template.template(), map_fn=counted_map)
            good = [n for n, entry in enumerate(posed) if not pose_outliers.is_far(entry)]
            transforms = [entry.transform for entry in posed]
            if good:
                refined, _ = canonical.refine_groupwise(
                    [scans[n] for n in good],
                    [transforms[n] for n in good],
                    template.template(),
                    rounds=_ROUNDS,
                    map_fn=counted_map,
                )
                for n, transform in zip(good, refined, strict=True):
                    transforms[n] = transform
        arrays = {
            'rotations': np.stack([transform.rotation for transform in transforms]),
            'translations': np.stack([transform.translation for transform in transforms]),
            'deviations_mm': np.array([entry.deviation_mm for entry in posed]),
        }
        work_files.save(path, key, arrays)
    arrays = work_files.load(path)
    transforms = map(ScanMotion, arrays['rotations'], arrays['translations'])
    posed = map(pose_outliers.Posed, transforms, arrays['deviations_mm'].tolist())
    posed = {task.subject.id: entry for task, entry in zip(tasks, posed, strict=True)}
    good = {
        name: entry.transform for name, entry in posed.items() if not pose_outliers.is_far(entry)
    }
    return good, {name: entry.deviation_mm for name, entry in posed.items()}


def _surfaces(pool, inputs, tasks, transforms):
    """Stage 3; returns {subject: its work file} and {subject: why it cannot be used}."""
    surfaces, missing = {}, []
    for task in tasks:
        subject_id = task.subject.id
        transform = transforms[subject_id]
        key = work_files.key_of(task.key, transform.rotation, transform.translation)
        path = os.path.join(inputs.work_dir, f'{subject_id}.surface.npz')
        surfaces[subject_id] = path
        if not work_files.is_valid(path, key):
            missing.append((subject_id, transform, key, task.path, path))
    surface_tasks = (
        subject.SurfaceTask(subject_id, transform, inputs.truth(subject_id), key, read_path, path)
        for subject_id, transform, key, read_path, path in missing
    )
    errors = {}
    left = len(missing)
    with tqdm.tqdm(
        total=len(tasks), initial=len(tasks) - left, desc='surfaces', unit='subject'
    ) as bar:
        for task, _, death in pool.run(subject.surface, surface_tasks):
            bar.update()
            if death:
                errors[task.subject_id] = death
    for subject_id, path in surfaces.items():
        if subject_id not in errors:
            error = str(work_files.load(path, ['error'])['error'])
            errors |= {subject_id: error} if error else {}
    return surfaces, errors


def _frame_maps(pool, inputs, tasks, surfaces):
    """Makes the maps of every frame.

    Returns:
        {subject: {sequence: work file}}; what is skipped; notes on what is used; lists of dict.
    """
    maps_tasks = [
        maps_task
        for task in tasks
        for maps_task in frame_scans.tasks_of(task, surfaces[task.subject.id])
    ]
    missing = [task for task in maps_tasks if not work_files.is_valid(task.path, task.key)]
    total = sum(len(task.frames) for task in maps_tasks)
    left = sum(len(task.frames) for task in missing)
    deaths = {}
    with tqdm.tqdm(total=total, initial=total - left, desc='frame maps', unit='scan') as bar:
        for task, _, death in pool.run(frame_scans.make, missing):
            bar.update(len(task.frames))
            if death:
                deaths[task.path] = death
    paths, skipped, notes = {}, [], []
    for task in maps_tasks:
        if task.path in deaths:
            where = f'{task.subject_id}/{task.sequence}'
            skipped.append(Skipped('scan', where, deaths[task.path]))
        else:
            paths.setdefault(task.subject_id, {})[task.sequence] = task.path
            skipped += frame_scans.load_skipped(task.path)
            notes += frame_scans.load_skipped(task.path, 'notes')
    return paths, [entry._asdict() for entry in skipped], [entry._asdict() for entry in notes]


def _report(inputs, key, good, infos, skipped, notes):
    members = {}
    for task in good:
        info = infos[task.subject.id]
        members[task.subject.id] = {
            'split': inputs.assignment[task.subject.id],
            'num_frames': info['num_frames'],
            'neutral': info['neutral'],
            'residual_mm': round(info['residual_mm'], 3),
            'deviation_mm': _rounded(info['deviation_mm']),
        }
    counts = {}
    for split in splits.SPLITS:
        rows = [row for row in members.values() if row['split'] == split]
        counts[split] = {'subjects': len(rows), 'frames': sum(row['num_frames'] for row in rows)}
    versions = {'seqface_jax': seqface_jax.__version__}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        'dataset': inputs.dataset,
        'source': os.path.abspath(inputs.raw_dir),
        'folder': inputs.folder,
        'prepared': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'versions': versions,
        'counts': counts,
        'missing': inputs.missing,
        'skipped': skipped,
        'notes': notes,
        'passed_over': [entry._asdict() for entry in inputs.passed_over],
        'splits_by_rule': inputs.by_rule,
        'frame_maps': inputs.with_maps,
        'subjects': members,
        'key': key,
    }


def _rounded(millimetres):
    """Returns a number for JSON, None for one that nobody knows."""
    return round(millimetres, 3) if np.isfinite(millimetres) else None


def _write_records(inputs, good, surfaces, maps_paths, report):
    """Stage 4; the old records stay until the new ones are whole."""
    from data_prep import records  # TFDS takes seconds to import: not in every worker.

    members = {split: [] for split in splits.SPLITS}
    for task in good:
        subject_id = task.subject.id
        maps = maps_paths.get(subject_id, {}) if inputs.with_maps else None
        member = records.Member(subject_id, task.path, surfaces[subject_id], maps)
        members[inputs.assignment[subject_id]].append(member)
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
