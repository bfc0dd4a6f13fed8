"""Several hard pictures of each of some people, with their true faces, to measure on.

python -m data_prep.hard_pictures.sequences --face_dir=FaceXModel --people=kinds.npz --kind=embedded
    --out=data/sequences/embedded.npz
"""

import pathlib

import numpy as np
from absl import app, flags
from tqdm import tqdm

from data_prep.hard_pictures import people, picture, workers
from data_prep.hard_pictures.template_model import NUM_FACE
from seqface_jax import errors, files
from seqface_jax.commands import command_line


def draw(world, kind, canonical, seed, num_people, num_pictures, *, plain):
    """Returns the arrays of the file, a dict.

    Returns:
        images [N, T, S, S, 3] uint8, places [N, T, P, 2] px, seen [N, T, P], rotation
        [N, T, 3, 3] canonical frame to camera, faces [N, V, 3] mm neutral, canonical frame; middle
        [N, T, 2] px, where the optical axis meets the picture, and focal [N, T] px; expressions
        [N, T, W], weights of the model's blendshapes.
    """
    own = world.kinds._replace(others={} if kind == 'ict' else {kind: world.kinds.others[kind]})
    turned = canonical(np.eye(3)) - canonical(np.zeros((1, 3)))
    names = ('images', 'places', 'seen', 'rotation', 'faces', 'middle', 'focal', 'expressions')
    fields = {name: [] for name in names}
    for person in tqdm(range(num_people), unit='person'):
        skin = people.of_kind(own, kind, np.random.default_rng([seed, 1, person]))
        one_kind = world._replace(kinds=own).of_person(kind, skin)
        made, number = [], 0
        while len(made) < num_pictures:
            one = picture.make(
                one_kind, np.random.default_rng([seed, 2, person, number]), plain=plain
            )
            number += 1
            if one.is_face and one.seen.mean() > 0.25:
                made.append(one)
        fields['images'].append([one.image for one in made])
        fields['places'].append([one.places for one in made])
        fields['seen'].append([one.seen for one in made])
        fields['rotation'].append([one.rotation @ turned for one in made])
        fields['expressions'].append([one.expression for one in made])
        half = np.array([one.half for one in made])
        center = np.array([one.center for one in made])
        fields['focal'].append(picture.SIZE / 2 / half)
        fields['middle'].append(picture.SIZE / 2 * (1 - center / half[:, None]))
        fields['faces'].append(canonical(skin[:NUM_FACE]))
    return {name: np.array(values) for name, values in fields.items()}


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_string('kind', None, 'One of the kinds of people; as they are.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')
    flags.DEFINE_integer('seed', 77, 'Seed of people and pictures.')
    flags.DEFINE_integer('num_people', 24, 'People.')
    flags.DEFINE_bool('plain', True, 'Like own photos: little in front, no damage, no profile.')
    flags.DEFINE_integer('num_pictures', 16, 'Pictures of each that show a face.')


@errors.exit_on_user_error
def main(argv):
    """Writes the file."""
    del argv
    world = workers.load_world(flags.FLAGS.face_dir, (flags.FLAGS.kind,), flags.FLAGS.people)
    canonical = workers.canonical_of(flags.FLAGS.people, world.kinds.model)
    arrays = draw(
        world,
        flags.FLAGS.kind,
        canonical,
        flags.FLAGS.seed,
        flags.FLAGS.num_people,
        flags.FLAGS.num_pictures,
        plain=flags.FLAGS.plain,
    )
    pathlib.Path(flags.FLAGS.out).parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(flags.FLAGS.out, arrays)


if __name__ == '__main__':
    define_flags()
    command_line.require(
        face_dir='FaceXModel of ICT-FaceKit',
        people='FILE of template_kinds',
        kind='ict, makehuman or embedded',
        out='FILE to write, .npz',
    )
    app.run(main, flags_parser=command_line.parse)
