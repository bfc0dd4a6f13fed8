"""Random solids that are no faces: cups, bottles, fruit, boxes, plants, fur, limbs.

Each function of rng returns a list of things.Thing that stands on the plane y = 0, in mm.
"""

import numpy as np

from data_prep.hard_pictures import things
from data_prep.hard_pictures.looks import hair_color, noise, random_color, skin_tone
from data_prep.synthetic.head import grid_triangles

_AROUND = 49  # Columns of what is turned on a lathe.


def lathe(profile):
    """Returns vertices and triangles of a profile [N, 2] turned about y: radius and height, mm."""
    angle = np.linspace(0, 2 * np.pi, _AROUND)
    radius, height = profile[:, :1], profile[:, 1:]
    points = np.broadcast_arrays(radius * np.sin(angle), height, radius * np.cos(angle))
    return np.stack(points, -1).reshape(-1, 3).astype(np.float32), grid_triangles(
        len(profile), _AROUND
    )


def painted(vertices, triangles, rng, color=None):
    """Returns a Thing of one colour, mostly with marks of a second one."""
    thing = things.colored(
        np.asarray(vertices, np.float32),
        triangles,
        random_color(rng) if color is None else color,
        rng,
        gloss=rng.uniform(0, 0.9) if rng.random() < 0.5 else 0.0,
        spread=rng.exponential(0.15),
        scale=rng.uniform(3, 60),
    )
    marked = _marks(thing.vertices, rng)
    albedo = np.where(marked[:, None], random_color(rng), thing.albedo)
    return thing._replace(albedo=albedo.astype(np.float32))


def _marks(vertices, rng):
    """Returns which vertices are marked: none, stripes, checks, rings or spots."""
    kind = rng.integers(7)
    if kind < 3:
        return np.zeros(len(vertices), bool)
    size = np.ptp(vertices, axis=0).max()
    turned = vertices @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    waves = np.sin(turned * (2 * np.pi / (size * rng.uniform(0.08, 0.6))))
    if kind == 3:
        return waves[:, 0] > rng.uniform(-0.7, 0.9)
    if kind == 4:
        return waves[:, 0] * waves[:, 1] > 0
    if kind == 5:
        radius = np.hypot(vertices[:, 0], vertices[:, 2])
        return np.sin(radius / size * rng.uniform(6, 60)) > rng.uniform(-0.5, 0.9)
    centers = spots(vertices, rng)
    distance = np.linalg.norm(vertices[:, None] - centers, axis=2).min(1)
    return distance < size * rng.uniform(0.04, 0.2)


def spots(vertices, rng):
    """Returns the middles of spots [N, 3]; three lie nearly in line, not like eyes and mouth."""
    count = rng.choice([1, 2, 3, 3, rng.integers(6, 20)])
    while True:
        centers = vertices[rng.integers(0, len(vertices), count)]
        if count != 3:
            return centers
        short, middle, long = np.sort(np.linalg.norm(centers - np.roll(centers, 1, 0), axis=1))
        if short**2 + middle**2 - long**2 < -short * middle:  # An angle above 120 degrees.
            return centers


def fruit(rng):
    """Returns a ball, an egg or a lens, with a dent or without: an oval of any colour."""
    angle = np.linspace(0, np.pi, 30)
    power = rng.uniform(0.6, 1.2)
    radius = rng.uniform(20, 60) * np.sin(angle) ** power
    height = -rng.uniform(15, 70) * np.cos(angle) * (1 - rng.uniform(0, 0.4) * np.sin(angle) ** 6)
    radius *= 1 + rng.normal(0, 0.15) * np.cos(angle)
    vertices, triangles = lathe(np.stack([radius, height - height.min()], 1))
    if rng.random() < 0.3:
        vertices = vertices * (1 + 0.06 * noise(vertices, rng, rng.uniform(5, 20)))[:, None]
    color = skin_tone(rng) if rng.random() < 0.35 else None
    return [painted(vertices, triangles, rng, color)]


def cup(rng):
    """Returns a cup or a bowl with something in it, with a handle or without."""
    low, wide, height = rng.uniform(15, 40), rng.uniform(30, 60), rng.uniform(20, 110)
    wall = rng.uniform(1.5, 6)
    t = np.linspace(0, 1, 12)
    side = low + (wide - low) * t ** rng.uniform(0.3, 2)
    outer = np.stack([side, t * height], 1)
    inner = np.stack([np.clip(side - wall, 1, None), wall + t * (height - wall)], 1)[::-1]
    vertices, triangles = lathe(np.concatenate([[[0.0, 0.0]], outer, inner, [[0.0, wall]]]))
    color = random_color(rng, (0.4, 0.9)) if rng.random() < 0.5 else None
    parts = [painted(vertices, triangles, rng, color)]
    level = rng.uniform(0.3, 0.95)
    surface = np.linspace(0, max(np.interp(level, t, side) - wall, 2), 16)
    ripple = np.full(16, level * height) + rng.uniform(0, 1) * np.sin(surface / 3)
    dark = random_color(rng, (0.01, 0.4)) if rng.random() < 0.7 else None
    parts.append(painted(*lathe(np.stack([surface, ripple], 1)), rng, dark))
    if rng.random() < 0.6:
        bow = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 16)
        line = np.stack(
            [
                np.interp(0.5 + 0.35 * np.sin(bow), t, side) + rng.uniform(12, 30) * np.cos(bow),
                height * (0.5 + 0.35 * np.sin(bow)),
                0 * bow,
            ],
            1,
        )
        tube = things.tube(line, rng.uniform(3, 7), 9)
        parts.append(parts[0]._replace(**_fields(*tube, parts[0].albedo[0], parts[0].gloss[0])))
    if rng.random() < 0.5:
        rim = rng.uniform(1.2, 1.9) * wide
        dish = np.array(
            [[0, 1], [0.6 * rim, 1], [0.8 * rim, 3], [rim, 9], [rim, 6], [0.6 * rim, 0]]
        )
        parts.append(painted(*lathe(_finer(dish)), rng, color))
    return parts


def _fields(vertices, triangles, albedo, gloss):
    count = len(vertices)
    return {
        'vertices': vertices,
        'triangles': triangles,
        'albedo': np.tile(albedo, (count, 1)),
        'gloss': np.full(count, gloss, np.float32),
    }


def _finer(profile):
    """Returns a profile with four points for each of its segments."""
    at = np.linspace(0, len(profile) - 1, 4 * len(profile))
    whole = np.arange(len(profile))
    return np.stack([np.interp(at, whole, column) for column in profile.T], 1)


def plate(rng):
    """Returns a plate, a disc or a ring that lies, with some things on it."""
    wide = rng.uniform(40, 110)
    inner = wide * rng.choice([0.0, 0.0, rng.uniform(0.2, 0.7)])
    lip = rng.uniform(1, 14)
    profile = np.array(
        [[inner, 2], [(inner + wide) / 2, 3], [wide, lip], [wide, lip - 2], [inner, 0]]
    )
    parts = [painted(*lathe(_finer(profile)), rng)]
    for _ in range(rng.integers(0, 4)):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.7) * wide
        shift = np.float32([far * np.cos(angle), 3, far * np.sin(angle)])
        for part in fruit(rng):
            parts.append(part._replace(vertices=part.vertices * rng.uniform(0.2, 0.6) + shift))
    return parts


def bottle(rng):
    """Returns a bottle, a vase, a lamp or a post: any smooth profile."""
    height = rng.uniform(40, 220)
    knots = np.abs(rng.normal(25, 14, rng.integers(3, 8))) + 3
    at = np.linspace(0, len(knots) - 1, 40)
    radius = np.interp(at, np.arange(len(knots)), knots)
    if rng.random() < 0.7:
        radius = np.convolve(np.pad(radius, 4, mode='edge'), np.ones(9) / 9, 'valid')
    profile = np.stack([radius, np.linspace(0, height, 40)], 1)
    profile = np.concatenate([[[0, 0]], profile, [[0, height]]])
    return [painted(*lathe(profile), rng)]


def box(rng):
    """Returns a box, a book, a house with windows: six sides with a grid of marks or none."""
    half = np.exp(rng.normal(3.4, 0.5, 3))
    count = 14
    step = np.linspace(-1, 1, count)
    u, v = (axis.ravel() for axis in np.meshgrid(step, step))
    sides = []
    for axis in range(3):
        for sign in (-1, 1):
            points = np.empty((count * count, 3), np.float32)
            points[:, axis], points[:, axis - 1], points[:, axis - 2] = sign, u, v
            sides.append(points * half + np.float32([0, half[1], 0]))
    triangles = np.concatenate([grid_triangles(count, count) + k * count**2 for k in range(6)])
    thing = painted(np.concatenate(sides), triangles, rng)
    if rng.random() < 0.4:
        period, share = rng.integers(2, 6), rng.uniform(0.3, 0.8)
        window = ((np.abs(u) * period % 1 < share) & (np.abs(v) * period % 1 < share))[None]
        albedo = np.where(np.repeat(window, 6, 0).reshape(-1, 1), random_color(rng), thing.albedo)
        thing = thing._replace(albedo=albedo.astype(np.float32))
    return [thing]


def ring(rng):
    """Returns a torus or a chain's link, which lies or stands."""
    angle = np.linspace(0, 2 * np.pi, 40)
    radius, thick = rng.uniform(20, 70), rng.uniform(4, 18)
    line = np.stack([radius * np.sin(angle), 0 * angle + thick, radius * np.cos(angle)], 1)
    if rng.random() < 0.4:
        line = line[:, [0, 2, 1]] + [0, radius, 0]
    return [painted(*things.tube(line, thick, 13), rng)]


def plant(rng):
    """Returns leaves, grass, wires or strands of hair that grow from one place."""
    is_leaf, color = rng.random() < 0.5, random_color(rng)
    if rng.random() < 0.5:
        color = color * np.float32([0.6, 1.0, 0.4])
    elif not is_leaf:
        color = hair_color(rng)
    parts = []
    length, spread = rng.uniform(50, 160), rng.uniform(0.1, 1.2)
    t = np.linspace(0, 1, 12)[:, None]
    for _ in range(rng.integers(5, 30) if is_leaf else rng.integers(15, 50)):
        out = rng.normal(0, spread, 3) * [1, 0, 1] + [0, 1, 0]
        out = out / np.linalg.norm(out) * length * rng.uniform(0.6, 1.2)
        line = rng.normal(0, 6, 3) * [1, 0, 1] + t * out + t**2 * rng.normal(0, 0.25, 3) * length
        if is_leaf:
            across = np.cross(out, rng.standard_normal(3))
            across *= length * rng.uniform(0.05, 0.2) / np.linalg.norm(across)
            width = np.sin(np.pi * t**0.8) * across
            vertices = np.stack([line - width, line, line + width], 1).reshape(-1, 3)
            shape = vertices.astype(np.float32), grid_triangles(12, 3)
        else:
            shape = things.tube(line, rng.uniform(0.7, 2.5))
        parts.append(things.colored(*shape, color * np.exp(rng.normal(0, 0.25)), rng, spread=0.2))
    return parts


def animal(rng):
    """Returns a furry body with a head, ears and legs, without eyes and mouth."""
    color = hair_color(rng)
    long, high = rng.uniform(40, 90), rng.uniform(25, 50)
    legs = rng.uniform(5, 50)
    balls = [([0, legs + high, 0], [long, high, high])]
    head = np.array([long * rng.uniform(0.7, 1.1), legs + high * rng.uniform(1, 2), 0])
    size = high * rng.uniform(0.5, 0.9)
    balls.append((head, [size, size * 0.9, size]))
    for side in (-1, 1):
        balls.append((head + [0, size, side * 0.6 * size], np.array([0.2, 0.6, 0.3]) * size))
        for along in (-0.7, 0.7):
            balls.append(([along * long, legs / 2, side * high * 0.5], [8, legs / 2 + 10, 8]))
    parts = []
    angle = np.linspace(0, np.pi, 34)
    ball = np.stack([np.sin(angle), np.cos(angle)], 1)
    for center, radii in balls:
        vertices, triangles = lathe(ball)
        vertices = vertices * np.float32(radii)
        shag = 1 + rng.uniform(0.02, 0.1) * noise(vertices, rng, rng.uniform(1.5, 5))
        vertices = vertices * shag[:, None] + np.float32(center)
        thing = things.colored(vertices.astype(np.float32), triangles, color, rng, gloss=0.02)
        strands = things.streaks(vertices, rng)[:, None]
        parts.append(thing._replace(albedo=np.clip(thing.albedo * strands, 0.003, 0.95)))
    return parts


def limbs(rng):
    """Returns hands, arms or knees: capsules of skin, no head."""
    tone = skin_tone(rng)
    if rng.random() < 0.5:
        nowhere = np.zeros((6700, 3))
        return [things.hand(nowhere, tone, rng) for _ in range(rng.integers(1, 3))]
    parts = []
    for _ in range(rng.integers(1, 4)):
        bend = np.cumsum(rng.normal(0, 30, (4, 3)), 0)
        at = np.linspace(0, 3, 20)
        line = np.stack([np.interp(at, np.arange(4), axis) for axis in bend.T], 1)
        line += [0, 40, 0] + np.linspace(-1, 1, 20)[:, None] * rng.normal(0, 60, 3)
        shape = things.tube(line, rng.uniform(10, 35), 17)
        parts.append(things.colored(*shape, tone, rng, spread=0.1))
    return parts


def fabric(rng):
    """Returns clothes without a wearer, with hair or a hat above them sometimes."""
    skin = things.ellipsoid(np.zeros(3), [70, 100, 80], rng)[0]
    parts = [things.clothes(skin, rng)]
    if rng.random() < 0.3:
        parts.append(things.curtain(skin, hair_color(rng), rng))
    elif rng.random() < 0.4:
        parts.append(things.hat(skin, rng))
    lift = np.float32([0, 120, 0])
    return [part._replace(vertices=part.vertices + lift) for part in parts]


KINDS = (cup, cup, fruit, fruit, plate, bottle, box, ring, plant, animal, limbs, fabric)
