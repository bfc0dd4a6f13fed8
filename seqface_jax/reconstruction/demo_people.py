"""Many people at once: a folder for each, or everybody on the same photos or video."""

import contextlib
import csv
import os
from typing import NamedTuple

import numpy as np
import tqdm

from seqface_jax.errors import UserError, check_choice, writing_to
from seqface_jax.photos import file_kinds, own_files, video
from seqface_jax.reconstruction import people_page, person_stream
from seqface_jax.reconstruction.people_page import PersonRow
from seqface_jax.reconstruction.photo_observation import Observation, Rejection

WAYS = ('folders', 'all')  # Values of --people.
SIGHTINGS = 'people_frames.csv'  # Each face of each frame, of 'all'.
_SIGHTING_COLUMNS = ('frame', 'person', 'result', 'detail', 'x0', 'y0', 'x1', 'y1')
_NOBODY = ''  # Person of a face that is credited to nobody.


class _Job(NamedTuple):
    """One person's source: name, path as of video.open_source, and number of frames or None."""

    name: str
    path: str
    count: int | None


def run(way, restore, source, output, options):
    """Reconstructs several people, each into a folder of its own below `output`.

    Writes people.csv, a row for each person, and index.html, a page that links theirs.

    Args:
        way: 'folders', each folder in `source` is a person; or 'all', everybody on the photos or
            the video `source` is told apart by shape, looks and, in a video, place.
        restore: function without arguments that returns the run's Reconstructor, compiled.
        source: as of video.open_source.
        output: folder, made if missing.
        options: person_stream.DemoOptions.

    Returns:
        list of str, what was done.

    Raises:
        UserError: no such run or source, or no face of anybody.
    """
    check_choice(way, WAYS, 'way of --people')
    make = _folders if way == 'folders' else _everybody
    with person_stream.stop_on_interrupt() as stop:
        rows, lines = make(restore, source, output, options, stop)
    lines += people_page.write(output, f'{len(rows)} people of {source}', rows)
    if not any(row.face is not None for row in rows):
        reasons = '; '.join(f'{row.name}: {row.detail}' for row in rows[:3])
        raise UserError(f'no face of anybody in {source} ({reasons}): people.csv has all')
    return lines


def jobs(source, output):
    """Returns a _Job for each folder of `source` but `output`.

    Raises:
        UserError: `source` is no folder, or no folder in it holds a photo or a video.
    """
    if not os.path.isdir(source):
        raise UserError(f'{source} is no folder: --people=folders takes a folder of folders')
    found = []
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        is_output = os.path.realpath(path) == os.path.realpath(output)
        if os.path.isdir(path) and not name.startswith('.') and not is_output:
            path = _only_video(path) or path
            try:
                opened = video.open_source(path)
            except UserError:
                found.append(_Job(name, path, 0))  # Said when its turn comes.
                continue
            opened.frames.close()
            found.append(_Job(name, path, opened.count))
    if not any(job.count != 0 for job in found):
        raise UserError(
            f'{source} holds no folder with photos or a video: --people=folders takes a folder '
            'that holds one for each person'
        )
    return found


def _only_video(folder):
    """Returns the video of a folder that holds one and no photo, else None."""
    try:
        paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        paths = [path for path in paths if os.path.isfile(path) and not own_files.is_own(path)]
        groups = {path: file_kinds.of_path(path).group for path in paths}
    except OSError:
        return None  # What cannot be read is told when the folder's turn comes.
    videos = [path for path, group in groups.items() if group == file_kinds.VIDEO]
    has_photo = file_kinds.PHOTO in groups.values()
    return videos[0] if len(videos) == 1 and not has_photo else None


def _folders(restore, source, output, options, stop):
    """Returns a PersonRow for each folder, and what to tell."""
    found = jobs(source, output)
    reconstructor = restore()
    counts = [min(options.max_frames or job.count, job.count) for job in found if job.count]
    rows, lines = [], []
    with tqdm.tqdm(total=sum(counts), unit='frame') as bar:
        for number, job in enumerate(found, start=1):
            if stop.is_set():
                rows.append(PersonRow(job.name, job.name, detail='stopped before it'))
                continue
            bar.set_description(f'{job.name} ({number} of {len(found)})')
            rows.append(_folder(reconstructor, job, output, options, stop, bar))
            lines.append(f'{job.name}: {rows[-1].detail}')
    return rows, lines


def _folder(reconstructor, job, output, options, stop, bar):
    """Returns the PersonRow of one folder."""
    row = PersonRow(job.name, job.name)
    before = bar.n
    try:
        opened = video.open_source(job.path)
        with contextlib.closing(opened.frames):
            folder = os.path.join(output, job.name)
            person = person_stream.PersonOutput(reconstructor, folder, opened, options)
            state = reconstructor.initial_state()
            person_stream.one_person(
                reconstructor, person, opened, state, job.path, options.max_frames, stop, bar
            )
    except UserError as error:
        return row._replace(detail=str(error))
    finally:  # What was announced and did not come is done too: the time left stays right.
        announced = min(options.max_frames or job.count or 0, job.count or 0)
        bar.update(max(0, announced - (bar.n - before)))
    return people_page.row_of(row, person.record)


def _everybody(restore, source, output, options, stop):
    """Returns a PersonRow for everybody on the frames of one source, and what to tell."""
    opened = video.open_source(source)
    with contextlib.closing(opened.frames), contextlib.ExitStack() as stack:
        reconstructor = restore()
        with writing_to(output):
            os.makedirs(output, exist_ok=True)
        gathered = _Gathered(reconstructor, output, opened, options, stack)
        group, count = reconstructor.initial_people(), 0
        total = person_stream.num_frames(opened, options.max_frames)
        with tqdm.tqdm(total=total, unit='frame') as bar:
            for frame in opened.frames:
                observations, faces = {}, {}
                if frame.photo is not None:
                    group, observations, faces = _look(reconstructor, group, frame, opened)
                gathered.add(frame, observations, faces, group)
                bar.update(frame.is_photo)
                count += frame.is_photo
                if stop.is_set() or 0 < options.max_frames <= count:
                    break
        if not gathered.people:
            raise UserError(f'no face in any of the {count} frames of {source} can be used')
        rows = [
            people_page.row_of(PersonRow(name, name), person.record)
            for name, person in gathered.write(source, stopped=stop.is_set())
        ]
    lines = [f'{row.name}: {row.detail}' for row in rows]
    if gathered.num_unsure:
        lines.append(
            f'{gathered.num_unsure} faces were credited to nobody, for they may be of two people: '
            f'{SIGHTINGS} says which'
        )
    return rows, lines


def _look(reconstructor, group, frame, opened):
    """Returns the group after a frame, the Observations and the Faces by person."""
    is_video = opened.kind != 'photos'
    observations = reconstructor.examine_all(group, frame.photo, video=is_video)
    group, faces = reconstructor.update_all(group, frame.photo, observations)
    return group, observations, faces


class _Gathered:
    """The outputs of everybody, opened when they first appear, and the table of all faces.

    Attributes:
        people: dict of person_stream.PersonOutput by number.
        num_unsure: faces so far that may be of two people.
    """

    def __init__(self, reconstructor, output, opened, options, stack):
        self.people, self.num_unsure = {}, 0
        self._open = lambda name: person_stream.PersonOutput(
            reconstructor, os.path.join(output, name), opened, options
        )
        self._stack, self._is_video = stack, opened.kind != 'photos'
        path = os.path.join(output, SIGHTINGS)
        self._rows = csv.writer(
            stack.enter_context(open(path, 'w', newline='', encoding='utf-8')),
            lineterminator='\n',
        )
        self._rows.writerow(_SIGHTING_COLUMNS)

    def add(self, frame, observations, faces, group):
        """Takes note of a frame and whose faces are on it."""
        for person, observation in observations.items():
            self._tell(frame, person, observation, person in faces)
            if person in faces and person not in self.people:
                self.people[person] = self._stack.enter_context(self._open(name_of(person)))
        is_empty = all(one.detection is None for one in observations.values())
        if is_empty and frame.is_photo:
            self._rows.writerow((frame.name, _NOBODY, 'skipped', frame.problem or 'no face found'))
        for person, output in self.people.items():
            observation = observations.get(person)
            if observation is None and frame.photo is not None:
                if not self._is_video:
                    continue  # A photo of others says nothing of this person.
                observation = Observation(None, None, 0.0, Rejection.ABSENT)
            state, face = group.states[person], faces.get(person)
            output.add(person_stream.Moment(frame, observation, state, face))

    def _tell(self, frame, person, observation, is_used):
        if observation.detection is None:
            return  # Somebody who was on the frame before and is not on this one.
        unsure = observation.rejection is Rejection.UNSURE
        self.num_unsure += unsure
        box = np.asarray(observation.detection.box) / frame.scale
        name = _NOBODY if person < 0 or unsure else name_of(person)
        result = 'used' if is_used else 'unsure' if unsure else 'skipped'
        values = (f'{value:.1f}' for value in box)
        self._rows.writerow((frame.name, name, result, observation.reason, *values))

    def write(self, source, *, stopped):
        """Writes everybody's files; yields their names and PersonOutputs."""
        for person in sorted(self.people):
            self.people[person].write(f'{name_of(person)} in {source}', stopped=stopped)
            yield name_of(person), self.people[person]


def name_of(person):
    """Returns the name of a person's folder, by their number from 0."""
    return f'person_{person + 1:02d}'
