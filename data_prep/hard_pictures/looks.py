"""Random looks of a head: colours of skin, brows, lips, eyes. They carry no shape information."""

from typing import NamedTuple

import numpy as np

from data_prep.hard_pictures.template_model import EYE_SLICES, NUM_SKIN, NUM_USED
from seqface_jax.geometry.smoothstep import smoothstep

# Skin from very light to very dark, linear RGB.
_TONES = np.float32(
    [
        [0.78, 0.58, 0.49],
        [0.62, 0.42, 0.32],
        [0.45, 0.28, 0.19],
        [0.25, 0.14, 0.09],
        [0.10, 0.06, 0.04],
    ]
)
_IRIS_MM = (5.2, 6.6)


class Places(NamedTuple):
    """Where things grow on the template: fields over the skin's vertices, made once.

    Attributes:
        points: [NUM_SKIN, 3] mean skin in mm.
        brow, lips, beard, moustache, scalp, lids, cheeks: [NUM_SKIN] in mm or [0, 1], see `find`.
    """

    points: np.ndarray
    brow_mm: np.ndarray
    brow_along: np.ndarray
    lips: np.ndarray
    beard: np.ndarray
    moustache: np.ndarray
    hairline: np.ndarray
    lids_mm: np.ndarray
    open_sky: np.ndarray


def _to_polyline(points, line):
    """Returns the distance [N] of points to a polyline and how far along it [N] in [0, 1]."""
    best, along = np.full(len(points), np.inf), np.zeros(len(points))
    for k in range(len(line) - 1):
        a, d = line[k], line[k + 1] - line[k]
        t = np.clip((points - a) @ d / (d @ d), 0, 1)
        distance = np.linalg.norm(points - a - t[:, None] * d, axis=1)
        near = distance < best
        best[near], along[near] = distance[near], (k + t[near]) / (len(line) - 1)
    return best, along


def find_places(model, open_sky):
    """Returns the Places of a TemplateModel; open_sky [NUM_SKIN] in [0, 1] is its occlusion."""
    points = model.mean[:NUM_SKIN]
    marks = model.mean[model.landmarks]
    brows = [_to_polyline(points, marks[17:22][::-1]), _to_polyline(points, marks[22:27])]
    left = brows[1][0] < brows[0][0]
    brow_mm = np.where(left, brows[1][0], brows[0][0])
    brow_along = np.where(left, brows[1][1], brows[0][1])
    outline = marks[[*range(48, 60), 48]][:, :2]
    from matplotlib.path import Path

    edge, _ = _to_polyline(points[:, :2], outline)
    inside = Path(outline).contains_points(points[:, :2])
    lips = smoothstep(-1.2, 1.2, np.where(inside, edge, -edge)) * (points[:, 2] > 55)
    x, y, z = points.T
    mouth = marks[[48, 54]].mean(0)
    jaw_y = np.interp(np.abs(x), [0, 25, 50, 65], [mouth[1] + 2, mouth[1] + 4, mouth[1] + 12, 30])
    beard = smoothstep(8, -8, y - jaw_y) * smoothstep(-130, -95, y) * smoothstep(-10, 15, z)
    beard = np.maximum(beard, 0) * (1 - lips)
    nose_base = marks[33]
    moustache = (
        smoothstep(30, 22, np.abs(x))
        * smoothstep(nose_base[1] - 1, nose_base[1] - 5, y)
        * smoothstep(mouth[1] - 3, mouth[1] + 3, y)
        * (z > 60)
        * (1 - lips)
    )
    hairline = (y - 75.0) + 0.55 * (40.0 - z) + 0.12 * (np.abs(x) - 40.0)  # mm, > 0 on the scalp.
    lid_line = [
        np.concatenate([marks[36:42], marks[36:37]]),
        np.concatenate([marks[42:48], marks[42:43]]),
    ]
    lids_mm = np.minimum(*[_to_polyline(points, line)[0] for line in lid_line])
    return Places(points, brow_mm, brow_along, lips, beard, moustache, hairline, lids_mm, open_sky)


def noise(points, rng, scale_mm, count=8):
    """Returns a smooth random field [N] of standard deviation 1 over points [N, 3] mm."""
    waves = (rng.standard_normal((3, count)) / scale_mm).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    return np.cos(points @ waves + phase).sum(1) * np.float32(np.sqrt(2 / count))


def random_color(rng, brightness=(0.02, 0.9)):
    """Returns any colour, [3] linear RGB."""
    color = rng.uniform(0, 1, 3)
    return (color * rng.uniform(*brightness) / max(color.max(), 0.2)).astype(np.float32)


def hair_color(rng):
    """Returns a colour of hair, [3] linear RGB: mostly natural, sometimes any."""
    if rng.random() < 0.15:
        return random_color(rng)
    light = rng.choice([rng.uniform(0.005, 0.04), rng.uniform(0.03, 0.2), rng.uniform(0.2, 0.8)])
    warm = rng.uniform(0, 1)
    return np.float32([light, light * (1 - 0.35 * warm), light * (1 - 0.7 * warm)])


def skin_tone(rng):
    """Returns a colour of skin, [3] linear RGB."""
    tone = rng.uniform(0, len(_TONES) - 1)
    low = min(int(tone), len(_TONES) - 2)
    base = _TONES[low] + (tone - low) * (_TONES[low + 1] - _TONES[low])
    return base * np.exp(rng.normal(0, 0.12, 3)) * np.exp(rng.normal(0, 0.15))


def paint(places, model, vertices, rng):
    """Returns albedo [NUM_USED, 3] and gloss [NUM_USED] of a head with random looks, and its hair.

    Args:
        places: Places.
        model: TemplateModel.
        vertices: [NUM_USED, 3] mm, for the eyes' centres.
        rng: numpy Generator.
    """
    albedo = np.zeros((NUM_USED, 3), np.float32)
    gloss = np.zeros(NUM_USED, np.float32)
    base = skin_tone(rng)
    skin = _bare_skin(places.points, base, rng)
    hair = hair_color(rng)
    skin = _with_brows(skin, places, hair, rng)
    _add_make_up(skin, places, base, hair, rng)
    _add_stubble(skin, places, hair, rng)
    albedo[:NUM_SKIN] = np.clip(skin, 0.003, 0.95)
    shine = rng.exponential(0.12)
    gloss[:NUM_SKIN] = np.clip(shine * (1 + 0.5 * noise(places.points, rng, 15)), 0, 1)
    gloss[:NUM_SKIN] += rng.uniform(0, 0.5) * places.lips * (rng.random() < 0.4)
    _paint_inside(albedo, gloss, model, rng)
    _paint_eyes(albedo, gloss, vertices, rng)
    return albedo, gloss, hair


def _bare_skin(points, base, rng):
    """Returns skin [NUM_SKIN, 3] of a tone with blotches, freckles, moles and redness."""
    skin = np.tile(base.astype(np.float32), (NUM_SKIN, 1))
    for scale in (45.0, 18.0, 7.0, 3.0):  # Blotches of several sizes.
        strength = rng.exponential(0.05)
        tint = 1 + 0.5 * rng.standard_normal(3)
        skin *= np.exp(strength * noise(points, rng, scale)[:, None] * tint).astype(np.float32)
    if rng.random() < 0.3:  # Freckles and moles.
        dots = rng.integers(5, 250)
        centers = points[rng.integers(0, 9000, dots)]
        from scipy.spatial import cKDTree

        distance, _ = cKDTree(centers).query(points, distance_upper_bound=4.0)
        skin *= (1 - rng.uniform(0.2, 0.7) * smoothstep(rng.uniform(1, 3), 0.3, distance))[:, None]
    if rng.random() < 0.5:  # Redness of nose and cheeks.
        red = np.exp(-(((points - np.float32([0, 0, 85])) / np.float32([45, 18, 40])) ** 2).sum(1))
        skin *= 1 + rng.normal(0, 0.25) * red[:, None] * np.float32([0.3, -0.5, -0.4])
    return skin


def _with_brows(skin, places, hair, rng):
    """Returns skin with brows of any width and strength, or none."""
    brow_color = hair if rng.random() < 0.6 else hair_color(rng)
    width = rng.uniform(1.5, 5.5) * (1 - 0.5 * places.brow_along * rng.uniform(0, 1))
    strength = rng.uniform(0.0, 1.0) if rng.random() < 0.85 else 0.0
    brow = strength * smoothstep(width + 1.5, width - 1.5, places.brow_mm)
    brow = brow * np.clip(1 + rng.uniform(0, 0.8) * noise(places.points, rng, 2.5), 0, 1)
    return skin + brow[:, None].astype(np.float32) * (brow_color - skin)


def _add_make_up(skin, places, base, hair, rng):
    """Paints lips, the rims of the lids and eye shadow, in place."""
    lip_tint = base * np.exp(
        np.float32([rng.normal(0, 0.25), rng.normal(-0.4, 0.3), rng.normal(-0.25, 0.3)])
    )
    if rng.random() < 0.15:
        lip_tint = random_color(rng)
    skin += (rng.uniform(0.1, 1) * places.lips)[:, None].astype(np.float32) * (lip_tint - skin)
    liner = smoothstep(rng.uniform(1, 4), 0.5, places.lids_mm) * rng.uniform(0, 0.9)
    lid_color = random_color(rng, (0.01, 0.6)) if rng.random() < 0.3 else hair * 0.5
    skin += liner[:, None].astype(np.float32) * (lid_color.astype(np.float32) - skin)
    if rng.random() < 0.2:  # Eye shadow.
        shadow = smoothstep(rng.uniform(6, 14), 2, places.lids_mm) * (places.points[:, 1] > 28)
        skin += (rng.uniform(0.2, 0.8) * shadow)[:, None].astype(np.float32) * (
            random_color(rng) - skin
        )


def _add_stubble(skin, places, hair, rng):
    """Paints stubble, flat beards and a shaved scalp, in place."""
    points = places.points
    for field, chance in ((places.beard, 0.3), (places.moustache, 0.3)):
        if rng.random() < chance:
            amount = rng.uniform(0.1, 0.9) * field * np.clip(1 + 0.5 * noise(points, rng, 3), 0, 1)
            skin += amount[:, None].astype(np.float32) * (hair - skin)
    if rng.random() < 0.35:  # A shaved scalp.
        amount = rng.uniform(0, 0.9) * smoothstep(
            0, 12, places.hairline + 6 * noise(points, rng, 20)
        )
        skin += amount[:, None].astype(np.float32) * (hair - skin)


def _paint_inside(albedo, gloss, model, rng):
    gums = np.unique(model.triangles['gums'])
    teeth = np.unique(model.triangles['teeth'])
    albedo[gums] = np.float32([0.35, 0.1, 0.09]) * rng.uniform(0.4, 1.2)
    albedo[teeth] = np.float32([0.75, 0.7, 0.6]) * rng.uniform(0.5, 1.2)
    sockets = np.arange(NUM_SKIN, 14062)
    albedo[sockets] = np.float32([0.3, 0.1, 0.09]) * rng.uniform(0.2, 1.0)
    gloss[teeth] = 0.2


def _paint_eyes(albedo, gloss, vertices, rng):
    """Paints both eyeballs, which look the same way, anywhere."""
    gaze = np.array([rng.normal(0, 0.25), rng.normal(0, 0.15), 1.0])
    gaze /= np.linalg.norm(gaze)
    iris_mm, pupil = rng.uniform(*_IRIS_MM), rng.uniform(0.25, 0.6)
    color = random_color(rng, (0.02, 0.5))
    if rng.random() < 0.6:
        color = np.float32([0.08, 0.04, 0.02]) * rng.uniform(0.3, 3)
    white = np.float32([0.72, 0.68, 0.65]) * rng.uniform(0.5, 1.25)
    for eye in EYE_SLICES:
        ball = vertices[eye]
        center = (ball.min(0) + ball.max(0)) / 2
        offset = ball - center
        radius = np.linalg.norm(offset, axis=1)
        angle_mm = np.arccos(np.clip(offset @ gaze / radius, -1, 1)) * radius
        iris = smoothstep(iris_mm + 0.5, iris_mm - 0.5, angle_mm)[:, None]
        hole = smoothstep(pupil * iris_mm + 0.5, pupil * iris_mm - 0.5, angle_mm)[:, None]
        albedo[eye] = white + iris * (color - white) - hole * 0.95 * iris * color
        gloss[eye] = 0.8
