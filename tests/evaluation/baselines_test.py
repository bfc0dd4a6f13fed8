import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from seqface_jax.evaluation import baselines
from seqface_jax.geometry import image_space, map_grid, voxels
from seqface_jax.models.prediction import Voxels
from tests.helpers import bumpy_face


def test_mean_face_averages_only_the_people_who_have_the_pixel():
    maps = np.array([[[[1.0, 2, 3]]], [[[3.0, 4, 5]]], [[[100.0, 100, 100]]]])
    masks = np.array([[[True]], [[True]], [[False]]])
    np.testing.assert_allclose(baselines.mean_face(maps, masks), [[[2, 3, 4]]])


def test_mean_face_is_finite_where_nobody_has_the_pixel():
    maps = np.array([[[[1.0, 2, 3]]], [[[3.0, 4, 5]]]])
    found = baselines.mean_face(maps, np.zeros((2, 1, 1), bool))
    np.testing.assert_allclose(found, [[[2, 3, 4]]])


def test_a_random_subject_is_never_the_subject_itself_and_is_drawn_alike():
    people = ['F001', 'F002', 'M001']
    for seed in range(20):
        drawn = baselines.random_subjects(people, people, seed=seed)
        assert (drawn != np.arange(3)).all()
        np.testing.assert_array_equal(drawn, baselines.random_subjects(people, people, seed=seed))


def test_a_training_split_of_nobody_else_raises():
    with pytest.raises(ValueError, match='nobody but F001'):
        baselines.random_subjects(['F001'], ['F001'], seed=0)


def test_the_oracle_finds_the_code_of_a_face_in_the_space_from_the_pixels_that_are_known():
    rng = np.random.default_rng(0)
    mean_map = rng.normal(0, 5, (8, 8, 3))
    masks = rng.random((2, 8, 8)) < 0.6
    radial = np.concatenate([rng.normal(size=(3, 8, 8)), np.zeros((1, 8, 8))])
    for basis in (rng.normal(size=(3, 8, 8, 3)), radial):  # The last direction says nothing.
        full = basis
        if basis.ndim == 3:
            full = basis[..., None] * map_grid.ray_directions(8)
        codes = rng.normal(size=(2, len(basis)))
        maps = mean_map + np.tensordot(codes, full, axes=1)
        spoilt = np.where(masks[..., None], maps, 1e3)
        np.testing.assert_allclose(
            baselines.oracle(mean_map, basis, spoilt, masks), maps, atol=1e-3
        )


def test_the_oracle_of_image_maps_undoes_pose_and_size_and_leaves_the_mean_face_elsewhere():
    face, mean_map = bumpy_face.position_map_of(3), bumpy_face.position_map_of(0)
    turned = jnp.float32(Rotation.from_euler('ZXY', [5, 10, 30], degrees=True).as_matrix())
    mask = bumpy_face.mask_of(face)
    weights, known = np.ones(mask.shape, np.float32), mask.copy()
    known[:40] = False

    def oracle_of(face, width_mm):
        pose = image_space.ImagePose(
            jnp.float32(1 / width_mm), turned, jnp.float32([0.4, -0.5, 0.1])
        )
        placed = np.where(known[..., None], pose.place(jnp.float32(face)), 0)
        found = baselines.oracle_of_image_maps(mean_map, weights, placed[None], known[None])
        return found[0]

    near, far = oracle_of(face, 250.0), oracle_of(1.1 * face, 400.0)
    np.testing.assert_allclose(near[known], far[known], atol=0.02)
    np.testing.assert_array_equal(near[~known], mean_map[~known])
    # The same face but for its pose and size: all distances of points have one ratio.
    ratio = pdist(near[known][::200]) / pdist(face[known][::200])
    assert ratio.std() < 1e-3 and np.linalg.norm(near - mean_map, axis=-1)[known].mean() > 0.5


def test_the_oracle_of_voxels_is_as_fine_as_its_cells():
    maps = np.stack([bumpy_face.position_map_of(seed) for seed in (1, 2)])
    corner_mm, cell_mm = voxels.box(maps, np.ones(maps.shape[:3], bool), 32)
    logits = np.zeros((2, 32, 32, 32), np.float32)
    boxes = np.stack([corner_mm] * 2), np.stack([cell_mm] * 2)
    cells = Voxels(logits, *boxes, np.full(2, 0.5, np.float32))
    found = baselines.oracle_of_voxels(cells, maps, 32)
    inside = voxels.occupancy(maps, corner_mm, cell_mm, 32)
    np.testing.assert_array_equal(found.voxels.logits > 0, inside)
    distance = np.linalg.norm(found.position_map - maps[:, ::4, ::4], axis=-1)
    assert 0.05 * cell_mm < distance.mean() < 0.3 * cell_mm
