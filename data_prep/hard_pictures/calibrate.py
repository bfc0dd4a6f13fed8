"""Measures the flagship's errors on made-up people that it did not learn from.

python -m data_prep.hard_pictures.calibrate --workdir=runs/correspondence --space=shape_space.npz
    --sequences=ict.npz,makehuman.npz [--test=embedded.npz]

From people of some kinds it learns what the errors of one picture's points have in common, how
large they are beside what the network states, and the error of the shape that all pictures of a
person share. All of it is written, with the shape space, to the run's geometry.npz. Then it prints
errors by kind, that of the kinds of `--test` too, of which nothing is learnt.
"""

import os
import pathlib

import numpy as np
from absl import app, flags

from seqface_jax import checkpoints
from seqface_jax.correspondence.crops import Crop
from seqface_jax.geometric_filter import belief
from seqface_jax.geometry import alignment
from seqface_jax.reconstruction import flagship

_COUNTS = (1, 2, 4, 8, 16)
_FOCAL_DEVIATION = 0.3  # Of the log of a focal length that is guessed.
_COMMON = 16  # Layouts of errors that the points of a picture share.
_WINDOW = 0.87  # Of a stored picture, as training cuts it on average.
_SHRINKAGE = 0.3  # Of the shared error's covariance towards its own diagonal.


def sight(finder, image):
    """Returns the Sighting of a stored picture, whose face is in its middle."""
    size = len(image)
    crop = Crop(np.array([size / 2, size / 2]), _WINDOW * size)
    return finder.look(image, crop, rounds=2)


def residuals(stream, arrays):
    """Returns errors [M, P, 2] px, factors, face widths [M] px and seen [M, P] of pictures."""
    errors, factors, widths, seen = [], [], [], []
    for images, places, visible in zip(
        arrays['images'], arrays['places'], arrays['seen'], strict=True
    ):
        for image, true, shown in zip(images, places, visible, strict=True):
            sighting = sight(stream.finder, image)
            error = sighting.places - true
            errors.append(error)
            factors.append(sighting.factor)
            widths.append(np.ptp(true[:, 0]))
            seen.append(shown & (sighting.seen > 0.3))
    return np.array(errors), np.array(factors), np.array(widths), np.array(seen)


def learn_common(errors, widths, seen):
    """Returns layouts [R, P, 2] of the errors that points of a picture share, in face widths."""
    scaled = np.where(seen[..., None], errors / widths[:, None, None], 0.0)
    size = np.sqrt((scaled**2).sum((1, 2)) / np.maximum(seen.sum(1), 1))
    kept = size < 3 * np.median(size)
    flat = scaled[kept].reshape(kept.sum(), -1)
    flat = flat - flat.mean(0)
    _, values, vectors = np.linalg.svd(flat / np.sqrt(len(flat)), full_matrices=False)
    return (values[:_COMMON, None] * vectors[:_COMMON]).reshape(_COMMON, -1, 2)


def point_level(errors, factors, widths, seen, common):
    """Returns by how much the stated variances exceed what the common layouts leave of errors.

    The common errors of each picture are fitted with their prior; what is left of the points that
    are seen, whitened, would have a median square of 1.386 in two dimensions.

    Args:
        errors: [M, P, 2] px, factors: [M, P, 2, 2] of 1 / px, widths: [M] px, seen: [M, P].
        common: [R, P, 2] face widths.
    """
    left = []
    for error, factor, width, shown in zip(errors, factors, widths, seen, strict=True):
        layouts = np.einsum('pij,rpj->rpi', factor[shown], width * common[:, shown])
        rows = layouts.reshape(len(common), -1)
        target = np.einsum('pij,pj->pi', factor[shown], error[shown])
        shares = np.linalg.solve(rows @ rows.T + np.eye(len(rows)), rows @ target.ravel())
        rest = target - np.tensordot(shares, layouts, 1)
        left += (rest**2).sum(-1).tolist()
    return np.median(left) / 1.386


def run_people(stream, arrays, counts=_COUNTS):
    """Streams each person; returns a list of dicts of what came out after each count."""
    out = []
    rng = np.random.default_rng(0)
    for person, images in enumerate(arrays['images']):
        state, after = stream.initial_state(), {}
        for number, image in enumerate(images, start=1):
            # The lens is known as well as that of a photo is.
            off = rng.normal(0, _FOCAL_DEVIATION)
            focal = np.log(arrays['focal'][person, number - 1]) + off
            lens = flagship.Lens(arrays['middle'][person, number - 1], focal, _FOCAL_DEVIATION)
            sighting = sight(stream.finder, image)
            state, fit, sighting = stream.update(state, image, sighting, lens)
            if number in counts:
                own = stream.geometry
                count = len(own.basis.mean)  # The eyes come after the face.
                vertices, deviation = (values[:count] for values in stream.read(state))
                mean = np.asarray(belief.posterior(state, own.shared, own.settings).mean)
                after[number] = {'vertices': vertices, 'deviation': deviation, 'z': mean}
            after.setdefault('chi2', []).append(float(fit.chi2))
            after.setdefault('rotation', []).append(np.asarray(fit.rotation))
            after.setdefault('score', []).append(sighting.score)
        out.append(after)
    return out


def aligned_error(vertices, truth, near, scaled=False):
    """Returns the distance [near] mm of vertices to the truth after rigid alignment."""
    fit = alignment.umeyama if scaled else alignment.kabsch
    found = fit(vertices[near].astype(float), truth[near].astype(float))
    if scaled:
        scale, rotation, shift = found
        placed = scale * vertices[near] @ rotation.T + shift
    else:
        rotation, shift = found
        placed = vertices[near] @ rotation.T + shift
    return np.linalg.norm(placed - truth[near], axis=1), placed


def true_coefficients(space, truth, near):
    """Returns the coefficients [K] of a true face, brought to the space's size."""
    mean = space['mean'].astype(float)
    own, wanted = truth[near], mean[near]
    _, rotation, _ = alignment.umeyama(own.astype(float), wanted)
    size = np.sqrt(((wanted - wanted.mean(0)) ** 2).sum() / ((own - own.mean(0)) ** 2).sum())
    placed = size * truth @ rotation.T
    placed = placed + (wanted.mean(0) - placed[near].mean(0))
    rows = space['basis'][:, near].astype(float).reshape(len(space['basis']), -1)
    target = (placed[near] - wanted).ravel()
    normal = rows @ rows.T + 0.05 * np.eye(len(rows))
    return np.linalg.solve(normal, rows @ target)


def report(name, people, arrays, near, mean_face):
    """Prints a kind's errors: mm by number of pictures, beside mean faces, and the band."""
    truths = arrays['faces']
    own_mean = truths.mean(0)
    fixed = np.mean([aligned_error(mean_face, truth, near)[0].mean() for truth in truths])
    own = np.mean([aligned_error(own_mean, truth, near)[0].mean() for truth in truths])
    line = f'{name}: {len(truths)} people, vertex_mm mean face {fixed:.2f}, own {own:.2f};'
    for count in _COUNTS:
        rigid, free, inside = [], [], []
        for after, truth in zip(people, truths, strict=True):
            error, placed = aligned_error(after[count]['vertices'], truth, near)
            rigid.append(error.mean())
            free.append(aligned_error(after[count]['vertices'], truth, near, scaled=True)[0].mean())
            deviation = after[count]['deviation'][near, None] / np.sqrt(3)
            inside.append((np.abs(placed - truth[near]) < 1.645 * deviation).mean())
        line += f' {count}: {np.mean(rigid):.2f} ({np.mean(free):.2f}; band {np.mean(inside):.2f})'
    print(line, flush=True)
    angles = []
    for after, true in zip(people, arrays['rotation'], strict=True):
        for found, wanted in zip(after['rotation'], true, strict=True):
            cosine = (np.trace(found @ wanted.T) - 1) / 2
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    print(f'   pose error {np.median(angles):.2f} deg median, {np.percentile(angles, 90):.2f} p90;'
          f' chi2 {np.median([c for a in people for c in a["chi2"]]):.2f}', flush=True)  # fmt: skip


def calibrated(arrays, stream_of, training):
    """Returns the shape space's arrays with what was measured on training kinds added.

    Args:
        arrays: of shape_space.py.
        stream_of: function of such arrays that returns a flagship.Stream.
        training: list of arrays of sequences.py.
    """
    stream = stream_of(arrays)
    found = [residuals(stream, one) for one in training]
    errors, factors, widths, seen = (np.concatenate(parts) for parts in zip(*found, strict=True))
    common = learn_common(errors, widths, seen)
    level = point_level(errors, factors, widths, seen, common)
    off = 100 * np.linalg.norm(errors, axis=-1)[seen] / (_WINDOW * training[0]['images'].shape[2])
    print(f'points: error {np.mean(off):.2f} % of the crop, level {level:.3f}', flush=True)
    arrays = arrays | {'common': common.astype(np.float32), 'point_level': np.float32(level)}
    stream = stream_of(arrays)
    near, offsets = arrays['near'], []
    for one in training:
        people = run_people(stream, one)
        true = [true_coefficients(arrays, face, near) for face in one['faces']]
        offsets.append(np.array([after[_COUNTS[-1]]['z'] for after in people]) - true)
    # Each kind's own mean error is part of the shared error's spread: a new kind has another.
    stacked = np.concatenate(offsets)
    covariance = stacked.T @ stacked / len(stacked)
    diagonal = np.diag(np.diag(covariance))
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal
    return arrays | {
        'shared_mean': np.zeros(len(covariance), np.float32),
        'shared_covariance': covariance.astype(np.float32),
    }


def define_flags():
    # Not at import: two commands in one process (tests) may have flags of one name.
    flags.DEFINE_string('workdir', None, 'Run of the correspondence network.')
    flags.DEFINE_string('space', None, 'File of shape_space.py.')
    flags.DEFINE_list('sequences', [], 'Files of sequences.py to learn from.')
    flags.DEFINE_list('test', [], 'Files of sequences.py to measure on only.')


def main(argv):
    """Measures, writes geometry.npz, prints."""
    del argv
    config, model, variables = checkpoints.load(flags.FLAGS.workdir, 'best_validation')
    del config
    with np.load(flags.FLAGS.space) as file:
        arrays = dict(file)

    def stream_of(own):
        return flagship.Stream(model, variables, flagship.geometry_of(own))

    training = [dict(np.load(path)) for path in flags.FLAGS.sequences]
    if training:
        arrays = calibrated(arrays, stream_of, training)
    np.savez_compressed(os.path.join(flags.FLAGS.workdir, flagship.GEOMETRY), **arrays)
    stream = stream_of(arrays)
    for path in (*flags.FLAGS.sequences, *flags.FLAGS.test):
        one = dict(np.load(path))
        people = run_people(stream, one)
        report(pathlib.Path(path).stem, people, one, arrays['near'], arrays['mean'])


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['workdir', 'space'])
    app.run(main)
