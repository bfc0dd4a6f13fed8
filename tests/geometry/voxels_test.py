import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.geometry import map_grid, surface, voxels

RADIUS, SIZE = 60.0, 32
CORNER, CELL = np.full(3, -75.0, np.float32), np.float32(150 / SIZE)


def _sphere():
    """Returns a map of a sphere about the origin, and how deep the voxels lie in it, mm."""
    face = (RADIUS * map_grid.ray_directions()).astype(np.float32)
    centres = voxels.centres(CORNER, CELL, SIZE)
    return face, RADIUS - np.linalg.norm(centres, axis=-1)


def test_the_box_holds_every_face_and_its_mirror_image():
    face = map_grid.ray_directions().astype(np.float32)[None] * 80 + np.float32([5, 0, 0])
    mask = np.ones(face.shape[:3], bool)
    corner, cell = voxels.box(face, mask, SIZE)
    points = np.concatenate([face[mask], face[mask] * [-1, 1, 1]])
    assert (points > corner).all() and (points < corner + SIZE * cell).all()
    np.testing.assert_allclose(corner[0], -SIZE * cell / 2, atol=1e-4)


def test_a_cell_is_inside_when_its_middle_is_below_the_face():
    face, depth = _sphere()
    inside = np.asarray(voxels.occupancy(jnp.asarray(face[None]), CORNER, CELL, SIZE))[0]
    clear = np.abs(depth) > 0.01
    np.testing.assert_array_equal(inside[clear], (depth > 0)[clear])


def test_rays_and_marching_cubes_find_the_surface_between_the_cells():
    _, depth = _sphere()
    probability = 1 / (1 + np.exp(-depth / 5))
    cast = voxels.cast(jnp.asarray(probability[None], jnp.float32), CORNER, CELL, 0.5, 16)[0]
    np.testing.assert_allclose(np.linalg.norm(cast, axis=-1), RADIUS, atol=0.4)
    rays = map_grid.ray_directions()[:: map_grid.SIZE // 16, :: map_grid.SIZE // 16]
    np.testing.assert_allclose(cast / RADIUS, rays, atol=0.01)
    vertices, triangles = voxels.iso_surface(probability, CORNER, CELL, 0.5)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=-1), RADIUS, atol=0.2)
    normals = surface.vertex_normals(vertices, triangles)
    assert ((normals * vertices).sum(axis=1) > 0.9 * RADIUS).all()  # Outwards.


def test_only_what_lies_in_directions_of_the_face_is_kept():
    _, depth = _sphere()
    mask = np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True
    whole = voxels.iso_surface(1 / (1 + np.exp(-depth / 5)), CORNER, CELL, 0.5)
    vertices, triangles = voxels.crop_to_mask(*whole, mask)
    azimuth = np.degrees(np.arctan2(vertices[:, 0], vertices[:, 2]))
    assert np.abs(azimuth).max() < 41 and len(triangles) > 100
    assert triangles.max() == len(vertices) - 1


@pytest.mark.parametrize('probability', [0.0, 1.0])
def test_a_box_without_a_surface_gives_none(probability):
    vertices, triangles = voxels.iso_surface(np.full((4, 4, 4), probability), CORNER, CELL, 0.5)
    assert vertices.shape == (0, 3) and triangles.shape == (0, 3)
