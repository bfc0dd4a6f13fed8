import numpy as np
import open3d as o3d
import pytest

from data_prep.registration import ray_casting
from data_prep.scans import cleaning
from data_prep.scans.scan import Scan
from data_prep.synthetic.registration_template import template
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid
from tests.helpers.simulated_scan import scan_of, true_face


def _sphere(radius=90.0, side=120):
    """A whole sphere about the origin."""
    index = np.arange(side * side).reshape(side, side)
    a, b, c = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, b + 1], 1)])
    azimuth, elevation = np.meshgrid(
        np.linspace(-np.pi, np.pi, side), np.linspace(np.pi / 2, -np.pi / 2, side)
    )
    points = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ],
        axis=-1,
    )
    return Scan((radius * points.reshape(-1, 3)).astype(np.float32), triangles.astype(np.int32))


def test_directions_run_from_the_right_to_the_left_and_from_top_to_bottom():
    directions = map_grid.ray_directions(5)
    np.testing.assert_allclose(directions[2, 2], [0, 0, 1], atol=1e-12)
    assert directions[2, 0, 0] < 0 < directions[2, 4, 0]
    assert directions[0, 2, 1] > 0 > directions[4, 2, 1]
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1)


def test_triangles_of_the_grid_face_outwards_and_need_three_valid_corners():
    points = 90 * map_grid.ray_directions(9).reshape(-1, 3)
    mask = np.ones((9, 9), bool)
    triangles = map_grid.grid_triangles(mask)
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    assert (((np.cross(b - a, c - a)) * (a + b + c)).sum(axis=1) > 0).all()
    assert len(triangles) == 2 * 8 * 8
    mask[4, 4] = False
    assert len(map_grid.grid_triangles(mask)) == 2 * 8 * 8 - 6
    assert 40 not in map_grid.grid_triangles(mask)


def test_texture_coordinates_begin_at_the_upper_left():
    uv = map_grid.grid_uv(3)
    np.testing.assert_array_equal(uv[[0, 2, 8]], [[0, 1], [1, 1], [1, 0]])


def test_every_pixel_of_a_sphere_is_its_radius_along_its_ray():
    points, mask = ray_casting.position_map(_sphere(), size=32)
    assert points.dtype == np.float32 and points.shape == (32, 32, 3)
    np.testing.assert_allclose(points[mask], 90 * map_grid.ray_directions(32)[mask], atol=0.2)
    nose = np.linalg.norm(points - [0, 0, 90], axis=-1)
    assert nose[mask].max() <= 95.3 and nose[~mask].min() > 94.5


def test_the_outermost_surface_counts_and_what_lies_behind_the_origin_does_not():
    inner, outer = _sphere(60), _sphere(90)
    both = Scan(
        np.concatenate([inner.vertices, outer.vertices]),
        np.concatenate([inner.triangles, outer.triangles + len(inner.vertices)]),
    )
    directions = map_grid.ray_directions(8)
    np.testing.assert_allclose(ray_casting.cast_radius(both, directions), 90, atol=0.2)
    behind = outer.triangles[outer.vertices[outer.triangles][..., 2].max(axis=1) < -5]
    behind = Scan(outer.vertices, behind)
    assert np.isnan(ray_casting.cast_radius(behind, directions)).all()


def test_a_hole_is_filled_smoothly_and_flagged():
    sphere = _sphere()
    centres = sphere.vertices[sphere.triangles].mean(axis=1)
    place = 90 * np.array([np.sin(0.5), 0, np.cos(0.5)])
    kept = np.linalg.norm(centres - place, axis=1) > 12
    holed = Scan(sphere.vertices, sphere.triangles[kept])
    whole, whole_mask = ray_casting.position_map(sphere, size=64)
    points, mask = ray_casting.position_map(holed, size=64)
    hole = whole_mask & ~mask
    assert 20 < hole.sum() < 200
    np.testing.assert_allclose(points[hole], whole[hole], atol=0.5)
    assert np.isfinite(points).all()


def test_filling_is_linear_between_known_columns():
    values, mask = np.zeros((3, 5)), np.zeros((3, 5), bool)
    values[:, 4], mask[:, [0, 4]] = 8.0, True
    expected = np.tile([0.0, 2, 4, 6, 8], (3, 1))
    np.testing.assert_allclose(ray_casting.fill_smoothly(values, mask), expected)


def _round_trip_mm(scan, position_map, mask):
    """Returns the mean distance from the map's surface to the scan's surface, mm.

    Taken at the centres of the map's triangles, weighted by their area: at the pixels it
    would be 0 by construction.
    """
    surface = ray_casting.map_surface(position_map, mask)
    corners = surface.vertices[surface.triangles]
    area = cleaning.triangle_areas(surface.vertices, surface.triangles)
    return float(np.average(_distance(scan, corners.mean(axis=1)), weights=area))


def _coverage(scan, position_map, mask, tolerance_mm=1.0):
    """Returns the share of the scan's 95 mm crop that the map carries.

    The share is by area: of the scan's triangles inside the crop, those whose centre lies
    within `tolerance_mm` of the surface that the map's valid pixels span.
    """
    face = ray_casting.crop(scan, ray_casting.nose_tip(scan))
    centres = face.vertices[face.triangles].mean(axis=1)
    area = cleaning.triangle_areas(face.vertices, face.triangles)
    near = _distance(ray_casting.map_surface(position_map, mask), centres) <= tolerance_mm
    return float(np.average(near, weights=area))


def _distance(surface, points):
    """Returns the distance from each point to the nearest place of the surface, [N]."""
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(surface.vertices, np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(surface.triangles, np.uint32)),
    )
    points = o3d.core.Tensor(np.ascontiguousarray(points, np.float32))
    return scene.compute_distance(points, nthreads=1).numpy()


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_the_map_carries_the_scan_of_a_face(seed):
    scan = scan_of(true_face(seed), np.random.default_rng(seed), side=190, hair=True, holes=3)
    points, mask = ray_casting.position_map(scan)
    assert points.shape == (128, 128, 3)
    assert _round_trip_mm(scan, points, mask) <= 0.2
    assert _coverage(scan, points, mask) >= 0.97
    assert np.isfinite(points).all()


def test_coverage_falls_by_what_the_map_lacks():
    face = template()
    points, mask = ray_casting.position_map(face)
    full = _coverage(face, points, mask)
    mask[:, :64] = False  # The subject's right half.
    assert 0.4 < _coverage(face, points, mask) / full < 0.6


def test_the_nose_tip_is_found_despite_stray_points():
    face = template()
    tip = ray_casting.nose_tip(face)
    vertices = np.concatenate([face.vertices, [[5, 5, 140], [80, 0, 200]]]).astype(np.float32)
    np.testing.assert_allclose(ray_casting.nose_tip(Scan(vertices, face.triangles)), tip, atol=0.5)
    np.testing.assert_allclose(tip, face.vertices[face.vertices[:, 2].argmax()], atol=2)


def test_the_crop_is_a_ball_around_the_nose_tip():
    sphere = _sphere()
    cropped = ray_casting.crop(sphere, np.array([0.0, 0, 90]), 50.0)
    assert np.linalg.norm(cropped.vertices - [0, 0, 90], axis=1).max() <= 50
    assert len(np.unique(cropped.triangles)) == len(cropped.vertices)


def test_a_scan_without_a_surface_at_the_nose_is_an_error():
    sphere = _sphere()
    away = Scan(sphere.vertices + np.float32([500, 0, 0]), sphere.triangles)
    with pytest.raises(UserError, match='nose'):
        ray_casting.position_map(away)


def test_the_share_of_the_face_that_only_a_piece_shows():
    face = template()
    left = face.vertices[face.triangles].mean(axis=1)[:, 0] < 0
    halves = [cleaning.compact(face, face.triangles[side]) for side in (left, ~left)]
    np.testing.assert_allclose(ray_casting.share_only_of(*halves), 0.5, atol=0.03)
    assert ray_casting.share_only_of(halves[0], face) == 0  # Nothing that the face has not.
    none = cleaning.compact(face, face.triangles[:0])
    assert ray_casting.share_only_of(none, face) == 0
