"""Faces of other shapes from frames of known ones: the pixels are moved as the points would be.

A network that has seen a few hundred people takes whatever lies outside the shapes that they span
for noise. Here every sequence shows its person smoothly deformed: the deformation is drawn from a
Gaussian process (Luethi, Gerig, Jud and Vetter 2018, "Gaussian process morphable models"), added
to the true face, and each frame is warped by what it moves the points that the camera sees. Colours
stay as they were, shadows too: outlines, and where things are, tell the new shape.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax import bilinear, pose_regression
from seqface_jax import position_map as grid
from seqface_jax.models import unwrapping

STRIDE = 4  # Every so many-th row and column of the map is moved; between them linearly.
# Length in mm over which a displacement changes, and its share of the variance. The longest makes
# faces wide or long, the middle one cheeks and noses, the shortest lips and lids.
SCALES = ((60.0, 0.44), (30.0, 0.44), (15.0, 0.12))
ASYMMETRIC = 0.3  # Of the standard deviation; the rest is alike on both sides.
MODES = 200  # Of the process.
# Rows and columns of the map by which position, turn and size of a face are told: not the rim.
CORE = slice(5, -5)
WARP_CELLS = 32  # Along a frame, on which it is told where pixels come from.
WARP_REACH = 0.8  # Of a point, in cells.
FADING = 1e-3  # Sum of weights at which the movement of pixels fades, outside the face.


@functools.cache
def deformation_modes():
    """Returns the largest modes of the process, [MODES, S, S, 3] mm, S = grid.SIZE / STRIDE.

    Mixed by independent N(0, 1) they make displacements of about 1 mm in each coordinate (root mean
    square over the map), freed of what a rigid motion and a change of size would do: of that the
    canonical frame and the crop know nothing.
    """
    points = pose_regression.known()['points'][:: STRIDE // 2, :: STRIDE // 2].astype(np.float64)
    side = len(points)
    flat = points.reshape(-1, 3)
    squared = np.square(flat[:, None] - flat[None]).sum(axis=-1)
    kernel = sum(share * np.exp(-squared / (2 * length**2)) for length, share in SCALES)
    variances, vectors = np.linalg.eigh(kernel)
    scalar = (vectors[:, -MODES:] * np.sqrt(variances[-MODES:].clip(0))).T
    scalar = scalar.reshape(MODES, side, side)
    fields = np.zeros((3, MODES, side, side, 3))
    for axis in range(3):
        fields[axis, ..., axis] = scalar
    fields = fields.reshape(3 * MODES, side, side, 3)
    mirrored = fields[:, :, ::-1] * np.array([-1.0, 1.0, 1.0])
    # Half the sum and half the difference with the mirror image: each has half of the variance.
    even, odd = np.sqrt(2 * (1 - ASYMMETRIC**2)), np.sqrt(2) * ASYMMETRIC
    fields = np.concatenate([even * (fields + mirrored) / 2, odd * (fields - mirrored) / 2])
    fields = fields - _similarity_part(fields, points)
    # The fields are mixed by independent numbers: so are their principal components.
    fields = fields.reshape(len(fields), -1)
    _, mixtures = np.linalg.eigh(fields @ fields.T)
    modes = mixtures[:, : -MODES - 1 : -1].T @ fields
    return modes.reshape(MODES, side, side, 3).astype(np.float32)


def deform_map(position_map, mask, moved):
    """Moves the points of a face and casts it to the rays of the map again.

    Args:
        position_map: [M, M, 3] mm, M = grid.SIZE.
        mask: [M, M] bool.
        moved: [S, S, 3] mm, displacements of every STRIDE-th point.

    Returns:
        position_map and mask of the moved face. To first order: what moves aside is read from where
        it comes from.
    """
    rays = jnp.asarray(grid.ray_directions(), jnp.float32)
    moved = _enlarge(moved)
    radius = (position_map * rays).sum(axis=-1)
    along = (moved * rays).sum(axis=-1)
    aside = (moved - along[..., None] * rays) / jnp.maximum(radius, 1.0)[..., None]
    # How far the direction of a point turns, and where in the map the one that comes here was.
    azimuth, elevation = (jnp.asarray(angle, jnp.float32) for angle in grid.ray_angles())
    to_left = aside[..., 0] * jnp.cos(azimuth) - aside[..., 2] * jnp.sin(azimuth)
    to_left, up = to_left / jnp.cos(elevation), aside[..., 1] / jnp.cos(elevation)
    row, column = grid.pixels_of(azimuth - to_left, elevation - up)
    values = jnp.where(mask, radius + along, 0.0)
    weight = bilinear.read(mask.astype(jnp.float32), row, column)
    radius = bilinear.read(values, row, column) / jnp.maximum(weight, 1e-3)
    mask = weight > 0.99
    return jnp.where(mask, radius, 0.0)[..., None] * rays, mask


def warp_field(position_map, mask, moved, rotation, centre):
    """Tells where the pixels of frames of a moved face come from.

    Args:
        position_map, mask, moved: as of `deform_map`.
        rotation, centre: of the head in each frame, as of unwrapping.head.

    Returns:
        [T, WARP_CELLS, WARP_CELLS, 2], in widths of the frame, to the right and down: how far what
        is seen in the middle of each cell has moved.
    """
    points, mask = position_map[::STRIDE, ::STRIDE], mask[::STRIDE, ::STRIDE]
    before, _ = unwrapping.project(points, rotation, centre)
    after, cosine = unwrapping.project(points + moved, rotation, centre)
    weight = mask * jnp.clip(cosine / unwrapping.COS_SEEN, 0, 1)
    middles = (jnp.arange(WARP_CELLS) + 0.5) / WARP_CELLS
    count = len(rotation)
    after, apart = after.reshape(count, -1, 2), (after - before).reshape(count, -1, 2)
    distance = (after[:, :, None] - middles[:, None]) * (WARP_CELLS / WARP_REACH)
    near = jnp.exp(-jnp.square(distance) / 2)  # [T, points, cells, 2]
    across, down = near[..., 0], near[..., 1] * weight.reshape(count, -1, 1)
    # Of each point's own numbers and its nearness in rows first: what is left is one product.
    values = jnp.concatenate([apart, jnp.ones_like(apart[..., :1])], axis=-1)
    values = (down[..., None] * values[:, :, None]).reshape(count, -1, 3 * WARP_CELLS)
    sums = jnp.einsum('tpq,tpc->tqc', values, across).reshape(count, WARP_CELLS, 3, WARP_CELLS)
    sums = jnp.moveaxis(sums, 2, -1)
    return sums[..., :2] / (sums[..., 2:] + FADING)


def deform(key, example, options):
    """Deforms the person of one sequence.

    Args:
        key: of the sequence.
        example: dict of frames [T, H, H, 3] float32, position_map [M, M, 3] mm, mask [M, M] bool.
        options: the `data.augmentation` section of a config: deform_mm, standard deviation of a
            displacement's coordinate, at most.

    Returns:
        the example with other frames, position_map and mask.
    """
    moved = _draw(key, options.deform_mm)
    frames = example['frames']
    constants = jax.tree.map(jnp.asarray, unwrapping.regressions())
    pose = unwrapping.find_pose(unwrapping.small_frames(frames.mean(axis=-1)), constants, 0)
    face = example['position_map'], example['mask']
    came = warp_field(*face, moved, *unwrapping.head(pose))
    position_map, mask = deform_map(*face, moved)
    changed = {'frames': _warp(frames, came), 'position_map': position_map, 'mask': mask}
    return example | changed


def add_deformed(table, options):
    """Adds to a table of subjects each of them once more, deformed: what a network will have seen.

    Args:
        table: dict of stacked arrays, position_map [N, M, M, 3] mm and mask [N, M, M] among them.
        options: as of `deform`.

    Returns:
        the table, in which those two have 2 N faces.
    """

    @jax.jit
    def deformed(index, position_map, mask):
        moved = _draw(jax.random.fold_in(jax.random.key(0), index), options.deform_mm)
        return deform_map(position_map, mask, moved)

    maps, masks = np.asarray(table['position_map'], np.float32), np.asarray(table['mask'], bool)
    others = [deformed(index, *face) for index, face in enumerate(zip(maps, masks, strict=True))]
    more_maps, more_masks = (np.stack(part) for part in zip(*others, strict=True))
    both = {
        'position_map': np.concatenate([maps, more_maps]),
        'mask': np.concatenate([masks, more_masks]),
    }
    return dict(table) | both


def _draw(key, deform_mm):
    """Draws displacements [S, S, 3] mm; their size is uniform between nothing and deform_mm."""
    size_key, key = jax.random.split(key)
    drawn = jax.random.normal(key, (MODES,)) * jax.random.uniform(size_key, maxval=deform_mm)
    return jnp.tensordot(drawn, jnp.asarray(deformation_modes()), 1)


def _similarity_part(fields, points):
    """Returns what rigid motion and change of size do most like fields [N, S, S, 3] at the core."""
    x, y, z = np.moveaxis(points, -1, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    moves = np.stack(
        [
            np.stack(vector, axis=-1)
            for vector in (
                (one, zero, zero),
                (zero, one, zero),
                (zero, zero, one),
                (zero, -z, y),
                (z, zero, -x),
                (-y, x, zero),
                (x, y, z),
            )
        ]
    )
    core = moves[:, CORE, CORE].reshape(len(moves), -1)
    target = fields[:, CORE, CORE].reshape(len(fields), -1)
    mixture = np.linalg.lstsq(core.T, target.T, rcond=None)[0]
    return np.tensordot(mixture.T, moves, 1)


def _enlarge(moved):
    """Returns displacements [S, S, 3] at all of the map, [M, M, 3]; the rim goes on."""
    place = np.minimum(np.arange(grid.SIZE) / STRIDE, grid.SIZE // STRIDE - 1)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(grid.SIZE // STRIDE)))
    weights = jnp.asarray(weights, jnp.float32)
    return jnp.einsum('rs,sjk,cj->rck', weights, moved, weights)


def _warp(frames, moved):
    """Reads frames [T, H, W, 3] where their pixels come from, by a field [T, G, G, 2]."""
    count, height, width = frames.shape[:3]
    moved = jax.image.resize(moved, (count, height, width, 2), 'cubic')
    column = jnp.arange(width) - width * moved[..., 0]
    row = jnp.arange(height)[:, None] - height * moved[..., 1]
    return jax.vmap(bilinear.read)(frames, row, column)
