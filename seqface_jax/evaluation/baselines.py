"""What a network must beat, answers that look at no image; and the best that its form can say."""

import numpy as np

from seqface_jax.geometry import image_space, map_grid, voxels
from seqface_jax.models.prediction import Prediction

_SURE = 20.0  # Log-odds of a cell that is inside for sure.


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


def oracle_of_image_maps(mean_map, weights, image_maps, masks):
    """Gives the truth of a frame to a network whose answer is an image map.

    What remains of the error is the photo's expression, the size, which is that of the mean face,
    and perspective. Where the frame's truth is not known, the mean face stands.

    Args:
        mean_map, weights: as of image_space.canonical; [128, 128, 3] mm and [128, 128].
        image_maps: [N, 128, 128, 3], in widths of the image.
        masks: [N, 128, 128] bool, the pixels that are known.

    Returns:
        [N, 128, 128, 3] float32 mm.
    """
    return np.float32(image_space.canonical(image_maps, np.float32(mean_map), weights, masks))


def oracle_of_voxels(cells, maps, side):
    """Gives the truth to a network whose answer is voxels: each cell inside the face or not.

    Args:
        cells: models.prediction.Voxels of N subjects, whose box counts.
        maps: [N, 128, 128, 3] mm.
        side: S, of the position map that is cast from them.

    Returns:
        Prediction of N subjects: position_map [N, S, S, 3] float32 mm, and voxels.
    """
    box, size = (cells.corner_mm[0], cells.cell_mm[0]), cells.logits.shape[-1]
    inside = np.asarray(voxels.occupancy(np.float32(maps), *box, size))
    logits = np.where(inside, np.float32(_SURE), np.float32(-_SURE))
    position_map = voxels.cast(np.float32(inside), *box, cells.level[0], side)
    return Prediction(np.asarray(position_map), voxels=cells._replace(logits=logits))
