"""Sets the log odds that two faces are of one person, for people_assignment.py.

python -m data_prep.package_files.people_odds --workdir=RUN --face_dir=FaceXModel --people=kinds.npz
    --out=seqface_jax/reconstruction/people_odds.npz

Made-up people are drawn as on photos of their own: skin and hair stay, light, pose and expression
do not. What a run makes of them says how much likeness of looks and distance of shapes are worth,
and from which log odds on a face is rarely somebody else's. To be run again after a training.
"""

import sys
from typing import NamedTuple

import numpy as np
from absl import app, flags

from data_prep.hard_pictures import camera, people, picture, workers
from data_prep.package_files import calibrate
from seqface_jax import checkpoints, errors, files
from seqface_jax.commands import command_line
from seqface_jax.reconstruction import flagship, people_assignment, point_people

_YAW_DEG, _PITCH_DEG = 30.0, 12.0  # Most that heads are turned.
_KNOWN = (1, 2)  # Photos that a person is known from.
_STEPS, _RIDGE = 50, 1e-3  # Newton steps of the fit, and its pull towards 0.
# Shares of faces that may be taken for a known person's though they are not, and for new though
# they are a known person's. Measured on people that nothing was set on (24 of each kind, 5 photos,
# every second person): 0.03 % of the pairs of two people are mixed up; of the pairs of one person
# 57 % are unsure and 5 % split.
MAX_MIXED, MAX_SPLIT = 0.001, 0.05


class Seen(NamedTuple):
    """What a run makes of one photo.

    Attributes:
        fit: point_fit.PointFit by itself.
        looks: people_assignment.Looks.
    """

    fit: object
    looks: object


def draw(world, kind, seed, count):
    """Returns [count, S, S, 3] uint8 RGB, photos of one made-up person in random light."""
    skin = people.of_kind(world.kinds, kind, np.random.default_rng([seed, 1]), spread=(1.0, 1.0))
    own = world.of_person(kind, skin)
    names, made = world.kinds.model.expression_names, []
    for number in range(count):
        rng = np.random.default_rng([seed, 2, number])
        view = camera.facing(*rng.uniform(-1, 1, 2) * (_YAW_DEG, _PITCH_DEG))
        expression = people.sample_expression(names, rng)
        portrait = picture.Portrait(view, expression, seed, is_studio=False)
        made.append(picture.make(own, rng, plain=True, portrait=portrait).image)
    return np.stack(made)


def see(stream, images):
    """Returns a person's Seen photos; and their coefficients and Looks after each of _KNOWN."""
    state, mean, seen, known = stream.initial_state(), None, [], {}
    for number, image in enumerate(images, start=1):
        sighting = calibrate.sight(stream.finder, image)
        _, fit, sighting = stream.update(stream.initial_state(), image, sighting)
        looks = point_people.looks_of(stream, image, sighting)
        seen.append(Seen(fit, looks))
        if number <= max(_KNOWN):
            state, _, _ = stream.update(state, image, sighting, refits=0)
            mean = people_assignment.joined(mean, looks)
        if number in _KNOWN:
            known[number] = stream.coefficients(state), mean
    return seen, known


def pairs(stream, everybody):
    """Returns features [N, 2], likeness and distance, and whether they are of one person [N].

    Args:
        stream: flagship.Stream.
        everybody: list of what `see` returned.
    """
    features, same = [], []
    for person, (_, known) in enumerate(everybody):
        for other, (seen, _) in enumerate(everybody):
            for count, (coefficients, looks) in known.items():
                for photo in seen[count if person == other else 0 :]:
                    alike = people_assignment.likeness(looks, photo.looks)
                    features.append((alike, stream.distance(photo.fit, coefficients)))
                    same.append(person == other)
    return np.array(features), np.array(same)


def fit(features, same):
    """Returns the weights [3] of likeness, distance and 1 in the log odds of one person.

    Logistic regression; pairs of one person count as much in all as those of two.
    """
    design = np.concatenate([features, np.ones((len(features), 1))], 1)
    importance = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    weights = np.zeros(3)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (importance * (same - chance)) - _RIDGE * weights
        curvature = (design * (importance * chance * (1 - chance))[:, None]).T @ design
        weights = weights + np.linalg.solve(curvature + _RIDGE * np.eye(3), gradient)
    return weights


def thresholds(odds, same):
    """Returns the log odds from which a face is the person's, and up to which it is not.

    Args:
        odds: [N]; same: [N] whether they are of one person.
    """
    known = np.quantile(odds[~same], 1 - MAX_MIXED)
    new = np.quantile(odds[same], MAX_SPLIT)
    if new > known:  # Both rates are kept anywhere in between.
        known = new = (known + new) / 2
    return float(known), float(new)


def rates(odds, same, known, new):
    """Returns the shares of pairs: mixed up of two people; unsure and split of one person."""
    mixed, split = (odds[~same] >= known).mean(), (odds[same] <= new).mean()
    unsure = ((odds[same] < known) & (odds[same] > new)).mean()
    return {'mixed': float(mixed), 'unsure': float(unsure), 'split': float(split)}


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'A run; the packaged one if left out.')
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')
    flags.DEFINE_integer('num_people', 24, 'People of each kind.')
    flags.DEFINE_integer('num_photos', 5, 'Photos of each.')


@errors.exit_on_user_error
def main(argv):
    """Writes the file and prints the rates."""
    del argv
    own = flags.FLAGS
    workdir = own.workdir or checkpoints.pretrained()
    _, model, variables = checkpoints.load(workdir, 'best_validation')
    geometry = flagship.read_geometry(flagship.geometry_path(workdir))
    stream = flagship.Stream(model, variables, geometry)
    world = workers.load_world(own.face_dir, workers.KINDS, own.people)
    everybody = [
        see(stream, draw(world, kind, 1000 * number + person, own.num_photos))
        for number, kind in enumerate(workers.KINDS)
        for person in range(own.num_people)
    ]
    learnt, tried = everybody[::2], everybody[1::2]  # People of all kinds in both.
    features, same = pairs(stream, learnt)
    weights = fit(features, same)
    known, new = thresholds(people_assignment.log_odds(features, weights), same)
    features, same = pairs(stream, tried)
    found = rates(people_assignment.log_odds(features, weights), same, known, new)
    values = {'weights': weights, 'known': known, 'new': new} | found
    sys.stdout.write('\n'.join(f'{name}: {np.round(v, 4)}' for name, v in values.items()) + '\n')
    files.write_arrays(own.out, values)


if __name__ == '__main__':
    define_flags()
    command_line.require(
        face_dir='FaceXModel of ICT-FaceKit',
        people='FILE of template_kinds',
        out='FILE to write, .npz',
    )
    app.run(main, flags_parser=command_line.parse)
