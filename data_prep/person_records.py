"""Records of made-up people of several kinds, from which the systems beside the flagship learn.

python -m data_prep.person_records --face_dir=FaceXModel --people=kinds.npz
    --data_dir=data/systems

It writes records of three names. `several`: people to train on and to validate, drawn like those of
the hard pictures (ICT-FaceKit, MakeHuman, mixtures, deformed), and ICT people to test on, as that
kind has them. `embedded`: test people of the kind that nothing learns from. `eight`: eight of the
people to train on, who are also those to validate: can a network fit them at all?

All pictures are plain, cut out as a detected face is. A stopped run goes on where it was: people
that are drawn stay in data_dir/.work, which may be deleted once the records are there.
"""

import functools
import os
import pathlib
import shutil
from typing import NamedTuple

import numpy as np
from absl import app, flags
from tqdm import tqdm

from data_prep import code_key, mapped_person
from data_prep.hard_pictures import people, workers
from data_prep.registration import ray_casting
from data_prep.synthetic import ict_facekit
from data_prep.work import work_files
from data_prep.work.worker_pool import Workers
from seqface_jax import errors
from seqface_jax.commands import command_line

SEVERAL, HELD_OUT, FEW = 'several', 'embedded', 'eight'  # Names of the records.
MIXED = 'mixed'  # Drawn by people.sample, of all kinds but the held-out one.
_FEW_PEOPLE = 8
_FEW_TIMES = 16  # So often each of them is in an epoch, which ends with a validation.
_MODULES = ('data_prep.person_records',)


class PeopleGroup(NamedTuple):
    """People of one split of one name.

    Attributes:
        records: name of the records; split: of them.
        kind: MIXED, or one of workers.KINDS.
        count: of people.
        pictures: of each.
    """

    records: str
    split: str
    kind: str
    count: int
    pictures: int


class DrawingTask(NamedTuple):
    """One person to draw: number `index` of `group`; world: arguments of workers.load_world."""

    name: str
    paths: mapped_person.Paths
    key: str
    group: PeopleGroup
    index: int
    seed: int
    world: tuple


def groups_of(num_people, pictures=12):
    """Returns the PeopleGroups for so many people to train on."""
    tested = max(num_people // 20, 4)
    return (
        PeopleGroup(SEVERAL, 'train', MIXED, num_people, pictures),
        PeopleGroup(SEVERAL, 'validation', MIXED, tested, pictures),
        PeopleGroup(SEVERAL, 'test', 'ict', tested, pictures),
        PeopleGroup(HELD_OUT, 'test', 'embedded', tested, pictures),
    )


def write(groups, data_dir, world, *, seed=0, num_workers=1):
    """Draws the people who are not there yet and writes the records.

    Args:
        groups: of `groups_of`.
        data_dir: folder of the records.
        world: arguments of workers.load_world.
        seed: another seed, other people.
        num_workers: processes.

    Raises:
        UserError: the people cannot be read, or a process died.
    """
    ray_casting.check_open3d()
    _open(world)  # Its errors belong before any work.
    key = work_key(world, seed)
    tasks = [task for group in groups for task in _tasks(group, data_dir, world, seed, key)]
    missing = [
        task
        for task in tasks
        if not all(work_files.is_valid(path, task.key) for path in task.paths)
    ]
    with Workers(min(num_workers, max(len(missing), 1))) as pool:
        bar = tqdm(total=len(missing), unit='person')
        for task, _, death in pool.run(_draw, missing):
            if death is not None:
                raise errors.UserError(f'{task.name}: {death}; run the same command to go on')
            bar.update()
        bar.close()
    for name, members in _members(tasks).items():
        _write_records(data_dir, name, members)


def work_key(world, seed):
    """Returns the key of the work files: of the code, the seed, and the content of what is read.

    Args:
        world: arguments of workers.load_world.
        seed: of people and pictures.
    """
    face_dir, kinds, people_file = world
    content = pathlib.Path(people_file).read_bytes()
    face = ict_facekit.content_key(face_dir)
    return work_files.key_of(code_key.of_modules(*_MODULES), face, kinds, content, seed)


def _tasks(group, data_dir, world, seed, key):
    folder = os.path.join(data_dir, '.work', group.records, group.split)
    for index in range(group.count):
        name = f'{group.split}_{index:05d}'
        paths = [os.path.join(folder, f'{name}.{part}.npz') for part in mapped_person.Paths._fields]
        own_key = work_files.key_of(key, group.kind, index, group.pictures)
        yield DrawingTask(name, mapped_person.Paths(*paths), own_key, group, index, seed, world)


def _draw(task):
    """Draws one person, in a worker."""
    world, faces = _open(task.world)
    # A number for each split, so that nobody is in two.
    split = int(work_files.key_of(task.group.records, task.group.split)[:8], 16)
    seed = [task.seed, split, task.index]
    rng = np.random.default_rng([*seed, 0])
    kind = task.group.kind
    if kind == MIXED:
        others = {name: draw for name, draw in world.kinds.others.items() if name != HELD_OUT}
        kind, skin = people.sample(world.kinds._replace(others=others), rng)
    else:
        skin = people.of_kind(world.kinds, kind, rng)
    mapped_person.write(
        task.paths,
        task.key,
        world.of_person(kind, skin),
        faces,
        seed=seed,
        num_pictures=task.group.pictures,
    )


@functools.lru_cache(maxsize=1)
def _open(arguments):
    """Returns the picture.World and mapped_person.Template of a process."""
    world = workers.load_world(*arguments)
    canonical = workers.canonical_of(arguments[-1], world.kinds.model)
    return world, mapped_person.template(world.kinds.model, canonical)


def _members(tasks):
    """Returns {name of records: {split: [records.Member]}}, with the few people of FEW."""
    from data_prep import records  # TFDS takes seconds to import: not in every worker.

    found = {}
    for task in tasks:
        read, surface, maps = task.paths
        member = records.Member(task.name, read, surface, {mapped_person.SEQUENCE: maps})
        found.setdefault(task.group.records, {}).setdefault(task.group.split, []).append(member)
    few = found[SEVERAL]['train'][:_FEW_PEOPLE]
    often = [
        member._replace(subject_id=f'{member.subject_id}_{turn:02d}')
        for member in few
        for turn in range(_FEW_TIMES)
    ]
    return found | {FEW: {'train': often, 'validation': few}}


def _write_records(data_dir, name, members):
    """Writes the records of one name; those before stay until the new ones are whole."""
    from data_prep import records

    new, folder = (os.path.join(data_dir, place) for place in (f'.work/{name}.new', name))
    shutil.rmtree(new, ignore_errors=True)
    people_of = {split: len(rows) for split, rows in members.items()}
    metadata = {'description': f'{name}: plain pictures of made-up people, mm.'}
    metadata |= {'dataset': name, 'people': people_of}
    with tqdm(unit='frame', desc=name) as bar:
        records.write(new, members, metadata, on_frame=bar.update)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(new, folder)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_string('data_dir', None, 'Folder of the records.')
    flags.DEFINE_integer(
        'num_people',
        1000,
        'People to train on; a twentieth of that validate, as many are tested on.',
        lower_bound=_FEW_PEOPLE,
    )
    flags.DEFINE_integer('seed', 0, 'Of people and pictures.')
    flags.DEFINE_integer('workers', os.cpu_count() or 1, 'Processes.', lower_bound=1)


@errors.exit_on_user_error
def main(argv):
    """Writes the records."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    world = values.face_dir, workers.KINDS, values.people
    groups = groups_of(values.num_people)
    write(groups, values.data_dir, world, seed=values.seed, num_workers=values.workers)


if __name__ == '__main__':
    define_flags()
    command_line.require(
        face_dir='FaceXModel of ICT-FaceKit',
        people='FILE of template_kinds',
        data_dir='FOLDER of the records',
    )
    app.run(main, flags_parser=command_line.parse)
