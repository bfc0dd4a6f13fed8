"""The mean head behind the template's face, for seqface_jax/reconstruction/full_head.py.

python -m data_prep.package_files.template_head --face_dir=FaceXModel --people=kinds.npz
    --out=seqface_jax/reconstruction/full_head.npz

How far a head is off that is guessed from its face is measured on made-up people of all kinds.
"""

import numpy as np
from absl import app, flags, logging
from scipy.spatial import cKDTree

from data_prep.hard_pictures import people, template_model, workers
from data_prep.hard_pictures.template_model import NUM_FACE, NUM_SKIN
from seqface_jax.reconstruction import flagship, full_head

_CARRIERS = 8  # Face vertices that carry one vertex of the head.
_FALL_MM = 60.0  # Distance from the face over which their share falls.
_NEAR_MM = 6.0  # Added to distances: a carrier next to the vertex does not take all.
_PEOPLE = 200


def build(mean, triangles, names, shifts):
    """Returns the full_head.MeanHead of a mean head, its deviation all zero.

    Args:
        mean: [NUM_SKIN, 3] mm, canonical frame.
        triangles: [F, 3] of the skin.
        names: [W] of ICT-FaceKit's blendshapes.
        shifts: [W, NUM_SKIN, 3] mm, what a weight of 1 of each adds.
    """
    face, rest = mean[:NUM_FACE], mean[NUM_FACE:NUM_SKIN]
    behind = triangles[(triangles >= NUM_FACE).any(1) & (triangles < NUM_SKIN).all(1)]
    rim = np.unique(behind[behind < NUM_FACE])
    rim = np.arange(NUM_FACE) if len(rim) < _CARRIERS else rim
    distance, index = cKDTree(face[rim]).query(rest, _CARRIERS)
    shares = 1 / (distance + _NEAR_MM) ** 2
    shares /= shares.sum(1, keepdims=True)
    shares *= np.exp(-0.5 * (distance[:, :1] / _FALL_MM) ** 2)
    names, groups = flagship.arkit_groups(names)
    behind_shifts = np.tensordot(groups, shifts[:, NUM_FACE:], 1)
    return full_head.MeanHead(
        face.astype(np.float32),
        rest.astype(np.float32),
        behind.astype(np.uint16),
        rim[index].astype(np.uint16),
        shares.astype(np.float32),
        np.zeros(len(rest), np.float32),
        np.array(names),
        behind_shifts.astype(np.float16),
    )


def deviation_mm(own, skins):
    """Returns the root mean square error [H] mm of the guess over skins [N, NUM_SKIN, 3] mm."""
    squared = [
        ((full_head.guess(own, skin[:NUM_FACE]) - skin[NUM_FACE:]) ** 2).sum(1) for skin in skins
    ]
    return np.sqrt(np.mean(squared, 0))


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')


def main(argv):
    """Writes the file."""
    del argv
    model = template_model.read(flags.FLAGS.face_dir)
    canonical = workers.canonical_of(flags.FLAGS.people, model)
    turned = canonical(np.eye(3)) - canonical(np.zeros((1, 3)))
    shifts = model.expressions[:, :NUM_SKIN] @ turned
    mean = canonical(model.mean[:NUM_SKIN])
    own = build(mean, model.triangles['skin'], model.expression_names, shifts)
    others = {k: workers.other_kind(flags.FLAGS.people, k, model) for k in workers.KINDS[1:]}
    identity = np.ascontiguousarray(model.identity[:, :NUM_SKIN]).reshape(len(model.identity), -1)
    kinds = people.Kinds(model, identity, others, np.zeros((0, 0)))
    rng = np.random.default_rng(0)
    skins = [
        canonical(people.of_kind(kinds, workers.KINDS[k % 3], rng, spread=(1.0, 1.0)))
        for k in range(_PEOPLE)
    ]
    own = own._replace(deviation_mm=deviation_mm(own, skins).astype(np.float32))
    logging.info('the guess is off by %.1f mm (rms)', np.sqrt((own.deviation_mm**2).mean()))
    np.savez_compressed(flags.FLAGS.out, **own._asdict())


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['face_dir', 'people', 'out'])
    app.run(main)
