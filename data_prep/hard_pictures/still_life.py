"""Pictures without a face, for the face score: still lifes, patterns and parts of heads."""

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.hard_pictures import camera, damage, painter, people, picture, solids, things
from data_prep.hard_pictures.looks import random_color
from data_prep.hard_pictures.template_model import NUM_SKIN
from data_prep.synthetic.head import grid_triangles

_PATTERNS, _PARTS = 0.15, 0.15  # Shares of flat patterns and of parts of heads.
_FACE = np.array([0.0, -5.0, 80.0])  # Middle of the face, mm.
_FACE_RADIUS_MM = 68.0  # Around it are eyes, nose and mouth.
_TABLE = 71  # Vertices along each side of a table.


def make(world, rng, *, plain=False, size=picture.SIZE):
    """Draws one picture in which no face is to be found.

    Args:
        world: picture.World.
        rng: numpy Generator of everything.
        plain: as of picture.make: no damage.
        size: pixels a side.

    Returns:
        picture.Picture; its places are finite and mean nothing.
    """
    kind, model = rng.random(), world.kinds.model
    if kind < _PATTERNS:
        view = camera.facing(0.0)
        rays = int(size * painter.OVERSAMPLING)
        drawn, hit = pattern(rays, rng), np.zeros((rays, rays), bool)
    else:
        if kind < _PATTERNS + _PARTS:
            scene, view = _part_of_a_head(world, rng)
        else:
            scene, view = _arrangement(rng)
        lights = painter.sample_lights(rng, view.rotation)
        drawn, hit = painter.draw(scene, view, size, lights, rng)
        draw_behind = pattern if rng.random() < 0.3 else damage.background
        drawn = painter.lay_over(drawn, hit, draw_behind(len(drawn), rng))
    drawn = cv2.resize(damage.expose(drawn, hit, rng), (size, size), interpolation=cv2.INTER_AREA)
    image = damage.as_file(drawn) if plain else damage.spoil(drawn, rng)
    # Any finite places: no loss reads them.
    places = camera.facing(0.0).place(model.mean[world.points], size).astype(np.float32)
    seen = np.zeros(len(places), bool)
    expression = np.zeros(len(model.expression_names), np.float32)
    return picture.Picture(image, places, seen, False, 'none', expression, *view)


def _view(middle, radius_mm, on_table, rng):
    """Returns a View of what lies about a point [3]: from the side or from above, near or far."""
    distance = max(np.exp(rng.uniform(np.log(300.0), np.log(2500.0))), 2 * radius_mm)
    pitch = rng.uniform(3, 90) if on_table or rng.random() < 0.5 else rng.uniform(-60, 60)
    roll = Rotation.from_euler('Z', rng.normal(0, 12), degrees=True).as_matrix()
    rotation = roll @ camera.facing(rng.uniform(-180, 180), -pitch).rotation
    half = radius_mm * np.exp(rng.uniform(-0.5, 0.8)) / distance
    translation = np.array([0.0, 0.0, distance]) - rotation @ middle
    return camera.View(rotation, translation, rng.normal(0, 0.25, 2) * half, half)


def _arrangement(rng):
    """Returns the Scene of some solids on a table, or in the air, and a View of one of them."""
    parts = []
    count = rng.choice([1, 2, 3, rng.integers(4, 10)])
    on_table = rng.random() < 0.7
    kinds = rng.choice(len(solids.KINDS), 1 if rng.random() < 0.3 else count)
    for k in range(count):
        solid = solids.KINDS[kinds[k % len(kinds)]](rng)
        turn = Rotation.from_euler('Y', rng.uniform(0, 2 * np.pi))
        if not on_table or rng.random() < 0.2:
            turn = Rotation.random(random_state=rng) * turn
        scale = np.exp(rng.normal(0, 0.35))
        shift = rng.normal(0, 15 + 12 * count, 3) * [1, 0.0 if on_table else 1, 1]
        for part in solid:
            vertices = scale * part.vertices @ turn.as_matrix().T + shift
            parts.append(part._replace(vertices=vertices.astype(np.float32)))
    points = np.concatenate([part.vertices for part in parts[-len(solid) :]])
    middle = points.mean(0)
    radius_mm = np.quantile(np.linalg.norm(points - middle, axis=1), 0.9)
    if on_table:
        parts.append(_table(rng))
    return _scene(parts), _view(middle, radius_mm, on_table, rng)


def _table(rng):
    """Returns a plane under the solids, denser in the middle, where shadows fall."""
    line = np.linspace(-1, 1, _TABLE)
    line = 500 * np.sign(line) * np.abs(line) ** 1.5
    x, z = np.meshgrid(line, line)
    points = np.stack([x, 0 * x, z], -1).reshape(-1, 3)
    turn = Rotation.from_euler('Y', rng.uniform(0, 2 * np.pi)).as_matrix()
    table = solids.painted(points @ turn.T, grid_triangles(_TABLE, _TABLE), rng)
    if rng.random() < 0.25:  # Grain of wood.
        grain = np.float32([0.06, 1, 1])
        table = table._replace(
            albedo=np.clip(table.albedo * things.streaks(points * grain, rng)[:, None], 0, 1)
        )
    return table


def _scene(parts):
    """Returns the Scene of a list of things.Thing."""
    offsets = np.cumsum([0, *[len(part.vertices) for part in parts]])
    return painter.Scene(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([p.triangles + o for p, o in zip(parts, offsets, strict=False)]),
        np.concatenate([part.albedo for part in parts]),
        np.concatenate([part.gloss for part in parts]),
        np.full(offsets[-1], 0.85, np.float32),
    )


def _part_of_a_head(world, rng):
    """Returns the Scene of a dressed head, and a View of a small part without eyes and mouth."""
    model = world.kinds.model
    vertices = model.with_inside(people.sample(world.kinds, rng)[1])
    scene, normals = picture.dressed(world, vertices, rng, plain=False)
    far = np.linalg.norm(vertices[:NUM_SKIN] - _FACE, axis=1)
    index = rng.choice(np.flatnonzero(far > _FACE_RADIUS_MM))
    half_mm = min(rng.uniform(18, 60), 0.6 * far[index] - 18)  # Eyes and mouth stay outside.
    towards = normals[index] + rng.normal(0, 0.4, 3)
    yaw = np.degrees(np.arctan2(-towards[0], towards[2]))
    pitch = np.degrees(np.arctan2(-towards[1], np.hypot(towards[0], towards[2])))
    distance = np.exp(rng.uniform(np.log(300.0), np.log(2500.0)))
    rotation = camera.facing(yaw, pitch).rotation
    translation = np.array([0.0, 0.0, distance]) - rotation @ vertices[index]
    return scene, camera.View(rotation, translation, np.zeros(2), half_mm / distance)


def pattern(size, rng):
    """Returns a flat picture, linear RGB [size, size, 3]: stripes, tiles, strokes, noise."""
    drawn = damage.background(size, rng)
    kind = rng.integers(4)
    if kind == 0:
        u, v = _turned_grid(size, rng)
        wave = np.sin(
            2 * np.pi * u / (size * rng.uniform(0.02, 0.5)) + rng.uniform(0, 3) * v / size
        )
        covers = wave > rng.uniform(-0.8, 0.8)
    elif kind == 1:
        u, v = _turned_grid(size, rng)
        period, share = size * rng.uniform(0.06, 0.5, 2), rng.uniform(0.2, 0.9, 2)
        covers = (u / period[0] % 1 < share[0]) & (v / period[1] % 1 < share[1])
    elif kind == 2:
        covers = _strokes(size, rng)
    else:
        return drawn * np.exp(np.clip(_rough(size, rng), -3, 3))[..., None]
    covers = cv2.GaussianBlur(covers.astype(np.float32), (0, 0), rng.uniform(0.4, 2.0))[..., None]
    return (drawn + covers * (random_color(rng) - drawn)).astype(np.float32)


def _turned_grid(size, rng):
    """Returns the two coordinates [size, size] of pixels in a turned frame, in pixels."""
    angle = rng.choice([0.0, rng.uniform(0, np.pi)])
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _strokes(size, rng):
    """Returns where lines of strokes like writing cover a picture, [size, size] uint8."""
    covers = np.zeros((size, size), np.uint8)
    high = rng.uniform(5, 40)
    thick = max(1, int(high * rng.uniform(0.08, 0.25)))
    for top in np.arange(rng.uniform(0, high), size, high * 1.6):
        left = rng.uniform(0, size / 4)
        while left < size * rng.uniform(0.6, 1.2):
            count = rng.integers(2, 5)
            points = rng.uniform(0, 1, (count, 2)) * [0.6 * high, high] + [left, top]
            cv2.polylines(covers, [points.astype(np.int32)], False, 1, thick)
            left += high * rng.choice([0.75, 0.75, 0.75, 1.5])
    return covers


def _rough(size, rng):
    """Returns noise [size, size] whose power falls with frequency: grass, clouds, stone."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    falling = np.maximum(frequency, 1 / size) ** -rng.uniform(0.5, 2.0)
    waves = np.fft.rfft2(rng.standard_normal((size, size))) * falling
    field = np.fft.irfft2(waves, (size, size))
    return (field / field.std() * rng.uniform(0.2, 1.0)).astype(np.float32)
