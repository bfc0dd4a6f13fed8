import types

import cv2
import jax
import numpy as np
import pytest

from seqface_jax import alignment, pose_regression, shape_augmentation
from seqface_jax import position_map as grid
from seqface_jax.models import unwrapping

OPTIONS = types.SimpleNamespace(deform_mm=4.0)
MODES = shape_augmentation.MODES


def mean_face():
    """Returns the package's mean face at the full side of a map, and a mask of its front."""
    points = pose_regression.known()['points'].astype(np.float32)
    place = np.minimum(np.arange(grid.SIZE) / 2, len(points) - 1).astype(np.float32)
    radius = cv2.remap(np.linalg.norm(points, axis=-1), *np.meshgrid(place, place), 1)
    azimuth, elevation = grid.ray_angles()
    mask = (np.abs(azimuth) < np.radians(70)) & (np.abs(elevation) < np.radians(55))
    return radius[..., None] * grid.ray_directions().astype(np.float32), mask


def displacement(seed=0, size_mm=3.0):
    mixture = np.random.default_rng(seed).standard_normal(MODES).astype(np.float32)
    return size_mm * np.tensordot(mixture, shape_augmentation.deformation_modes(), 1)


def heads(turns_deg):
    answers = np.zeros((len(turns_deg), 6), np.float32)
    answers[:, 1] = np.radians(turns_deg)
    return unwrapping.head(jax.numpy.asarray(answers))


def test_displacements_are_as_large_as_asked_and_alike_on_both_sides():
    modes = shape_augmentation.deformation_modes().astype(np.float64)
    assert modes.shape == (MODES, 32, 32, 3)
    size = np.sqrt(np.square(modes).sum(axis=0).mean(axis=(0, 1)))
    assert (size > 0.7).all() and (size < 1.1).all()
    mirrored = modes[:, :, ::-1] * [-1, 1, 1]
    # What two sides have in common, of the variance: 1 - 2 * ASYMMETRIC^2.
    alike = (modes * mirrored).sum() / np.square(modes).sum()
    assert alike == pytest.approx(1 - 2 * shape_augmentation.ASYMMETRIC**2, abs=0.05)


def test_displacements_hold_no_motion_and_no_change_of_size():
    points, _ = mean_face()
    points = points[:: shape_augmentation.STRIDE, :: shape_augmentation.STRIDE]
    core = (shape_augmentation.CORE,) * 2
    before = points[core].reshape(-1, 3)
    after = before + displacement(size_mm=1.0)[core].reshape(-1, 3)
    motion = alignment.kabsch(after, before)
    assert np.linalg.norm(motion.translation) < 0.2
    assert np.degrees(np.arccos((np.trace(motion.rotation) - 1) / 2)) < 0.2
    centred = [part - part.mean(axis=0) for part in (before, after)]
    assert np.linalg.norm(centred[1]) == pytest.approx(np.linalg.norm(centred[0]), rel=2e-3)


def test_a_moved_face_is_the_same_surface_at_the_rays_of_the_map():
    face, mask = mean_face()
    moved = displacement()
    found, found_mask = shape_augmentation.deform_map(face, mask, moved)
    found = np.asarray(found)
    np.testing.assert_allclose(
        found, np.linalg.norm(found, axis=-1, keepdims=True) * grid.ray_directions(), atol=1e-3
    )
    truth = face + np.asarray(shape_augmentation._enlarge(moved))
    wanted = np.asarray(found_mask) & (np.linalg.norm(truth, axis=-1) > 0)
    # Every moved point, where the map sees its direction.
    direction = truth / np.linalg.norm(truth, axis=-1, keepdims=True)
    row, column = grid.pixels_of(
        np.arctan2(direction[..., 0], direction[..., 2]), np.arcsin(direction[..., 1])
    )
    radius = np.linalg.norm(found, axis=-1).astype(np.float32)
    seen = cv2.remap(radius, column.astype(np.float32), row.astype(np.float32), 1)
    inside = cv2.erode(wanted.astype(np.uint8), np.ones((15, 15))) > 0
    error = np.abs(seen - np.linalg.norm(truth, axis=-1))[inside]
    change = np.abs(np.linalg.norm(truth, axis=-1) - np.linalg.norm(face, axis=-1))[inside]
    assert change.mean() > 1.0
    assert error.mean() < 0.1 * change.mean()
    assert found_mask[64, 64] and not found_mask[0, 0]


def test_pixels_come_from_where_the_points_were():
    face, mask = mean_face()
    moved, stride = displacement(), shape_augmentation.STRIDE
    rotation, centre = heads([0.0, 30.0])
    came = np.asarray(shape_augmentation.warp_field(face, mask, moved, rotation, centre))
    points = face[::stride, ::stride]
    before, _ = unwrapping.project(points, rotation, centre)
    after, cosine = unwrapping.project(points + moved, rotation, centre)
    seen = (np.asarray(cosine) > 0.5) & mask[::stride, ::stride]
    for index in range(2):
        place = np.asarray(after[index])[seen[index]] * shape_augmentation.WARP_CELLS - 0.5
        told = cv2.remap(
            came[index], *place.T[:, None].astype(np.float32), 1, borderMode=cv2.BORDER_REPLICATE
        )[0]
        true = np.asarray(after[index] - before[index])[seen[index]]
        assert np.abs(true).mean() > 0.004  # Of the frame's width.
        assert np.abs(told - true).mean() < 0.25 * np.abs(true).mean()
    assert np.abs(came[:, 0, 0]).max() < 1e-3  # A corner of the frame stays.


def test_a_sequence_is_deformed_by_its_key_alone():
    face, mask = mean_face()
    frames = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)
    example = {'frames': frames, 'position_map': face, 'mask': mask}
    example = jax.tree.map(jax.numpy.asarray, example)

    @jax.jit
    def deform(key):
        return shape_augmentation.deform(key, example, OPTIONS)

    first, again, other = (deform(jax.random.key(seed)) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    for name in ('frames', 'position_map'):
        assert not np.array_equal(first[name], other[name])
        assert not np.array_equal(first[name], example[name])
    assert first['frames'].shape == frames.shape
    assert first['frames'].min() >= 0 and first['frames'].max() <= 1


def test_nothing_moves_nothing():
    face, mask = mean_face()
    nothing = np.zeros((32, 32, 3), np.float32)
    found, found_mask = shape_augmentation.deform_map(face, mask, nothing)
    np.testing.assert_allclose(found[mask], face[mask], atol=1e-3)
    assert np.array_equal(found_mask, mask)
    assert not np.asarray(shape_augmentation.warp_field(face, mask, nothing, *heads([10.0]))).any()


def test_a_table_has_every_subject_once_more():
    face, mask = mean_face()
    table = {'position_map': np.stack([face] * 3), 'mask': np.stack([mask] * 3), 'id': np.arange(3)}
    more = shape_augmentation.add_deformed(table, OPTIONS)
    assert more['position_map'].shape == (6, *face.shape) and more['mask'].shape == (6, *mask.shape)
    assert np.array_equal(more['position_map'][:3], table['position_map'])
    both = more['mask'][3] & more['mask'][4]
    apart = np.linalg.norm(more['position_map'][3] - more['position_map'][4], axis=-1)[both]
    assert apart.mean() > 0.5
