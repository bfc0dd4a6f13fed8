"""Measures the flagship's errors on made-up people that it did not learn from.

python -m data_prep.hard_pictures.calibrate --workdir=runs/correspondence --space=shape_space.npz
    --sequences=ict.npz,makehuman.npz [--test=embedded.npz]

From people of some kinds it learns how much a picture's points are worth, whose errors go together,
and how wide the stated band must be. Both are written, with the shape space, to the run's
geometry.npz. Then it prints errors by kind, of the kinds of `--test` too, of which nothing is
learnt.
"""

import pathlib

import numpy as np
from absl import app, flags

from seqface_jax import checkpoints, errors, files
from seqface_jax.correspondence.turned_crops import Crop
from seqface_jax.geometry import alignment
from seqface_jax.reconstruction import flagship

_COUNTS = (1, 2, 4, 8, 16)
_FOCAL_DEVIATION = 0.3  # Of the log of a focal length that is guessed.
_WINDOW = 0.87  # Of a stored picture, as training cuts it on average.
# Shares of what the points would be worth if their errors were independent, tried one by one.
_TEMPERINGS = (1.0, 0.3, 0.1, 0.03, 0.01)
_EQUAL = 0.01  # Difference of relative errors that is none.
_QUANTILE = 0.9  # Of true coordinates that the stated band shall hold.


def sight(finder, image):
    """Returns the Sighting of a stored picture, whose face is in its middle."""
    size = len(image)
    crop = Crop(np.array([size / 2, size / 2]), _WINDOW * size)
    return finder.look(image, crop, rounds=2)


def see(finder, arrays):
    """Adds `sightings`, a list of lists of Sightings, to the arrays of sequences.py."""
    seen = [[sight(finder, image) for image in images] for images in arrays['images']]
    return arrays | {'sightings': seen}


def point_error(arrays):
    """Returns the mean error of the points that are seen, % of the crop's side."""
    off = []
    for sightings, places, shown in zip(
        arrays['sightings'], arrays['places'], arrays['seen'], strict=True
    ):
        for sighting, true, seen in zip(sightings, places, shown, strict=True):
            error = np.linalg.norm(sighting.places - true, axis=1)[seen]
            off += (100 * error / (_WINDOW * arrays['images'].shape[2])).tolist()
    return float(np.mean(off))


def run_people(stream, arrays, counts=_COUNTS, refits=1):
    """Streams each person; returns a list of dicts of what came out after each count.

    Args:
        stream: flagship.Stream.
        arrays: of sequences.py, seen.
        counts: numbers of pictures.
        refits: as of `Stream.update`.
    """
    out = []
    rng = np.random.default_rng(0)
    own = stream.geometry
    for person, sightings in enumerate(arrays['sightings']):
        state, after = stream.initial_state(), {'rotation': []}
        for number, sighting in enumerate(sightings[: max(counts)], start=1):
            # The lens is known as well as that of a photo is.
            off = rng.normal(0, _FOCAL_DEVIATION)
            focal = np.log(arrays['focal'][person, number - 1]) + off
            lens = flagship.Lens(arrays['middle'][person, number - 1], focal, _FOCAL_DEVIATION)
            image = arrays['images'][person, number - 1]
            state, fit, _ = stream.update(state, image, sighting, lens, refits)
            after['rotation'].append(np.asarray(fit.rotation))
            if number in counts:
                count = len(own.basis.mean)  # The eyes come after the face.
                vertices, deviation = (values[:count] for values in stream.read(state))
                after[number] = {'vertices': vertices, 'deviation': deviation}
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
        for found, wanted in zip(after['rotation'], true, strict=False):
            cosine = (np.trace(found @ wanted.T) - 1) / 2
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    print(f'   head turned wrongly by {np.median(angles):.2f} deg (median), '
          f'{np.percentile(angles, 90):.2f} (90th percentile)', flush=True)  # fmt: skip


def relative_error(people, arrays, near, mean_face):
    """Returns a kind's mean error after all pictures, as a share of the mean face's."""
    own, fixed = 0.0, 0.0
    for after, truth in zip(people, arrays['faces'], strict=True):
        own += aligned_error(after[_COUNTS[-1]]['vertices'], truth, near)[0].mean()
        fixed += aligned_error(mean_face, truth, near)[0].mean()
    return own / fixed


def calibrated(arrays, stream_of, training):
    """Returns the shape space's arrays with what was measured on training kinds added.

    Args:
        arrays: of shape_space.py.
        stream_of: function of such arrays that returns a flagship.Stream.
        training: list of arrays of sequences.py, seen.
    """
    near, scores = arrays['near'], {}
    for tempering in _TEMPERINGS:
        stream = stream_of(arrays | {'tempering': np.float32(tempering)})
        scores[tempering] = np.mean(
            [
                relative_error(run_people(stream, one, _COUNTS[-1:], 0), one, near, arrays['mean'])
                for one in training
            ]
        )
        print(f'tempering {tempering}: {scores[tempering]:.3f} of the mean face', flush=True)
    # Of those that are as good to a hundredth, the most careful one.
    good = [t for t, score in scores.items() if score < min(scores.values()) + _EQUAL]
    arrays = arrays | {'tempering': np.float32(min(good))}
    stream = stream_of(arrays)
    ratios = []
    for one in training:
        for after, truth in zip(run_people(stream, one), one['faces'], strict=True):
            for count in _COUNTS:
                _, placed = aligned_error(after[count]['vertices'], truth, near)
                deviation = after[count]['deviation'][near, None] / np.sqrt(3)
                ratios.append(np.abs(placed - truth[near]) / deviation)
    wide = np.quantile(np.concatenate(ratios), _QUANTILE) / 1.645
    return arrays | {'band_scale': np.float32(wide)}


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'Run of the correspondence network.')
    flags.DEFINE_string('space', None, 'File of shape_space.py.')
    flags.DEFINE_list('sequences', [], 'Files of sequences.py to learn from.')
    flags.DEFINE_list('test', [], 'Files of sequences.py to measure on only.')


@errors.exit_on_user_error
def main(argv):
    """Measures, writes geometry.npz, prints."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    _, model, variables = checkpoints.load(flags.FLAGS.workdir, 'best_validation')
    with np.load(flags.FLAGS.space) as file:
        arrays = dict(file)

    def stream_of(own):
        return flagship.Stream(model, variables, flagship.geometry_of(own))

    finder = stream_of(arrays).finder
    measured = {
        pathlib.Path(path).stem: see(finder, dict(np.load(path)))
        for path in (*flags.FLAGS.sequences, *flags.FLAGS.test)
    }
    for name, one in measured.items():
        print(f'{name}: points are off by {point_error(one):.2f} % of the crop', flush=True)
    if flags.FLAGS.sequences:
        training = [measured[pathlib.Path(path).stem] for path in flags.FLAGS.sequences]
        arrays = calibrated(arrays, stream_of, training)
    files.write_atomically(
        flagship.geometry_path(flags.FLAGS.workdir),
        lambda file: np.savez_compressed(file, **arrays),
    )
    stream = stream_of(arrays)
    for name, one in measured.items():
        report(name, run_people(stream, one), one, arrays['near'], arrays['mean'])


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['workdir', 'space'])
    app.run(main)
