"""Photos of a person by ray casting: skin, eyes, hair and clothes under studio lights.

Light is linear RGB until the last step, which bends it to sRGB and adds the sensor's faults.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np
import open3d as o3d

from data_prep.scans.ray_scene import ray_scene
from data_prep.synthetic import head, skin
from data_prep.synthetic.parts import look_up
from seqface_jax.geometry.smoothstep import smoothstep
from seqface_jax.geometry.vectors import unit

_WRAP = np.array([0.32, 0.17, 0.12], np.float32)  # Light that skin carries past its terminator.
_IRIS_RADIUS_MM = 6.1
_FARTHEST_GAZE = np.cos(np.radians(46.0))  # From straight ahead.
_MOUTH_COLORS = {'tooth': (0.66, 0.61, 0.53), 'gum': (0.42, 0.13, 0.12)}
# Film curve of light in [0, 4): highlights roll off, then gamma; indexed in 4 / 16384 steps.
_LIGHT = np.linspace(0.0, 4.0, 16384, endpoint=False)
_CURVE = ((_LIGHT / np.sqrt(1.0 + 0.18 * _LIGHT**2)) ** 0.455).astype(np.float32)
_UP = np.array([0.0, 1.0, 0.0], np.float32)


@dataclasses.dataclass(frozen=True)
class Lights:
    """Two directional lights and the light of the room; directions point to the light.

    Attributes:
        directions: [L, 3] unit vectors.
        colors: [L, 3] linear RGB strength.
        sky, ground: [3] ambient light from above and from below.
        exposure: factor before the curve.
    """

    directions: np.ndarray
    colors: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    exposure: float


def sample_lights(rng):
    """Draws studio light: a key light from one side and above, a weaker fill, the room."""
    side = rng.choice([-1.0, 1.0])

    def direction(azimuth, elevation):
        a, e = np.radians([azimuth, elevation])
        return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])

    warm = np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.05) * np.array([1.0, 0.0, -1.0])
    key = direction(side * rng.uniform(8, 50), rng.uniform(15, 50))
    fill = direction(-side * rng.uniform(20, 60), rng.uniform(0, 25))
    return Lights(
        directions=np.stack([key, fill]).astype(np.float32),
        colors=np.stack([warm * rng.uniform(0.6, 0.95), rng.uniform(0.15, 0.4) / warm]).astype(
            np.float32
        ),
        sky=(rng.uniform(0.22, 0.4) * np.ones(3)).astype(np.float32),
        ground=(rng.uniform(0.10, 0.2) * warm).astype(np.float32),
        exposure=float(rng.uniform(0.85, 1.1)),
    )


class _Hits(NamedTuple):
    """Where rays hit one part: its cells, weights, painted places, points and vertices."""

    piece: object
    cell: np.ndarray
    uv: np.ndarray
    row: np.ndarray
    column: np.ndarray
    place: np.ndarray
    vertices: np.ndarray


class Renderer:
    """Takes photos of one person with one camera and one background.

    Everything that does not change from frame to frame is made once: the painted skin, the
    strands of the hair, ambient occlusion, the background.
    """

    def __init__(self, person, camera, rng):
        self.person = person
        self.camera = camera
        # About one and a half texels per pixel in the middle of the face.
        scale = int(np.clip(round(camera.height / 330), 1, 4))
        self._scale = scale
        mean_head = head.mean_head()
        self._albedo, self._gloss = skin.paint(
            mean_head, person.looks, scale, all_round=person.model.detailed
        )
        self._rays = camera.rays()
        shape = (256, 1024)
        strands = skin.noise(rng, shape, 40, 0.9) * 0.7 + skin.noise(rng, shape, 60, 4.0) * 0.5
        self._strands = np.clip(1.0 + 0.33 * strands, 0.25, 2.2).astype(np.float32)
        self._iris_noise = skin.noise(rng, (16, 128), 3, 0.8)
        self._background = self._paint_background(rng)
        self._stripes = rng.uniform(4, 30), rng.uniform(0.0, 0.35) * (rng.random() < 0.5)
        self._skin = next(part for part in person.parts if part.material == 'skin')
        self._occlusion = self._bake_occlusion(rng)

    def _paint_background(self, rng):
        """Returns the wall behind the person, [H, W, 3] linear."""
        height, width = self.camera.height, self.camera.width
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = x / width - 0.5, y / height - 0.5
        slope = rng.normal(0.0, 0.25, 2)
        spot = np.exp(-(x**2 + (y + 0.1) ** 2) / 0.2) * rng.uniform(0.0, 0.5)
        cloud = skin.noise(rng, (height, width), height / 12, height / 12) * rng.uniform(0.0, 0.06)
        level = np.clip(0.75 + slope[0] * x + slope[1] * y + spot + cloud, 0.1, 1.6)
        return (level[..., None] * self.person.looks.backdrop).astype(np.float32)

    def _bake_occlusion(self, rng):
        """Returns how open the sky is over the neutral head, in [0, 1], for the skin's `light`."""
        person = self.person
        vertices = person.surface(np.zeros(6), 0.0, np.eye(3), np.zeros(3))
        normals = person.normals(vertices)
        pick = self._skin.samples + self._skin.first
        origin, normal = vertices[pick], normals[pick]
        count = 12
        sphere = rng.standard_normal((count, 3)).astype(np.float32)
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
        direction = normal[:, None] + 0.98 * sphere[None]
        start = np.broadcast_to((origin + 0.3 * normal)[:, None], direction.shape)
        rays = np.concatenate([start, direction], axis=-1)
        scene = ray_scene(vertices, person.triangles)
        blocked = scene.test_occlusions(
            o3d.core.Tensor(rays.reshape(-1, 6)), 0.0, 120.0, nthreads=1
        )
        open_sky = 1.0 - blocked.numpy().reshape(len(pick), count).mean(axis=-1)
        if person.model.detailed:  # Closed lips open: their inner sides must not stay black.
            open_sky = np.maximum(open_sky, 0.3)
        return self._skin.spread(open_sky, 1.0)

    def photo(self, scene, vertices, lights, rng):
        """Returns one photo, [H, W, 3] uint8 RGB.

        Args:
            scene: of these vertices and the person's triangles.
            vertices: [V, 3] mm, the person's surface in the room.
            lights: Lights.
            rng: numpy Generator of the sensor's noise.
        """
        hits = scene.cast_rays(o3d.core.Tensor(self._rays), nthreads=1)
        image = self._background * (lights.sky + 0.5 * lights.colors[0])
        hit = np.isfinite(hits['t_hit'].numpy())
        at = np.flatnonzero(hit)
        primitive = hits['primitive_ids'].numpy().ravel()[at].astype(np.int64)
        uv = hits['primitive_uvs'].numpy().reshape(-1, 2)[at]
        normals = self.person.normals(vertices)
        color = self._shade(scene, vertices, normals, primitive, uv, lights)
        image = image.reshape(-1, 3)
        image[at] = color
        return self._expose(image.reshape(*hit.shape, 3), lights, rng)

    def _expose(self, image, lights, rng):
        """Turns light into 8-bit sRGB with blur and noise."""
        sharpness = 0.45 + 0.25 * self.camera.height / 1392
        image = cv2.GaussianBlur(image * lights.exposure, (0, 0), sharpness)
        level = np.minimum(image * (len(_CURVE) / 4.0), len(_CURVE) - 1.0).astype(np.uint16)
        image = _CURVE[level]
        noise = rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None]
        return np.clip((image + 0.008 * noise) * 255.0 + 0.5, 0, 255).astype(np.uint8)

    def _shade(self, scene, vertices, normals, primitive, uv, lights):
        """Returns the light that every hit sends to the camera, [N, 3]."""
        corners = self.person.triangles[primitive]
        weight = np.concatenate([1.0 - uv.sum(axis=1, keepdims=True), uv], axis=1)
        both = np.concatenate([normals, vertices], axis=1)
        both = sum(both[corners[:, k]] * weight[:, k : k + 1] for k in range(3))
        normal, place = unit(both[:, :3]), both[:, 3:]
        view = unit(self.camera.center.astype(np.float32) - place)
        frontal = _dot(normal, view)
        normal = normal * np.sign(frontal)[:, None]
        albedo, gloss, power, open_sky, lit = self._materials(
            scene, vertices, normals, primitive, uv, place, lights
        )
        ambient = 0.5 + 0.5 * normal[:, 1:2]
        color = (lights.ground + (lights.sky - lights.ground) * ambient) * open_sky[:, None] ** 1.3
        shine = 0.0
        for k, (direction, strength) in enumerate(
            zip(lights.directions, lights.colors, strict=True)
        ):
            facing = (normal @ direction)[:, None]
            diffuse = np.clip((facing + _WRAP) / (1.0 + _WRAP), 0.0, None) ** 1.2
            shadow = lit[:, None] if k == 0 else 1.0
            color = color + diffuse * shadow * strength * (0.35 + 0.65 * open_sky[:, None])
            glint = np.clip(_dot(normal, unit(direction + view)), 0.0, 1.0) ** power
            shine = shine + (glint * gloss * (facing[:, 0] > -0.1))[:, None] * strength * shadow
        edge = (1.0 - np.abs(frontal)) ** 4
        return (albedo * color + shine + (0.05 * edge * gloss)[:, None]).astype(np.float32)

    def _materials(self, scene, vertices, normals, primitive, uv, place, lights):
        """Returns albedo [N, 3], gloss, its power, sky openness and key light, each [N]."""
        count = len(primitive)
        albedo = np.zeros((count, 3), np.float32)
        gloss, power = np.zeros(count, np.float32), np.full(count, 18.0, np.float32)
        open_sky, lit = np.ones(count, np.float32), np.ones(count, np.float32)
        part, cell = self.person.triangle_part[primitive], self.person.triangle_cell[primitive]
        for k, piece in enumerate(self.person.parts):
            of = np.flatnonzero(part == k)
            if not len(of):
                continue
            run = vertices[piece.first : piece.first + piece.size]
            hits = _Hits(piece, cell[of], uv[of], *piece.place(cell[of], uv[of]), place[of], run)
            if piece.material == 'skin':
                albedo[of] = look_up(
                    self._albedo, hits.row * self._scale, hits.column * self._scale
                )
                gloss[of] = 0.10 * look_up(
                    self._gloss, hits.row * self._scale, hits.column * self._scale
                )
                open_sky[of] = piece.light(self._occlusion, hits.cell, hits.uv)
                key_light = self._key_light(scene, vertices, normals, lights)
                lit[of] = piece.light(key_light, hits.cell, hits.uv)
            elif piece.material == 'ear':
                albedo[of] = self.person.looks.skin * [1.0, 0.86, 0.85]
                open_sky[of] = 0.45 + 0.5 * smoothstep(1.0, 9.0, hits.row)
                gloss[of] = 0.05
            elif piece.material == 'eye':
                albedo[of] = self._eye(hits)
                gloss[of], power[of] = 0.9, 160.0
                open_sky[of] = 0.75
            elif piece.material == 'teeth':
                albedo[of] = _teeth(hits.column, piece.shape)
                gloss[of], open_sky[of], lit[of] = 0.1, 0.55, 0.6
            elif piece.material in ('tooth', 'gum'):
                albedo[of] = _MOUTH_COLORS[piece.material]
                reach = self._light_in_mouth(hits, vertices)
                gloss[of], open_sky[of], lit[of] = 0.25 * reach, 0.6 * reach, 0.7 * reach
                power[of] = 40.0
            elif piece.material == 'hair':
                strand = look_up(
                    self._strands,
                    hits.row * 255 / piece.shape[0],
                    hits.column * 1023 / piece.shape[1],
                )
                albedo[of] = self.person.looks.hair * strand[:, None]
                gloss[of], power[of] = 0.05 * strand**2, 10.0
                open_sky[of] = 0.85
            else:
                period, depth = self._stripes
                wave = 1.0 - depth * (np.sin(hits.place[:, 1] * 2 * np.pi / period) > 0)
                albedo[of] = self.person.looks.cloth * wave[:, None]
                open_sky[of] = 0.55 + 0.45 * smoothstep(0.0, 12.0, hits.row)
        return albedo, gloss, power, open_sky, lit

    def _light_in_mouth(self, hits, vertices):
        """Returns the share of light that falls through the open lips on teeth and gums, [N]."""
        gap_mm = self.person.model.mouth_opening(vertices)
        forward = hits.piece.light(hits.piece.recess, hits.cell, hits.uv)
        return smoothstep(0.3, 9.0, gap_mm) * np.exp(-forward / 16.0)

    def _key_light(self, scene, vertices, normals, lights):
        """Returns the share of the key light that reaches the skin, for its `light`."""
        pick = self._skin.samples + self._skin.first
        start = vertices[pick] + 1.0 * normals[pick]
        turned = normals[pick] @ lights.directions[0] > -0.2
        front = np.flatnonzero(turned & (start[:, 2] > -10.0))
        light = np.ones(len(pick), np.float32)
        rays = np.concatenate(
            [start[front], np.broadcast_to(lights.directions[0], (len(front), 3))], axis=1
        )
        light[front] = 1.0 - scene.test_occlusions(o3d.core.Tensor(rays), nthreads=1).numpy()
        return self._skin.spread(light, 1.1)

    def _eye(self, hits):
        """Returns the colour of the eyeball where it is seen, [N, 3]; it looks at the camera."""
        center, radius, forward, side = hits.piece.eyeball(hits.vertices)
        direction = (hits.place - center) / radius
        gaze = self.camera.center - center
        gaze = gaze / np.linalg.norm(gaze)
        if gaze @ forward < _FARTHEST_GAZE:  # A turned head cannot look into the camera.
            across = gaze - (gaze @ forward) * forward
            across = across / np.linalg.norm(across) * np.sqrt(1 - _FARTHEST_GAZE**2)
            gaze = _FARTHEST_GAZE * forward + across
        gaze = gaze.astype(np.float32)
        angle = np.arccos(np.clip(direction @ gaze, -1.0, 1.0)) / (_IRIS_RADIUS_MM / radius)
        around = np.arctan2(direction[:, 1], direction[:, 0]) / (2 * np.pi) + 0.5
        streak = look_up(
            self._iris_noise, np.full_like(angle, 6.0), (around * 127).astype(np.float32)
        )
        iris = (
            self.person.looks.iris
            * (1.0 + 0.22 * streak + 0.5 * smoothstep(0.8, 0.4, angle))[:, None]
        )
        iris = iris * (1.0 - 0.65 * smoothstep(0.78, 1.0, angle))[:, None]
        iris = iris * smoothstep(0.36, 0.44, angle)[:, None]  # The pupil.
        corner = smoothstep(0.45, 0.95, np.abs(direction @ side))[:, None]
        white = np.array([0.66, 0.62, 0.59]) * (1.0 - corner * np.array([0.30, 0.45, 0.45]))
        blend = smoothstep(0.95, 1.06, angle)[:, None]
        shade = 0.9 - 0.65 * smoothstep(0.05, 0.42, direction @ _UP)
        return (iris + (white - iris) * blend) * shade[:, None]


def _dot(a, b):
    """Returns the inner products of rows, [N]."""
    return np.einsum('ij,ij->i', a, b)


def _teeth(column, shape):
    """Returns the colour of a row of teeth with gaps, [N, 3]."""
    along = (column / (shape[1] - 1) - 0.5) * 13.0
    gap = np.abs(along - np.round(along))
    bright = 0.62 * (1.0 - 0.45 * smoothstep(0.40, 0.5, gap)) * smoothstep(6.5, 3.0, np.abs(along))
    return bright[:, None] * np.array([1.0, 0.94, 0.84])
