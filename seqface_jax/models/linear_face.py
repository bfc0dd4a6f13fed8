"""The linear space of the training faces: mean and principal components of their position maps."""

import numpy as np

from seqface_jax.geometry import map_grid, principal
from seqface_jax.models.sequence_model import mean_face


def principal_components(table, count):
    """Computes the directions along which the training faces and their mirror images differ.

    Args:
        table: dict of stacked arrays; position_map [N, 128, 128, 3] mm and mask [N, 128, 128].
        count: K, of directions.

    Returns:
        dict of mean_map [128, 128, 3] mm and mean_mask [128, 128], as of mean_face, and basis
        [K, 128, 128, 3] mm, each direction scaled to the standard deviation of the faces along
        it; zeros beyond what the subjects span.
    """
    face = mean_face(table)
    maps, mask = map_grid.with_mirrored(table['position_map'], table['mask'])
    # What a scan does not show is taken as the mean: it moves no direction.
    deviations = np.where(mask[..., None], maps - face['mean_map'], 0)
    return face | {'basis': _directions(deviations, count)}


def radial_components(table, count):
    """Computes the same of the distances along the map's rays, which is where its points lie.

    Args:
        table, count: as of `principal_components`.

    Returns:
        dict of mean_map [128, 128, 3] mm, on the rays, and basis [K, 128, 128], mm along them.
    """
    rays = map_grid.ray_directions().astype(np.float32)
    mean = (mean_face(table)['mean_map'] * rays).sum(axis=-1)
    maps, mask = map_grid.with_mirrored(table['position_map'], table['mask'])
    deviations = np.where(mask, (maps * rays).sum(axis=-1) - mean, 0)
    return {'mean_map': mean[..., None] * rays, 'basis': _directions(deviations, count)}


def expression_components(table, count):
    """Computes the directions along which faces of frames differ from neutral ones.

    Args:
        table: dict of deformation [M, 128, 128] mm, how much further out along the map's rays the
            face of a frame is than the neutral one of the same person, and deformation_mask
            [M, 128, 128].
        count: E, of directions.

    Returns:
        [E, 128, 128] mm, as basis of radial_components, but about no movement instead of the mean.
    """
    values = np.where(table['deformation_mask'], table['deformation'], 0).astype(np.float32)
    return _directions(np.concatenate([values, values[:, :, ::-1]]), count)


def _directions(deviations, count):
    """Returns the `count` principal components of deviations [N, ...] from what is usual."""
    rows = deviations.reshape(len(deviations), -1)
    basis = principal.components(rows, count).astype(np.float32)
    return basis.reshape(count, *deviations.shape[1:])
