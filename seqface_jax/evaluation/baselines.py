"""What a network must beat, answers that look at no image; and the best its linear head can say."""

import numpy as np

from seqface_jax.geometry import map_grid


def mean_face(maps, masks):
    """Averages the training split's position maps over the subjects that have each pixel.

    Args:
        maps: [N, S, S, 3] mm; finite also where masked.
        masks: [N, S, S] bool.

    Returns:
        [S, S, 3] float32 mm; the plain mean where no subject has the pixel.
    """
    weights = np.asarray(masks, np.float64)[..., None]
    count = weights.sum(0)
    mean = (weights * maps).sum(0) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.mean(maps, axis=0, dtype=np.float64)).astype(np.float32)


def random_subjects(subject_ids, training_ids, *, seed):
    """Draws for each subject another person of the training split.

    Args:
        subject_ids: list of S str.
        training_ids: list of N str.
        seed: of the draw.

    Returns:
        [S] int indices into training_ids, none of them the subject itself.

    Raises:
        ValueError: a subject has nobody else to be compared with.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for subject in subject_ids:
        others = [index for index, other in enumerate(training_ids) if other != subject]
        if not others:
            raise ValueError(f'the training split holds nobody but {subject}')
        drawn.append(int(rng.choice(others)))
    return np.array(drawn)


def oracle(mean_map, basis, maps, masks):
    """Projects true faces on a network's linear face space: least squares over the known pixels.

    What no evidence can improve on; the rest of a network's error is in what it reads.

    Args:
        mean_map: [128, 128, 3] mm.
        basis: [K, 128, 128, 3] mm, or [K, 128, 128] mm along the rays of the position map.
        maps: [N, 128, 128, 3] mm.
        masks: [N, 128, 128] bool, the pixels that are known.

    Returns:
        [N, 128, 128, 3] float32 mm.
    """
    if basis.ndim == 3:
        basis = basis[..., None] * map_grid.ray_directions(basis.shape[1])
    basis = np.asarray(basis, np.float64)
    found = []
    for face, mask in zip(maps, masks, strict=True):
        directions = basis[:, mask].reshape(len(basis), -1)
        deviation = (np.asarray(face, np.float64) - mean_map)[mask].ravel()
        # The normal equations; directions that are zero, beyond what the people span, get nothing.
        gram = directions @ directions.T
        code = np.linalg.lstsq(gram, directions @ deviation, rcond=1e-9)[0]
        found.append(mean_map + np.tensordot(code, basis, axes=1))
    return np.float32(found)
