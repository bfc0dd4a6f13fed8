"""The space of neutral faces that the geometric filter searches, and the template around it.

python -m data_prep.hard_pictures.shape_space --face_dir=FaceXModel --people=kinds.npz --out=FILE

People are drawn, brought to one size and one pose, and the principal components of how they differ
from the mean of ICT-FaceKit taken: what faces share, and smooth deformations that no face model
holds. They are people as they are: the network learns from a wider range, to be at home beyond it,
but the filter must know what is likely. Size is not among the components: photos do not tell it.
"""

import numpy as np
from absl import app, flags, logging

from data_prep.hard_pictures import people, points, template_eyes, template_model, workers
from data_prep.hard_pictures.template_model import NUM_FACE
from seqface_jax import errors, files
from seqface_jax.commands import command_line
from seqface_jax.geometry import alignment
from seqface_jax.geometry.principal import components as principal_components

_COMPONENTS = 128
_SAMPLES = 3000
_EXPRESSIONS = 40
_EXPRESSION_SAMPLES = 3000
# ICT-FaceKit alone was made from scans of real people: its modes are drawn as they were found;
# some people lie up to halfway to another kind, and everybody is a little beyond all modes.
_SPREAD = (0.8, 1.2)
_MIXED, _SHARE = 0.3, (0.0, 0.5)
_DEFORM_MM = (0.5, 1.5)
_STRETCH = 0.02
_REACH_MM = 85.0  # Around the nose tip: the part of the face that says size and pose.


def template(model, canonical):
    """Returns the arrays of the template's face in the canonical frame, a dict.

    Args:
        model: TemplateModel.
        canonical: function of points in the model's frame.
    """
    triangles = model.triangles['skin']
    chosen = points.choose(model)
    turned = canonical(np.eye(3)) - canonical(np.zeros((1, 3)))
    return {
        'triangles': triangles[(triangles < NUM_FACE).all(1)].astype(np.int32),
        'landmarks': model.landmarks.astype(np.int32),
        'points': chosen,
        'point_mirror': points.mirrored(model, chosen).astype(np.int32),
        'mirror': np.minimum(model.mirror[:NUM_FACE], NUM_FACE - 1).astype(np.int32),
        'blendshapes': (model.expressions[:, :NUM_FACE] @ turned).astype(np.float16),
        'blendshape_names': np.array(model.expression_names),
    }


def normalised(faces, target, near):
    """Returns faces [N, V, 3] at the size and in the pose of a target [V, 3].

    Args:
        near: [V] bool, the vertices that say size and pose.
    """
    made = np.empty_like(faces)
    for k, face in enumerate(faces):
        own = face[near] - face[near].mean(0)
        wanted = target[near] - target[near].mean(0)
        size = np.sqrt((wanted**2).sum() / (own**2).sum())
        rotation, _ = alignment.kabsch(face[near] * size, target[near])
        placed = (face * size) @ rotation.T
        made[k] = placed + (target[near].mean(0) - placed[near].mean(0))
    return made


def draw_faces(kinds, rng, count, canonical):
    """Returns faces of many people, [count, NUM_FACE, 3] mm in the canonical frame."""
    faces = np.empty((count, NUM_FACE, 3), np.float32)
    for k in range(count):
        skin = people.of_kind(kinds, 'ict', rng, spread=_SPREAD)
        if kinds.others and rng.random() < _MIXED:
            other = people.of_kind(kinds, rng.choice(list(kinds.others)), rng)
            skin = skin + np.float32(rng.uniform(*_SHARE)) * (other - skin)
        skin = skin + people.deformation(kinds, rng, rng.uniform(*_DEFORM_MM))
        skin = skin * (1 + rng.normal(0, _STRETCH, 3))
        faces[k] = canonical(skin[:NUM_FACE])
    return faces


def principal(offsets, count):
    """Returns [count, D] components of offsets [N, D], scaled to their standard deviations.

    About zero, not about their mean: what a kind differs by from the middle is part of the spread.
    """
    components = principal_components(offsets, count)
    return components, len(offsets) * np.square(components).sum() / np.square(offsets).sum()


def build(face_dir, kinds, people_file):
    """Returns the arrays of the shape space's file, a dict; vertices in mm, canonical frame."""
    world = workers.load_world(face_dir, kinds, people_file)
    model = world.kinds.model
    canonical = workers.canonical_of(people_file, model)
    arrays = template(model, canonical) | {'uv': template_model.read_uv(face_dir)}
    target = canonical(model.mean[:NUM_FACE])
    reach = np.linalg.norm(target - target[model.landmarks[30]], axis=1)
    near = np.zeros(NUM_FACE, bool)
    near[arrays['points']] = True
    near &= reach < _REACH_MM
    rng = np.random.default_rng(0)
    faces = draw_faces(world.kinds, rng, _SAMPLES, canonical)
    offsets = normalised(faces, target, near) - target
    mean = target
    basis, kept = principal(offsets.reshape(len(offsets), -1), _COMPONENTS)
    logging.info('%d components hold %.4f of the variance', _COMPONENTS, kept)
    weights = np.stack(
        [people.sample_expression(model.expression_names, rng) for _ in range(_EXPRESSION_SAMPLES)]
    )
    shapes = arrays['blendshapes'].astype(np.float32).reshape(len(weights[0]), -1)
    centre = weights.mean(0)
    values, vectors = np.linalg.eigh(np.cov(weights.T))
    moved = shapes @ shapes.T
    # Components of the displacement, not of the weights: some blendshapes hardly move anything.
    root = vectors * np.sqrt(np.maximum(values, 0))
    inner, turned = np.linalg.eigh(root.T @ moved @ root)
    order = inner.argsort()[::-1][:_EXPRESSIONS]
    mixtures = (root @ turned[:, order]).T
    return (
        arrays
        | {
            'mean': mean.reshape(-1, 3).astype(np.float32),
            'basis': basis.reshape(_COMPONENTS, -1, 3).astype(np.float16),
            'expression_mean': centre.astype(np.float32),
            'expression_mixtures': mixtures.astype(np.float32),
            'near': near,
        }
        | eyes_of(model, canonical, people_file, mean.reshape(-1, 3))
    )


def eyes_of(model, canonical, people_file, mean):
    """Returns the arrays of template_eyes.eyes, moved to the mean face [V, 3] mm of the space."""
    names = ('left_eye_rim', 'right_eye_rim')
    rims = list(files.read_arrays(people_file, workers.PEOPLE_ADVICE, names).values())
    face = canonical(model.mean[:NUM_FACE])
    arrays = template_eyes.eyes(model, canonical, rims, face)
    for side, rim in enumerate(rims):
        own = arrays['eye_side'] == side
        arrays['eye_vertices'][own] += (mean[rim] - face[rim]).mean(0)
    return arrays


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_list('kinds', ['ict', 'makehuman'], 'Kinds of people.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')


@errors.exit_on_user_error
def main(argv):
    """Writes the file."""
    del argv
    arrays = build(flags.FLAGS.face_dir, tuple(flags.FLAGS.kinds), flags.FLAGS.people)
    files.write_arrays(flags.FLAGS.out, arrays, compressed=True)


if __name__ == '__main__':
    define_flags()
    command_line.require(
        face_dir='FaceXModel of ICT-FaceKit',
        people='FILE of template_kinds',
        out='FILE to write, .npz',
    )
    app.run(main, flags_parser=command_line.parse)
