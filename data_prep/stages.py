"""The stages of a preparation: each takes subjects, and returns the good ones and what it skipped.

Every stage runs in parallel and leaves work files, which are used again while they are valid.
"""

import os
from typing import NamedTuple

import numpy as np
import tqdm

from data_prep import frame_scans, subject
from data_prep.registration import groupwise, pose_outliers
from data_prep.registration.scan_motion import ScanMotion
from data_prep.sources import Skipped
from data_prep.synthetic.registration_template import template
from data_prep.work import work_files

_ROUNDS = 2  # Rounds of the groupwise refinement.


class Candidate(NamedTuple):
    """A subject that can be used, and what the stages so far have made of it."""

    task: subject.ReadTask
    info: dict  # `subject.read_info`.
    transform: ScanMotion | None = None  # Its scan -> the common frame.
    deviation_mm: float = float('nan')  # `pose_outliers.Posed`.
    surface_path: str = ''  # The work file of `subject.surface`.
    maps_paths: dict[str, str] | None = None  # Sequence -> work file of `frame_scans.make`.

    @property
    def id(self):
        """Id of the subject."""
        return self.task.subject.id


def read(pool, inputs):
    """Stage 1: reads each subject's photos and neutral scan; returns Candidates and Skipped."""
    tasks = inputs.tasks
    missing = [task for task in tasks if not work_files.is_valid(task.path, task.key)]
    total = sum(len(task.subject.frames) for task in tasks)
    left = sum(len(task.subject.frames) for task in missing)
    deaths = {}  # Subject -> why its process died.
    with tqdm.tqdm(total=total, initial=total - left, desc='photos', unit='photo') as bar:
        for task, _, death in pool.run(subject.read, missing):
            bar.update(len(task.subject.frames))
            if death:
                deaths[task.subject.id] = death
    good, skipped = [], []
    for task in tasks:
        if task.subject.id in deaths:
            skipped.append(Skipped('subject', task.subject.id, deaths[task.subject.id]))
            continue
        info = subject.read_info(task.path)
        skipped += [Skipped(**entry) for entry in info['skipped']]
        if info['usable']:
            good.append(Candidate(task, info))
    return good, skipped


def place(pool, inputs, candidates):
    """Stage 2: brings all scans to a common frame; returns Candidates and Skipped.

    Only scans that lie where the others do are good, and no other has a part in the common frame.
    """
    key = work_files.key_of([candidate.task.key for candidate in candidates], _ROUNDS)
    path = os.path.join(inputs.work_dir, 'common_frame.npz')
    if not work_files.is_valid(path, key):
        posed = _common_frame(pool, [candidate.task for candidate in candidates])
        arrays = {
            'rotations': np.stack([entry.transform.rotation for entry in posed]),
            'translations': np.stack([entry.transform.translation for entry in posed]),
            'deviations_mm': np.array([entry.deviation_mm for entry in posed]),
        }
        work_files.save(path, key, arrays)
    arrays = work_files.load(path)
    transforms = map(ScanMotion, arrays['rotations'], arrays['translations'])
    posed = map(pose_outliers.Posed, transforms, arrays['deviations_mm'].tolist())
    good, skipped = [], []
    for candidate, entry in zip(candidates, posed, strict=True):
        if pose_outliers.is_far(entry):
            why = pose_outliers.why(entry.deviation_mm, candidate.info['neutral'])
            skipped.append(Skipped('subject', candidate.id, why))
        else:
            good.append(candidate._replace(**entry._asdict()))
    return good, skipped


def _common_frame(pool, tasks):
    """Returns the Posed of every task's scan; the good ones are refined as a group."""
    scans, transforms = zip(*(subject.load_scan(task.path) for task in tasks), strict=True)
    steps = (1 + 2 * _ROUNDS) * len(tasks)
    with tqdm.tqdm(total=steps, desc='common frame', unit='scan') as bar:

        def counted_map(function, *iterables):
            for result in pool.map(function, *iterables):
                bar.update()
                yield result

        posed = pose_outliers.settle(scans, transforms, template(), map_fn=counted_map)
        good = [n for n, entry in enumerate(posed) if not pose_outliers.is_far(entry)]
        if good:
            refined, _ = groupwise.refine(
                [scans[n] for n in good],
                [posed[n].transform for n in good],
                template(),
                rounds=_ROUNDS,
                map_fn=counted_map,
            )
            for n, transform in zip(good, refined, strict=True):
                posed[n] = posed[n]._replace(transform=transform)
    return posed


def make_surfaces(pool, inputs, candidates):
    """Stage 3: makes all that depends on the common frame; returns Candidates and Skipped."""
    candidates = [
        candidate._replace(
            surface_path=os.path.join(inputs.work_dir, f'{candidate.id}.surface.npz')
        )
        for candidate in candidates
    ]
    keyed = [(candidate, _surface_key(candidate)) for candidate in candidates]
    missing = [
        (candidate, key)
        for candidate, key in keyed
        if not work_files.is_valid(candidate.surface_path, key)
    ]
    # Drawn as workers come free: all truths at once are much memory.
    tasks = (_surface_task(inputs, candidate, key) for candidate, key in missing)
    errors = {}
    with tqdm.tqdm(
        total=len(candidates),
        initial=len(candidates) - len(missing),
        desc='surfaces',
        unit='subject',
    ) as bar:
        for task, _, death in pool.run(subject.surface, tasks):
            bar.update()
            if death:
                errors[task.subject_id] = death
    good, skipped = [], []
    for candidate in candidates:
        error = errors.get(candidate.id)
        error = error or str(work_files.load(candidate.surface_path, ['error'])['error'])
        if error:
            skipped.append(Skipped('subject', candidate.id, error))
        else:
            good.append(candidate)
    return good, skipped


def _surface_key(candidate):
    return work_files.key_of(
        candidate.task.key, candidate.transform.rotation, candidate.transform.translation
    )


def _surface_task(inputs, candidate, key):
    truth = inputs.truth(candidate.id)
    return subject.SurfaceTask(
        candidate.id, candidate.transform, truth, key, candidate.task.path, candidate.surface_path
    )


def make_frame_maps(pool, candidates):
    """Makes the maps of every frame; returns Candidates, Skipped, and notes on what is used."""
    tasks = [
        task
        for candidate in candidates
        for task in frame_scans.tasks_of(candidate.task, candidate.surface_path)
    ]
    missing = [task for task in tasks if not work_files.is_valid(task.path, task.key)]
    total = sum(len(task.frames) for task in tasks)
    left = sum(len(task.frames) for task in missing)
    deaths = {}
    with tqdm.tqdm(total=total, initial=total - left, desc='frame maps', unit='scan') as bar:
        for task, _, death in pool.run(frame_scans.make, missing):
            bar.update(len(task.frames))
            if death:
                deaths[task.path] = death
    paths, skipped, notes = {candidate.id: {} for candidate in candidates}, [], []
    for task in tasks:
        if task.path in deaths:
            where = f'{task.subject_id}/{task.sequence}'
            skipped.append(Skipped('scan', where, deaths[task.path]))
        else:
            paths[task.subject_id][task.sequence] = task.path
            skipped += frame_scans.load_skipped(task.path)
            notes += frame_scans.load_skipped(task.path, 'notes')
    return (
        [candidate._replace(maps_paths=paths[candidate.id]) for candidate in candidates],
        skipped,
        notes,
    )
