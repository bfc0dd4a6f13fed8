"""What the colours of all faces share at the network's points, for people_assignment.py.

python -m data_prep.package_files.mean_looks --sequences=ict.npz,makehuman.npz,embedded.npz
    --geometry=seqface_jax/pretrained/geometry.npz --out=seqface_jax/reconstruction/mean_looks.npz

The mean over made-up people's pictures of what sequences.py wrote, where each point is known to be.
"""

import numpy as np
from absl import app, flags

from seqface_jax.reconstruction import flagship, people_assignment


def mean_of(images, places, seen, points):
    """Returns the mean colours [P, 3] without the light.

    Args:
        images: [N, S, S, 3] uint8 RGB.
        places: [N, P, 2] px.
        seen: [N, P] bool.
        points: [P, 3] mm, on the mean face.
    """
    total, count = np.zeros((places.shape[1], 3)), np.zeros((places.shape[1], 1))
    for image, place, shown in zip(images, places, seen, strict=True):
        weights = shown.astype(np.float64)
        colors = people_assignment.colors_at(image, place)
        colors = people_assignment.without_light(colors, weights, points)
        total += weights[:, None] * colors
        count += weights[:, None]
    return total / np.maximum(count, 1)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_list('sequences', None, 'Files of sequences.py.')
    flags.DEFINE_string('geometry', None, "A run's geometry.npz.")
    flags.DEFINE_string('out', None, 'File to write, .npz.')


def main(argv):
    """Writes the file."""
    del argv
    points = np.asarray(flagship.read_geometry(flags.FLAGS.geometry).points.mean)
    means = []
    for path in flags.FLAGS.sequences:
        with np.load(path) as file:
            arrays = [file[name] for name in ('images', 'places', 'seen')]
        means.append(mean_of(*(a.reshape(-1, *a.shape[2:]) for a in arrays), points))
    np.savez_compressed(flags.FLAGS.out, colors=np.mean(means, 0).astype(np.float32))


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['sequences', 'geometry', 'out'])
    app.run(main)
