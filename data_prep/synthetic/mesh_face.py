"""A face from a mesh with linear identities and expressions, such as the published face models.

A new model is one small class or function that fills in `FaceData`: see ict_facekit.py. All
that the embedded face knows by its formulas - where brows, lips and lashes are painted, where
hair grows - is carried over by a warp of the mean face onto the embedded mean head, which meets
at the 68 landmarks of the 300-W annotation (ibug.doc.ic.ac.uk/resources/300-W) and at the skull.
"""

import dataclasses

import numpy as np
import open3d as o3d
from scipy import interpolate

from data_prep.scans.ray_scene import ray_scene
from data_prep.synthetic import head
from data_prep.synthetic.parts import MeshPart, grid_place
from seqface_jax.geometry.smoothstep import smoothstep

_SPREAD = 0.9  # Standard deviation of the sampled parameters; the modes are for 1.0.
_LARGEST = 2.3  # Parameters are cut here: no caricatures.
_NOSE_TIP = np.array([0.0, 0.0, 90.0])  # The mean face's, in the canonical frame, mm.
_SKULL_CENTER = np.array([0.0, 45.0, -20.0])  # Inside the mean head.
_LOWEST = -128.0  # Skin below it lies under the clothes, mm.
# Rays from the skull's centre where the two mean heads are paired: (elevation, azimuths).
_SKULL_RAYS = (
    (90.0, (0,)),
    (62.0, range(0, 360, 45)),
    (36.0, range(0, 360, 30)),
    (10.0, (120, 150, 180, 210, 240)),
    (-30.0, (150, 180, 210)),
)
_NECK_RAYS = ((-60.0, (140, 180, 220)), (-100.0, range(0, 360, 45)))  # (height, azimuths)
# x and y in mm of the landmarks' places on the embedded mean head, subject's left side.
_BROW = ((11.5, 53.3), (20.5, 55.0), (29.5, 55.5), (38.5, 54.4), (47.5, 51.4))
_NOSE = {27: (0.0, 37.0), 28: (0.0, 25.0), 29: (0.0, 12.5), 30: (0.0, 0.8), 33: (0.0, -12.8),
         34: (6.0, -12.3), 35: (11.5, -10.3)}  # fmt: skip
_MIRRORED = {22: 21, 23: 20, 24: 19, 25: 18, 26: 17, 34: 32, 35: 31, 42: 39, 43: 38, 44: 37,
             45: 36, 46: 41, 47: 40, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60,
             65: 67}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FaceData:
    """What a published model must tell; +x to the subject's left, +y up, +z forward, mm.

    Attributes:
        name: of the model.
        mean: [V, 3], the mean neutral face, vertices without triangle left out.
        identity: [K, V, 3], displacement of one standard deviation of every parameter.
        expressions: [7, V, 3], displacement of the six expressions, then of a blink.
        landmarks: [68] vertex indices, in the order of 300-W.
        pieces: list of (name, material, [F, 3] vertex indices); materials are 'skin' (one piece,
            with the back of the head), 'eye' (one eyeball each), 'tooth' and 'gum'.
    """

    name: str
    mean: np.ndarray
    identity: np.ndarray
    expressions: np.ndarray
    landmarks: np.ndarray
    pieces: list

    @property
    def shift(self):
        """[3] mm, by which the mean's nose tip comes where the embedded face has its own."""
        tip = self.mean[self.landmarks[30]]
        return _NOSE_TIP - [0.0, tip[1], tip[2]]


class MeshFace:
    """One interface with `embedded_face.FaceModel`; see there for what is not said here.

    Args:
        data: FaceData.
    """

    detailed = True

    def __init__(self, data):
        self.name = data.name
        self.mean = (data.mean + data.shift).astype(np.float32)
        self.num_identity = len(data.identity)
        self.identity_names = tuple(f'identity{k:03d}' for k in range(self.num_identity))
        self._identity = data.identity.astype(np.float32).reshape(self.num_identity, -1)
        self._expressions = data.expressions.astype(np.float32).reshape(7, -1)
        self.landmarks = _named_landmarks(data.landmarks)
        self._inner_lips = data.landmarks[[62, 66]]
        self.triangles = np.concatenate([triangles for _, _, triangles in data.pieces])
        self.triangles = self.triangles.astype(np.int32)
        skin = next(triangles for _, material, triangles in data.pieces if material == 'skin')
        self._pair_with_embedded(skin, data.landmarks)
        self._pieces = [self._part(*piece) for piece in data.pieces]

    def _pair_with_embedded(self, skin, landmarks):
        """Finds the place of every skin vertex on the embedded head, and the other way round."""
        outer, cells = _outer_head()
        skin_scene = ray_scene(self.mean, skin)
        source, target = _pairs(self.mean, landmarks, skin_scene, outer)
        warp = interpolate.RBFInterpolator(source, target, kernel='linear', smoothing=0.05)
        used = self._skin_vertices = np.unique(skin)
        warped = self.mean.copy()
        warped[used] = warp(self.mean[used].astype(np.float64))
        self._places = _places_on_head(warped, outer, cells)
        grid = head.mean_head().grid
        rays = _rays_out(grid.reshape(-1, 3))
        warped_scene = ray_scene(warped, skin)
        hits = warped_scene.cast_rays(o3d.core.Tensor(rays))
        # Where the ray meets nothing, the nearest point of the skin must do.
        near = warped_scene.compute_closest_points(o3d.core.Tensor(np.float32(grid.reshape(-1, 3))))
        missed = ~np.isfinite(hits['t_hit'].numpy())
        triangle = np.where(missed, near['primitive_ids'].numpy(), hits['primitive_ids'].numpy())
        uv = np.where(missed[:, None], near['primitive_uvs'].numpy(), hits['primitive_uvs'].numpy())
        self._scalp_corners = skin[triangle.astype(np.int64)]
        self._scalp_weights = np.concatenate([1 - uv.sum(axis=1, keepdims=True), uv], axis=1)

    def _part(self, name, material, triangles):
        """Returns a piece as a MeshPart; its vertices are one run."""
        first, last = triangles.min(), triangles.max() + 1
        places = None
        if material == 'skin':
            x, y, z = np.moveaxis(self.mean[triangles].mean(axis=1), -1, 0)
            lowest = np.maximum(
                _LOWEST + 13.0 * smoothstep(35.0, 60.0, np.abs(x)),
                _LOWEST + 22.0 * smoothstep(-60.0, -95.0, z),
            )
            triangles = triangles[y > lowest]
            places = _unwrapped(self._places[triangles])
        return MeshPart(name, material, first, self.mean[first:last], triangles - first, places)

    def parts(self, fine, all_round):  # noqa: ARG002 - the mesh is what it is, and whole.
        """Returns the parts that are rendered; the arguments are the embedded face's."""
        return list(self._pieces)

    def collar_scale(self, neutral):
        """Returns by how much the clothes must be wider and reach further back for the neck."""
        x, y, z = neutral[self._skin_vertices].T
        neck = np.abs(y + 98.0) < 8.0
        if not neck.any():  # A mesh that ends above the collar.
            return 1.0, 1.0
        wide = (np.abs(x[neck]).max() + 2.0) / 60.0
        back = (-34.0 - z[neck].min() + 2.0) / 60.0
        return max(wide, 1.0), max(back, 1.0)

    def scalp(self, neutral):
        """Returns the head under the hair as the embedded head's grid, [R, C, 3] mm."""
        points = np.einsum('nk,nkd->nd', self._scalp_weights, neutral[self._scalp_corners])
        return points.reshape(*head.mean_head().grid.shape).astype(np.float32)

    def mouth_opening(self, vertices):
        """Returns the gap between the lips' inner edges in their middle, mm."""
        upper, lower = vertices[self._inner_lips]
        return float(np.linalg.norm(upper - lower))

    def sample_identity(self, rng, sex=None):  # noqa: ARG002 - the modes know no sex.
        """Draws one identity, [num_identity] float32, in standard deviations."""
        sample = rng.standard_normal(self.num_identity) * _SPREAD
        return np.clip(sample, -_LARGEST, _LARGEST).astype(np.float32)

    def neutral(self, identity_vector):
        """Returns the neutral face of an identity, [V, 3] float32 mm."""
        moved = np.asarray(identity_vector, np.float32) @ self._identity
        return self.mean + moved.reshape(-1, 3)

    def express(self, neutral, expression_weights, blink=0.0):
        """Returns a neutral face, [V, 3] mm, with an expression."""
        weights = np.append(np.asarray(expression_weights, np.float32), np.float32(blink))
        used = np.flatnonzero(weights)
        moved = weights[used] @ self._expressions[used]
        return neutral + moved.reshape(-1, 3)


def _named_landmarks(landmarks):
    """Returns the names that the renderer, the scanner and tests use."""
    numbers = {'nose_tip': 30, 'subnasale': 33, 'mouth_middle': 62, 'mouth_left': 54,
               'mouth_right': 48, 'chin_tip': 8, 'left_eye_inner': 42, 'left_eye_outer': 45,
               'right_eye_inner': 39, 'right_eye_outer': 36}  # fmt: skip
    return {name: int(landmarks[number]) for name, number in numbers.items()}


def _outer_head():
    """Returns the embedded mean head without mouth and eye openings: its scene and its cells."""
    mean_head = head.mean_head()
    rows, columns = mean_head.grid.shape[:2]
    closed = mean_head.inside_eye < 0.5
    fold = mean_head.fold_rows
    closed[fold.start + 1 : fold.stop - 1] = False
    triangles = head.grid_triangles(rows, columns)
    cells = np.flatnonzero(closed.ravel()[triangles].all(axis=1))
    return ray_scene(mean_head.grid.reshape(-1, 3), triangles[cells]), cells


def _closest(scene, points):
    """Returns the nearest points of a scene, [N, 3] float64."""
    found = scene.compute_closest_points(o3d.core.Tensor(np.float32(points)))
    return found['points'].numpy().astype(np.float64)


def _hits(scene, rays):
    """Returns where rays [N, 6] hit a scene, [N, 3] float64, NaN where nowhere."""
    distance = scene.cast_rays(o3d.core.Tensor(np.float32(rays)))['t_hit'].numpy()
    distance = np.where(np.isfinite(distance), distance, np.nan)
    return rays[:, :3] + rays[:, 3:] * distance[:, None]


def _skull_rays():
    """Returns rays from inside the head to skull and neck, [N, 6]."""
    rays = []
    for elevation, azimuths in _SKULL_RAYS:
        for azimuth in azimuths:
            a, e = np.radians([azimuth, elevation])
            rays.append([*_SKULL_CENTER, np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    for height, azimuths in _NECK_RAYS:
        for azimuth in np.radians(azimuths):
            rays.append([0.0, height, -35.0, np.sin(azimuth), 0.0, np.cos(azimuth)])
    return np.array(rays)


def _rays_out(points):
    """Returns the ray from the head's axis through every point, [N, 6] float32."""
    start = np.zeros_like(points)
    start[:, 1] = np.minimum(points[:, 1], _SKULL_CENTER[1])
    start[:, 2] = _SKULL_CENTER[2]
    return np.concatenate([start, points - start], axis=1).astype(np.float32)


def _pairs(mean, landmarks, skin_scene, outer):
    """Returns matched points of this mean face and of the embedded one, two [N, 3] mm."""
    places = mean[landmarks].astype(np.float64)
    targets = _landmark_targets(places, outer)
    order = sorted(targets)
    rays = _skull_rays()
    # The jaw's landmarks have no place of their own on the embedded head: straight out.
    jaw = np.zeros((17, 6))
    jaw[:, 1], jaw[:, 2] = -10.0, 10.0
    jaw[:, 3:] = places[:17] - jaw[:, :3]
    source = np.concatenate([places[order], places[:17], _hits(skin_scene, rays)])
    target = np.concatenate(
        [np.stack([targets[k] for k in order]), _hits(outer, jaw), _hits(outer, rays)]
    )
    known = np.isfinite(source).all(axis=1) & np.isfinite(target).all(axis=1)
    return source[known], target[known]


def _landmark_targets(places, outer):
    """Returns {landmark: [3] mm} on the embedded mean head for brows, nose, eyes and mouth."""
    flat = dict(_NOSE)
    flat |= dict(zip(range(22, 27), _BROW, strict=True))
    eye = head.EYE_CENTER
    for k in range(42, 48):
        along = (places[k, 0] - places[42, 0]) / (places[45, 0] - places[42, 0])
        upper, lower = head.lid_edges(-14.5 + 27.5 * along)
        flat[k] = (eye[0] - 14.5 + 27.5 * along, eye[1] + (upper if k in (43, 44) else lower))
    for k in (51, 52, 53, 54, 55, 56, 57, 62, 63, 64, 65, 66):
        x = head.MOUTH_HALF_WIDTH * places[k, 0] / places[54, 0]
        upper, seam, lower = head.lip_curves(x)
        y = upper if k in (51, 52, 53) else lower if k in (55, 56, 57) else seam
        flat[k] = (x, y)
    flat |= {_MIRRORED[k]: (-x, y) for k, (x, y) in list(flat.items()) if k in _MIRRORED}
    points = np.array([[float(x), float(y)] for x, y in flat.values()])
    from_front = np.concatenate(
        [points, np.full((len(points), 1), 300.0), np.tile([0.0, 0.0, -1.0], (len(points), 1))],
        axis=1,
    )
    found = _hits(outer, from_front)
    # An edge may be just missed; and in an opening's corner the ray goes far into the head.
    deep = ~(found[:, 2] > 30.0)
    found[deep] = np.concatenate([points[deep], np.full((deep.sum(), 1), eye[2] + 9.0)], axis=1)
    return dict(zip(flat, _closest(outer, found), strict=True))


def _places_on_head(points, outer, cells):
    """Returns row and column of the nearest place on the embedded head's grid, [N, 2]."""
    found = outer.compute_closest_points(o3d.core.Tensor(np.float32(points)))
    cell = cells[found['primitive_ids'].numpy().astype(np.int64)]
    columns = head.mean_head().grid.shape[1] - 1
    return np.stack(grid_place(cell, found['primitive_uvs'].numpy(), columns), axis=1)


def _unwrapped(places):
    """Keeps triangles across the seam at the back in one piece: columns go on beyond the last."""
    columns = head.mean_head().grid.shape[1] - 1
    wide = np.ptp(places[..., 1], axis=1) > columns / 2
    places = places.copy()
    places[wide, :, 1] += columns * (places[wide, :, 1] < columns / 2)
    return places
