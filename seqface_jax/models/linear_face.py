"""The linear space of the training faces: mean and principal components of their position maps."""

import numpy as np

from seqface_jax import position_map as grid
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
    maps, mask = grid.with_mirrored(table['position_map'], table['mask'])
    # What a scan does not show is taken as the mean: it moves no direction.
    deviations = np.where(mask[..., None], maps - face['mean_map'], 0).reshape(len(maps), -1)
    variances, vectors = np.linalg.eigh(deviations @ deviations.T)
    largest = np.argsort(variances)[::-1][:count]
    # The eigenvector v of the Gram matrix G = D D' gives the direction D' v, of length
    # sqrt(variance * N); over sqrt(N) it is the standard deviation along it.
    basis = vectors[:, largest].T @ deviations / np.sqrt(len(maps))
    basis = np.pad(basis, ((0, count - len(basis)), (0, 0))).astype(np.float32)
    return face | {'basis': basis.reshape(count, *maps.shape[1:])}
