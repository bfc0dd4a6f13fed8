"""A simulated face scanner: what a raw scan of a moving face really looks like.

Rays on a jittered spherical grid, turned anew in every frame, find the outermost surface; what
three frontal cameras cannot see stays open. So vertices differ from frame to frame, edges at depth
steps are cut, and the usual faults of raw scans are added: noise, holes, stray vertices and
edges with three faces.
"""

import dataclasses

import cv2
import numpy as np
import open3d as o3d

from data_prep.scans.scan import Scan
from data_prep.synthetic.head import grid_triangles
from data_prep.synthetic.person import rotation_matrix

_CENTER = np.array([0.0, 0.0, -5.0])  # The rays point here, mm in the head's frame at rest.
_AZIMUTH = np.radians(88.0)
_ELEVATION = np.radians([-80.0, 66.0])
_FAR_MM = 400.0
_HAIR = ('hair', 'curtain')
_CAMERAS = np.radians([[-42.0, 0.0], [42.0, 0.0], [0.0, -25.0]])  # Azimuth and elevation.
# Rough share of a grid's rays that meet the head; the others meet holes or the background.
_SEEN_SHARE = 0.80
_REACH_MM = {True: 175.0, False: 128.0}  # From the nose tip, with and without hair and collar.


@dataclasses.dataclass(frozen=True)
class Scanner:
    """The settings of one person's recording.

    Attributes:
        vertices: how many a scan should have, about.
        offset: [3] mm, from the room's frame to the scanner's.
        noise_mm: spread of the noise along the rays.
        extras: hair and collar are recorded.
        turns_along: the scanner stands where the head looks, so that its scans are whole
            however far the head turns; else it stands still, as in BU-4DFE.
    """

    vertices: int
    offset: np.ndarray
    noise_mm: float
    extras: bool
    turns_along: bool = False


def sample_scanner(vertices, extras, rng, *, turns_along=False):
    """Draws the settings of one recording; z of faces is negative, as in BU-4DFE."""
    offset = np.array([rng.normal(0, 8.0), rng.normal(0, 8.0), rng.normal(-195.0, 10.0)])
    return Scanner(vertices, offset, float(rng.uniform(0.1, 0.25)), extras, turns_along)


def _ray_grid(count, rng):
    """Returns where a jittered grid of rays points to, [R, C, 3] mm, and from where, unit vectors.

    Above the horizon all rays meet in one point; below it they come in flatter and aim lower, so
    that they reach chin, neck and collar.
    """
    height, width = _ELEVATION[1] - _ELEVATION[0], 2 * _AZIMUTH
    rows = max(8, round(np.sqrt(count * height / width)))
    columns = max(8, round(count / rows))
    step = height / rows
    elevation, azimuth = np.meshgrid(
        np.linspace(_ELEVATION[1], _ELEVATION[0], rows),
        np.linspace(-_AZIMUTH, _AZIMUTH, columns),
        indexing='ij',
    )
    elevation = elevation + rng.uniform(-0.3, 0.3, elevation.shape) * step
    azimuth = azimuth + rng.uniform(-0.3, 0.3, azimuth.shape) * step
    lower = np.minimum(elevation, 0.0)
    targets = np.zeros((*elevation.shape, 3))
    targets[..., 1] = 90.0 * np.sin(lower)
    elevation = elevation - 0.4 * lower
    directions = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ],
        axis=-1,
    )
    turn = rotation_matrix(*np.radians(rng.uniform(-4.0, 4.0, 3)))
    return targets + _CENTER, directions @ turn.T


def _seen(scene, points, normals, stand):
    """Returns which points one of the cameras sees well, [N] bool; `stand` turns the cameras."""
    seen = np.zeros(len(points), bool)
    for azimuth, elevation in _CAMERAS:
        camera = stand @ rotation_matrix(azimuth, -elevation, 0.0) @ np.array([0.0, 0.0, 1200.0])
        toward = camera - points
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        facing = (normals * toward).sum(axis=1) > 0.08
        rays = np.concatenate([points + 0.5 * normals, toward], axis=1)[facing].astype(np.float32)
        hidden = scene.test_occlusions(o3d.core.Tensor(rays), nthreads=1).numpy()
        seen[np.flatnonzero(facing)[~hidden]] = True
    return seen


def _holes(points, part_names, tip, rng):
    """Returns which points a scanner loses: patches of hair, and a few spots anywhere."""
    lost = np.zeros(len(points), bool)
    hair = np.isin(part_names, _HAIR)
    if hair.any():
        coarse = cv2.resize(
            rng.standard_normal((12, 12)).astype(np.float32),
            (64, 64),
            interpolation=cv2.INTER_CUBIC,
        )
        place = np.clip((points[:, :2] - tip[:2] + 160.0) / 320.0 * 63, 0, 63).astype(int)
        lost |= hair & (coarse[place[:, 1], place[:, 0]] > 0.9)
    for _ in range(rng.integers(2, 6)):
        spot = points[rng.integers(0, len(points))]
        lost |= np.linalg.norm(points - spot, axis=1) < rng.uniform(1.5, 4.5)
    return lost


def _faults(vertices, triangles, rng):
    """Adds stray vertices and edges with three faces; returns vertices and triangles."""
    corners = triangles[rng.integers(0, len(triangles), rng.integers(3, 9))]
    apexes = vertices[corners].mean(axis=1) + rng.normal(0.0, 1.5, (len(corners), 3))
    index = len(vertices) + np.arange(len(corners))
    fins = np.stack([corners[:, 0], corners[:, 1], index], axis=1)
    strays = vertices[rng.integers(0, len(vertices), max(3, len(vertices) // 400))]
    strays = strays + rng.normal(0.0, 25.0, strays.shape)
    return np.concatenate([vertices, apexes, strays]), np.concatenate([triangles, fins])


def scan(person, scene, vertices, rotation, translation, scanner, camera, photo, rng):
    """Returns one raw scan, a Scan in the scanner's frame with texture coordinates.

    Args:
        person: Person.
        scene: RaycastingScene of the person's surface in the room.
        vertices: [V, 3] mm, that surface.
        rotation: [3, 3] and translation: [3] mm, the head's pose in the room.
        scanner: Scanner.
        camera: PhotoCamera of the photo that is the scan's texture.
        photo: the photo's file name.
        rng: numpy Generator.
    """
    targets, directions = _ray_grid(scanner.vertices / _SEEN_SHARE, rng)
    stand = rotation if scanner.turns_along else np.eye(3)
    shape = directions.shape[:2]
    outward = directions.reshape(-1, 3) @ stand.T
    center = targets.reshape(-1, 3) @ rotation.T + translation
    rays = np.concatenate([center + _FAR_MM * outward, -outward], axis=1).astype(np.float32)
    hits = scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)
    distance = hits['t_hit'].numpy()
    at = np.flatnonzero(distance < _FAR_MM)
    points = center[at] + outward[at] * (_FAR_MM - distance[at])[:, None]
    normals = hits['primitive_normals'].numpy()[at]
    normals = normals * np.sign((normals * outward[at]).sum(axis=1, keepdims=True))
    names = np.array([part.name for part in person.parts])
    part_names = names[person.triangle_part[hits['primitive_ids'].numpy()[at].astype(np.int64)]]
    tip = vertices[person.model.landmarks['nose_tip']]
    keep = np.linalg.norm(points - tip, axis=1) < _REACH_MM[scanner.extras]
    if not scanner.extras:
        keep &= ~np.isin(part_names, (*_HAIR, 'bust'))
    keep &= _seen(scene, points, normals, stand) & ~_holes(points, part_names, tip, rng)
    at, points, part_names = at[keep], points[keep], part_names[keep]

    rough = np.where(np.isin(part_names, _HAIR), 4.0, 1.0) * scanner.noise_mm
    points = points + outward[at] * (rough * rng.standard_normal(len(at)))[:, None]
    index = np.full(shape[0] * shape[1], -1, np.int64)
    index[at] = np.arange(len(at))
    triangles = index[grid_triangles(*shape)]
    triangles = triangles[(triangles >= 0).all(axis=1)]
    edges = np.linalg.norm(points[triangles] - points[np.roll(triangles, 1, axis=1)], axis=2)
    longest = edges.max(axis=1)
    triangles = triangles[longest < max(5.0 * np.median(longest), 4.0)]
    points, triangles = _faults(points, triangles, rng)
    pixels = camera.project(points)
    uv = np.stack([pixels[:, 0] / camera.width, 1.0 - pixels[:, 1] / camera.height], axis=1)
    return Scan(
        vertices=(points + scanner.offset).astype(np.float32),
        triangles=triangles.astype(np.int32),
        uv=np.clip(uv, 0.0, 1.0).astype(np.float32),
        texture=photo,
    )
