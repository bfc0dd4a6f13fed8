"""What a network must beat: answers that look at no image, or at each frame alone."""

import numpy as np


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


def averaged_single_frames(maps):
    """Averages the answers a model gives to each frame alone: after n frames, their mean.

    Args:
        maps: [T, ..., S, S, 3] mm, the answer to frame t from an empty state.

    Returns:
        [T, ..., S, S, 3] mm, the mean of the first t + 1 answers.
    """
    count = np.arange(1, len(maps) + 1).reshape((-1,) + (1,) * (np.ndim(maps) - 1))
    return np.cumsum(maps, axis=0) / count
