"""The workers that draw shards; each loads the world of pictures once."""

import pathlib

import numpy as np

from data_prep.hard_pictures import looks, painter, people, picture, points, shards, template_model
from data_prep.synthetic import makehuman
from data_prep.synthetic.embedded_face import face_model
from seqface_jax import files
from seqface_jax.errors import UserError

PEOPLE_ADVICE = '`python -m data_prep.synthetic.template_kinds` writes the file of --people'
KINDS = ('ict', 'makehuman', 'embedded')  # All kinds of people; the last is only tested on.
# Names of each kind's arrays in that file, after the kind's own.
_ARRAYS = {
    'makehuman': ('mean', 'deltas', 'names', 'mean_weights'),
    'embedded': ('mean', 'identity'),
}
_world = None


def load_world(face_dir, kinds, people_file, variety=people.NEAR):
    """Returns the picture.World of some kinds of people.

    Args:
        face_dir: FaceXModel of ICT-FaceKit.
        kinds: some of KINDS; 'ict' is always among them.
        people_file: path of the other kinds' file, or None.
        variety: people.Variety of the people drawn.
    """
    model = template_model.read(face_dir)
    others = {}
    for kind in kinds:
        if kind == 'ict':
            continue
        if people_file is None:
            raise UserError(f'--kinds names {kind}, which needs --people=FILE.')
        others[kind] = other_kind(people_file, kind, model)
    sky = painter.open_sky(model.mean, model.triangles['skin'], np.random.default_rng(0))
    places = looks.find_places(model, sky)
    drawn = people.load(model, others)._replace(variety=variety)
    return picture.World(drawn, places, points.choose(model))


def canonical_of(people_file, model):
    """Returns a function that carries points [N, 3] of a TemplateModel to the canonical frame."""
    rotation, translation, shift = _frame_of(people_file, model)

    def canonical(points):
        return ((points + shift) @ rotation.T + translation).astype(np.float32)

    return canonical


def _frame_of(people_file, model):
    """Returns rotation [3, 3], translation [3] and shift [3] mm of a TemplateModel's frame.

    A point of it is (point + shift) @ rotation.T + translation in the canonical frame.
    """
    names = ('canonical_rotation', 'canonical_translation', 'template_mean')
    arrays = files.read_arrays(people_file, PEOPLE_ADVICE, names)
    rotation, translation = arrays['canonical_rotation'], arrays['canonical_translation']
    first = arrays['template_mean'][0]
    return rotation, translation, (first - translation) @ rotation - model.mean[0]


def other_kind(people_file, kind, model):
    """Returns a function of rng that draws the skin [NUM_SKIN, 3] of a person of a kind.

    Args:
        people_file: of `python -m data_prep.synthetic.template_kinds`.
        kind: 'makehuman' or 'embedded'.
        model: TemplateModel, whose frame the skin is told in.
    """
    if kind not in _ARRAYS:
        raise UserError(f'there is no kind of people {kind}: choose of ict, {", ".join(_ARRAYS)}')
    names = [f'{kind}_{name}' for name in _ARRAYS[kind]]
    arrays = files.read_arrays(people_file, PEOPLE_ADVICE, names)
    rotation, translation, shift = _frame_of(people_file, model)

    def to_frame(skin):
        return ((skin - translation) @ rotation - shift).astype(np.float32)

    mean = arrays[f'{kind}_mean']
    if kind == 'embedded':
        fields = arrays['embedded_identity']
        face = face_model()

        def sample(rng):
            return to_frame(mean + np.tensordot(face.sample_identity(rng), fields, 1))
    else:
        deltas = arrays['makehuman_deltas'].astype(np.float32)
        names = tuple(str(name) for name in arrays['makehuman_names'])
        people_of = makehuman.MakeHuman(mean, None, deltas, names)
        average = arrays['makehuman_mean_weights']
        flat = deltas.reshape(len(deltas), -1)

        def sample(rng):
            weights = (people_of.sample_weights(rng) - average).astype(np.float32)
            return to_frame(mean + (weights @ flat).reshape(-1, 3))

    return sample


def start(*arguments):
    """Loads a worker's world."""
    global _world
    _world = load_world(*arguments)


def draw(job):
    """Draws one shard; a job is its folder, number and seed, and `plain` and `no_face`."""
    folder, index, seed, plain, no_face = job
    shards.write(_world, folder, index, seed, plain=plain, no_face=no_face)
    return index


def write_points(folder, face_dir):
    """Writes points.npz: the template vertices of the points, their mirrors, the landmarks."""
    model = template_model.read(face_dir)
    chosen = points.choose(model)
    mirror = points.mirrored(model, chosen)
    arrays = {'vertices': chosen, 'mirror': mirror}
    files.write_arrays(pathlib.Path(folder) / 'points.npz', arrays)
