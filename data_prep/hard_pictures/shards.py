"""Files of hard pictures: a shard is one .npz, written whole or not at all, the same for a seed."""

import pathlib

import numpy as np

from data_prep.hard_pictures import people, picture, still_life
from seqface_jax import files

SHARD = 500  # Pictures in a file.
PER_PERSON = 7  # Pictures of one person, which follow each other.
_FIELDS = ('places', 'seen', 'is_face', 'expression', 'rotation', 'translation', 'center', 'half')


def path_of(folder, index):
    """Returns the path of a shard."""
    return pathlib.Path(folder) / f'pictures_{index:05d}.npz'


def write(world, folder, index, seed, *, plain=False, no_face=False):
    """Draws one shard and writes it.

    Args:
        world: picture.World.
        folder: where to.
        index: number of the shard.
        seed: of everything; a shard depends on nothing but these two and the next.
        plain: as of picture.make.
        no_face: pictures of still_life, every other one plain.
    """
    numbers = range(index * SHARD, (index + 1) * SHARD)
    if no_face:
        made = [
            still_life.make(world, np.random.default_rng([seed, 3, k]), plain=k % 2 == 0)
            for k in numbers
        ]
        # No person has a negative number.
        people_of, is_plain = [-1 - k for k in numbers], [k % 2 == 0 for k in numbers]
    else:
        made, people_of = _of_people(world, numbers, seed, plain)
        is_plain = [plain] * len(made)
    arrays = {name: np.array([getattr(one, name) for one in made]) for name in _FIELDS}
    arrays['images'] = np.stack([one.image for one in made])
    arrays['kind'] = np.array([one.kind for one in made])
    arrays['person'] = np.array(people_of)
    arrays['plain'] = np.array(is_plain)
    path = path_of(folder, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(path, arrays)


def _of_people(world, numbers, seed, plain):
    """Returns the Pictures of some numbers and the number of the person on each."""
    made, people_of = [], []
    for k in numbers:
        person = k // PER_PERSON
        if not people_of or people_of[-1] != person:
            drawn = people.sample(world.kinds, np.random.default_rng([seed, 1, person]))
            of_one = world.of_person(*drawn)
        made.append(picture.make(of_one, np.random.default_rng([seed, 2, k]), plain=plain))
        people_of.append(person)
    return made, people_of
