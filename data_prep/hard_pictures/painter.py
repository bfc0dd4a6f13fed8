"""Draws a head under random lights: rays of the camera, colours and shadows at the vertices."""

import cv2
import numpy as np
import open3d as o3d

from data_prep.hard_pictures.template_model import NUM_SKIN
from data_prep.scans.ray_scene import ray_scene
from seqface_jax.geometry import surface

OVERSAMPLING = 1.5  # Rays a pixel along each side.
_MIN_OPEN = 0.12


class Scene:
    """Triangles with colours at their vertices, ready for rays; all in the head's frame, mm."""

    def __init__(self, vertices, triangles, albedo, gloss, open_sky):
        """Takes [V, 3] mm, [F, 3], [V, 3] linear RGB, [V] and [V] in [0, 1]."""
        self.vertices, self.triangles = vertices, triangles
        self.albedo, self.gloss, self.open_sky = albedo, gloss, open_sky
        self.normals = surface.vertex_normals(vertices, triangles).astype(np.float32)
        self.rays = ray_scene(vertices, triangles)

    def is_hidden(self, starts, directions):
        """Returns whether rays [N, 3], [N, 3] meet anything, [N] bool."""
        rays = np.concatenate([starts, directions], 1).astype(np.float32)
        return self.rays.test_occlusions(o3d.core.Tensor(rays), nthreads=1).numpy()


def sample_lights(rng, rotation):
    """Draws lights in the head's frame.

    Args:
        rng: numpy Generator.
        rotation: [3, 3] head frame to camera: lights stand about the camera, not about the head.

    Returns:
        directions [L, 3] to the lights, their colours [L, 3], whether each throws shadows [L], and
        the ambient light as a colour [3] and a gradient [3, 3], colour by direction.
    """
    count = rng.integers(1, 4)
    directions, colors, shadows = [], [], []
    for k in range(count):
        z = rng.uniform(-1, 0.55) if k == 0 else rng.uniform(-1, 1)  # Camera frame: -z is frontal.
        around = rng.uniform(0, 2 * np.pi)
        flat = np.sqrt(1 - z * z)
        directions.append(rotation.T @ np.array([flat * np.cos(around), flat * np.sin(around), z]))
        warm = rng.normal(0, 0.25)
        tint = np.exp(np.array([warm, 0, -warm]) + rng.normal(0, 0.1, 3))
        if rng.random() < 0.1:
            tint = tint * rng.uniform(0.1, 2, 3)
        colors.append(tint * rng.uniform(0.3, 1.6) / count)
        shadows.append(k == 0 and rng.random() < 0.75)
    ambient = rng.uniform(0.05, 0.7) * np.exp(rng.normal(0, 0.15, 3))
    gradient = rng.normal(0, 0.35, 3)[:, None] * ambient + rng.normal(0, 0.05, (3, 3))
    return np.array(directions), np.array(colors), np.array(shadows), ambient, gradient


def studio_lights(rotation):
    """Returns soft white light from the camera's upper left and less from its right.

    Args:
        rotation: [3, 3] head frame to camera.

    Returns:
        what `sample_lights` returns.
    """
    towards = np.array([[-0.5, -0.5, -0.7], [0.7, -0.1, -0.7]])  # Camera frame: -y is up.
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    colors = np.array([[0.6] * 3, [0.25] * 3])
    throws = np.array([True, False])
    return towards @ rotation, colors, throws, np.full(3, 0.4), np.zeros((3, 3))


def shade(scene, lights, camera_center, rng):
    """Returns the linear colour [V, 3] of every vertex of a scene.

    Lambert with a soft edge, Blinn-Phong gloss, ambient light times the open sky.
    """
    directions, colors, throws, ambient, gradient = lights
    normals = scene.normals
    to_camera = camera_center - scene.vertices
    to_camera = to_camera / np.linalg.norm(to_camera, axis=1, keepdims=True)
    facing = (normals * to_camera).sum(1)
    normals = np.where(facing[:, None] < 0, -normals, normals)  # Both sides of thin things.
    sky = np.clip(ambient + normals @ gradient, 0.02, None) * scene.open_sky[:, None]
    light, shine = sky, np.zeros_like(sky)
    wrap, power = rng.uniform(0.0, 0.3), np.exp(rng.uniform(1.5, 4.5))
    for direction, color, shadow in zip(directions, colors, throws, strict=True):
        lambert = np.clip((normals @ direction + wrap) / (1 + wrap), 0, 1)
        if shadow:
            lit = np.flatnonzero((lambert > 0) & (facing > -0.1))
            starts = scene.vertices[lit] + 0.7 * normals[lit] + 0.3 * direction
            hidden = scene.is_hidden(starts, np.broadcast_to(direction, starts.shape))
            lambert[lit[hidden]] *= 0.08
        half = direction + to_camera
        half = half / (np.linalg.norm(half, axis=1, keepdims=True) + 1e-9)
        glint = np.clip((normals * half).sum(1), 0, 1) ** power * (lambert > 0.05)
        light = light + lambert[:, None] * color * (0.4 + 0.6 * scene.open_sky[:, None])
        shine = shine + (glint * scene.gloss)[:, None] * color
    return (scene.albedo * light + shine).astype(np.float32)


def draw(scene, view, size, lights, rng):
    """Returns a picture and which pixels show the scene.

    Args:
        scene: Scene.
        view: camera.View.
        size: S, the picture's side in pixels.
        lights: what `sample_lights` returned.
        rng: numpy Generator.

    Returns:
        linear RGB [N, N, 3] of N = S * OVERSAMPLING rays a side, and hit [N, N] bool.
    """
    count = int(size * OVERSAMPLING)
    center = -view.rotation.T @ view.translation
    color = shade(scene, lights, center, rng)
    step = (np.arange(count) + 0.5) / count * 2 - 1
    u, v = np.meshgrid(view.center[0] + step * view.half, view.center[1] + step * view.half)
    rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ view.rotation
    rays = np.concatenate([np.broadcast_to(center, rays.shape), rays], 1).astype(np.float32)
    hits = scene.rays.cast_rays(o3d.core.Tensor(rays), nthreads=1)
    primitive = hits['primitive_ids'].numpy()
    hit = np.flatnonzero(primitive != scene.rays.INVALID_ID)
    uv = hits['primitive_uvs'].numpy()[hit]
    corners = scene.triangles[primitive[hit]]
    weights = np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], 1)
    picture = np.zeros((count * count, 3), np.float32)
    picture[hit] = (color[corners] * weights[..., None]).sum(1)
    is_hit = np.zeros(count * count, bool)
    is_hit[hit] = True
    return picture.reshape(count, count, 3), is_hit.reshape(count, count)


def lay_over(picture, hit, behind):
    """Returns a picture [N, N, 3] where it is hit [N, N], and what is behind it elsewhere."""
    edge = cv2.GaussianBlur(hit.astype(np.float32), (0, 0), 0.5)[..., None]
    return np.where(hit[..., None], picture, 0) * edge + behind * (1 - edge)


def seen_points(scene, view, points, normals, size):
    """Returns which points [P, 3] mm are seen in the crop, [P] bool.

    A point is seen if nothing lies between it and the camera, its normal does not turn away, and it
    is inside the picture.
    """
    center = -view.rotation.T @ view.translation
    ray = center - points
    distance = np.linalg.norm(ray, axis=1, keepdims=True)
    ray = ray / distance
    starts = points + 0.6 * normals + 1.0 * ray
    facing = (normals * ray).sum(1) > 0.05
    place = view.place(points, size)
    inside = ((place > 0) & (place < size)).all(1)
    return facing & inside & ~scene.is_hidden(starts, ray)


def open_sky(vertices, triangles, rng, count=96):
    """Returns the share of the sky [NUM_SKIN] that each skin vertex sees, by random rays."""
    scene = ray_scene(vertices, triangles)
    normals = surface.vertex_normals(vertices, triangles)[:NUM_SKIN].astype(np.float32)
    free = np.zeros(NUM_SKIN)
    for _ in range(count):
        direction = normals + rng.standard_normal(normals.shape)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        direction = np.where((direction * normals).sum(1, keepdims=True) < 0, -direction, direction)
        rays = np.concatenate([vertices[:NUM_SKIN] + normals, direction], 1).astype(np.float32)
        free += ~scene.test_occlusions(o3d.core.Tensor(rays), nthreads=2).numpy()
    return np.clip(free / count, _MIN_OPEN, 1).astype(np.float32)
