"""What is on, over and in front of a head: hair, beards, hats, glasses, hands, objects, clothes."""

from typing import NamedTuple

import numpy as np

from data_prep.hard_pictures.looks import hair_color, noise, random_color
from data_prep.hard_pictures.template_model import NUM_SKIN
from data_prep.synthetic.head import grid_triangles
from seqface_jax.geometry.smoothstep import smoothstep


class Thing(NamedTuple):
    """A piece of the scene, in the head's frame.

    Attributes:
        vertices: [V, 3] mm.
        triangles: [F, 3].
        albedo: [V, 3] linear RGB.
        gloss: [V].
    """

    vertices: np.ndarray
    triangles: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray


def shell(skin, normals, triangles, thickness):
    """Returns vertices and triangles of the skin lifted by thickness [NUM_SKIN] mm where > 0.3."""
    grows = thickness > 0.3
    kept = triangles[grows[triangles].any(1)]
    used, index = np.unique(kept, return_inverse=True)
    lift = np.where(grows, thickness, -2.0)[used, None]
    return (skin[used] + lift * normals[used]).astype(np.float32), index.reshape(-1, 3), used


def streaks(points, rng):
    """Returns brightness [N] of strands: fine across, long down."""
    stretched = points * np.float32([1, rng.uniform(0.08, 0.4), 1])
    return np.exp(rng.uniform(0.1, 0.6) * noise(stretched, rng, rng.uniform(1.5, 5))).astype(
        np.float32
    )


def colored(vertices, triangles, color, rng, gloss=0.1, spread=0.3, scale=15.0):
    """Returns a Thing of one colour, which noise of `scale` mm makes lighter and darker."""
    albedo = color * np.exp(spread * noise(vertices, rng, scale))[:, None]
    return Thing(
        vertices,
        triangles,
        np.clip(albedo, 0.003, 0.95).astype(np.float32),
        np.full(len(vertices), gloss, np.float32),
    )


def hair(places, skin, normals, triangles, color, rng):
    """Returns hair on the scalp, a list of Things."""
    points = places.points
    edge = (
        places.hairline
        + rng.normal(0, 10)
        + rng.uniform(2, 9) * noise(points, rng, rng.uniform(8, 30))
    )
    edge = edge + rng.normal(0, 0.25) * points[:, 0]  # A parting.
    if rng.random() < 0.3:  # A fringe.
        edge = edge + rng.uniform(0, 35) * smoothstep(60, 30, np.abs(points[:, 0])) * (
            points[:, 2] > 20
        )
    size = rng.choice([rng.uniform(1, 5), rng.uniform(4, 18), rng.uniform(15, 50)])
    thickness = size * smoothstep(0, rng.uniform(4, 25), edge)
    thickness = thickness * np.clip(
        1 + rng.uniform(0.1, 0.6) * noise(points, rng, rng.uniform(5, 25)), 0.2, 2.5
    )
    thickness[(points[:, 1] < -60)] = 0
    vertices, faces, used = shell(skin, normals, triangles, thickness)
    if len(faces) == 0:
        return []
    albedo = color * streaks(points[used], rng)[:, None]
    things = [
        Thing(
            vertices,
            faces,
            np.clip(albedo, 0.003, 0.95),
            np.full(len(used), rng.uniform(0, 0.4), np.float32),
        )
    ]
    if rng.random() < 0.4:
        things.append(curtain(skin, color, rng))
    return things


def curtain(skin, color, rng):
    """Returns long hair that hangs around the head, open in front."""
    opening = rng.uniform(0.5, 1.5)  # Half of the angle left free in front, rad.
    around = np.linspace(opening, 2 * np.pi - opening, 40)
    top, low = rng.uniform(40, 80), rng.uniform(-160, -30)
    down = np.linspace(top, low, 24)
    center = np.float32([0, 0, skin[:, 2].min() * 0.5 + 20])
    half = np.abs(skin[:, 0]).max() + rng.uniform(-8, 12)
    wide = half * (
        0.75
        + 0.35 * smoothstep(top, top - 60, down)[:, None]
        + rng.uniform(0, 0.3) * smoothstep(0, -160, down)[:, None]
    )
    deep = rng.uniform(0.85, 1.25) * wide
    x, z = wide * np.sin(around), deep * np.cos(around)
    y = np.repeat(down[:, None], 40, 1)
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32) + center
    points += rng.uniform(0.5, 4) * np.stack(
        [noise(points * np.float32([1, 0.2, 1]), rng, 8) for _ in range(3)], -1
    )
    albedo = np.clip(color * streaks(points, rng)[:, None], 0.003, 0.95)
    return Thing(
        points.astype(np.float32),
        grid_triangles(24, 40),
        albedo.astype(np.float32),
        np.full(len(points), 0.15, np.float32),
    )


def beard(places, skin, normals, triangles, rng):
    """Returns a beard and a moustache that stand off the skin, as one Thing or None."""
    points = places.points
    low = rng.uniform(0.3, 0.9)
    field = np.zeros(NUM_SKIN)
    if rng.random() < 0.7:
        field = rng.uniform(1, 18) * smoothstep(
            low - 0.3, low + 0.1, places.beard + 0.15 * noise(points, rng, 12)
        )
    if rng.random() < 0.7:
        field = np.maximum(field, rng.uniform(1, 6) * places.moustache)
    field = field * np.clip(1 + 0.4 * noise(points, rng, rng.uniform(2, 10)), 0.2, 2)
    field[places.lips > 0.3] = 0
    vertices, faces, used = shell(skin, normals, triangles, field)
    if len(faces) == 0:
        return None
    albedo = hair_color(rng) * streaks(points[used], rng)[:, None]
    return Thing(
        vertices,
        faces,
        np.clip(albedo, 0.003, 0.95).astype(np.float32),
        np.full(len(used), 0.05, np.float32),
    )


def hat(skin, rng):
    """Returns a cap over the skull, with a brim or without."""
    brow = rng.uniform(52, 85)
    center = np.float32([0, brow, np.median(skin[:, 2])])
    half = np.abs(skin[:, 0]).max() * rng.uniform(0.95, 1.15)
    rows = np.linspace(0, np.pi / 2, 12)[:, None]
    around = np.linspace(0, 2 * np.pi, 40)[None]
    height = rng.uniform(50, 110)
    depth = (skin[:9000, 2].max() - center[2]) * rng.uniform(0.85, 1.05)
    points = np.stack(
        [
            half * np.cos(rows) ** 0.6 * np.sin(around),
            height * np.sin(rows) + 0 * around,
            depth * np.cos(rows) ** 0.6 * np.cos(around),
        ],
        -1,
    )
    tilt = rng.normal(0, 0.15)
    vertices = (
        points.reshape(-1, 3)
        @ np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        + center
    )
    faces = grid_triangles(12, 40)
    if rng.random() < 0.5:
        brim = rng.uniform(20, 70)
        ring = np.stack(
            [
                points[0] * [1, 0, 1],
                points[0]
                * (1 + brim / np.linalg.norm(points[0], axis=1, keepdims=True))
                * [1, 0, 1],
            ],
            0,
        )
        ring[1, :, 1] -= rng.uniform(0, 15)
        faces = np.concatenate([faces, grid_triangles(2, 40) + len(vertices)])
        vertices = np.concatenate([vertices, ring.reshape(-1, 3) + center])
    return colored(
        vertices.astype(np.float32), faces, random_color(rng), rng, scale=rng.uniform(5, 60)
    )


def glasses(skin, landmarks, rng):
    """Returns spectacles: two rims, a bridge, temples; sometimes dark lenses."""
    eyes = [skin[landmarks[36:42]].mean(0), skin[landmarks[42:48]].mean(0)]
    wide, high = rng.uniform(19, 29), rng.uniform(13, 25)
    power = rng.uniform(2, 5)  # From round to square.
    thick = rng.uniform(0.8, 3.0)
    drop, ahead = rng.normal(-2, 3), rng.uniform(11, 17)
    angle = np.linspace(0, 2 * np.pi, 33)
    shape = (
        np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power),
        np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power),
    )
    lines, discs = [], []
    for eye in eyes:
        rim = np.stack(
            [
                wide * shape[0] + eye[0] * 1.04,
                high * shape[1] + eye[1] + drop,
                np.full(33, eye[2] + ahead),
            ],
            -1,
        )
        rim[:, 2] -= 0.004 * rim[:, 0] ** 2
        lines.append(rim)
        discs.append(rim)
    y, z = eyes[0][1] + drop + rng.uniform(0, 0.5) * high, eyes[0][2] + ahead
    inner = abs(eyes[1][0]) * 1.04 - wide
    lines.append(np.array([[-inner, y, z], [0, y + 2, z + 2], [inner, y, z]]))
    outer = abs(eyes[1][0]) * 1.04 + wide
    ear = skin[landmarks[[0, 16]]]
    for sign, at in ((-1, ear[0]), (1, ear[1])):
        lines.append(
            np.array(
                [[sign * outer, y, z - 0.004 * outer**2], [at[0] + sign * 4, at[1] + 8, at[2] - 10]]
            )
        )
    parts = [tube(line, thick) for line in lines]
    vertices = np.concatenate([p[0] for p in parts])
    offsets = np.cumsum([0, *[len(p[0]) for p in parts]])
    faces = np.concatenate([p[1] + o for p, o in zip(parts, offsets, strict=False)])
    color = random_color(rng) if rng.random() < 0.5 else np.float32([0.02, 0.02, 0.02])
    things = [colored(vertices, faces, color, rng, gloss=rng.uniform(0, 0.8))]
    if rng.random() < 0.2:
        for rim in discs:
            points = np.concatenate([rim[:-1], rim[:-1].mean(0, keepdims=True)]).astype(np.float32)
            k = np.arange(32)
            fan = np.stack([k, (k + 1) % 32, np.full(32, 32)], 1)
            things.append(colored(points, fan, random_color(rng, (0.01, 0.15)), rng, gloss=0.9))
    return things


def tube(line, radius, sides=5):
    """Returns vertices and triangles of a tube around a polyline [N, 3] mm."""
    ahead = np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    up = np.cross(ahead, [0.3, 0.2, 0.93])
    up /= np.linalg.norm(up, axis=1, keepdims=True) + 1e-9
    side = np.cross(ahead, up)
    angle = np.linspace(0, 2 * np.pi, sides)
    rings = line[:, None] + radius * (
        np.cos(angle)[None, :, None] * up[:, None] + np.sin(angle)[None, :, None] * side[:, None]
    )
    return rings.reshape(-1, 3).astype(np.float32), grid_triangles(len(line), sides)


def hand(skin, tone, rng):
    """Returns a hand of capsules in front of the face, or beside it."""
    anchor = skin[rng.integers(0, 6700)] + np.float32([0, 0, rng.uniform(8, 40)])
    turn = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(turn), np.sin(turn), rng.normal(0, 0.3)])
    along /= np.linalg.norm(along)
    across = np.cross(along, [0, 0, 1])
    across /= np.linalg.norm(across)
    lines, radii = [], []
    for k in range(4):
        start = anchor + across * (k - 1.5) * 18
        bend = rng.uniform(0.5, 1.0)
        lines.append(
            np.stack(
                [
                    start + along * t * bend * 75 + np.array([0, 0, -t * t * 10])
                    for t in np.linspace(0, 1, 5)
                ]
            )
        )
        radii.append(rng.uniform(7, 10))
    lines.append(
        np.stack(
            [
                anchor - across * 40 * (1 - t) - along * 20 * (1 - t) - along * 30
                for t in np.linspace(0, 1, 4)
            ]
        )
    )
    radii.append(10)
    parts = [tube(line, radius, 9) for line, radius in zip(lines, radii, strict=True)]
    palm = ellipsoid(anchor - along * 45, [38, 38, 14], rng)
    parts.append(palm)
    offsets = np.cumsum([0, *[len(p[0]) for p in parts]])
    faces = np.concatenate([p[1] + o for p, o in zip(parts, offsets, strict=False)])
    color = tone * np.exp(rng.normal(0, 0.2)) if rng.random() < 0.7 else random_color(rng)
    return colored(
        np.concatenate([p[0] for p in parts]).astype(np.float32), faces, color, rng, spread=0.1
    )


def ellipsoid(center, radii, rng):
    """Returns vertices and triangles of a ball, stretched and turned at random."""
    rows, columns = np.linspace(0, np.pi, 13)[:, None], np.linspace(0, 2 * np.pi, 21)[None]
    ball = np.stack(
        np.broadcast_arrays(
            np.sin(rows) * np.cos(columns), np.cos(rows), np.sin(rows) * np.sin(columns)
        ),
        -1,
    )
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    points = ball.reshape(-1, 3) * radii @ rotation.T + center
    return points.astype(np.float32), grid_triangles(13, 21)


def blob(skin, rng):
    """Returns an object of any size somewhere near or in front of the face."""
    center = skin[rng.integers(0, 9000)] + np.float32(
        [rng.normal(0, 50), rng.normal(0, 50), rng.uniform(5, 80)]
    )
    radii = np.exp(rng.normal(2.9, 0.6, 3))
    vertices, faces = ellipsoid(center, radii, rng)
    return colored(
        vertices, faces, random_color(rng), rng, gloss=rng.uniform(0, 0.6), scale=rng.uniform(4, 60)
    )


def clothes(skin, rng):
    """Returns shoulders and a collar under the head."""
    collar = rng.uniform(-150, -95)
    rows = np.array(
        [[0, 62, 58], [-10, 75, 66], [-35, 130, 80], [-70, 200, 95], [-200, 220, 110]], float
    )
    around = np.linspace(0, 2 * np.pi, 41)
    wide = rows[:, 1:2] * rng.uniform(0.9, 1.15)
    y = collar + rows[:, :1] * rng.uniform(0.7, 1.3) + 10 * np.cos(around) * rng.uniform(-1, 1)
    center_z = np.median(skin[skin[:, 1] < -60, 2]) if (skin[:, 1] < -60).any() else -20.0
    points = np.stack(
        [wide * np.sin(around), y + 0 * wide, rows[:, 2:3] * np.cos(around) + center_z], -1
    )
    vertices = points.reshape(-1, 3).astype(np.float32)
    return colored(
        vertices,
        grid_triangles(5, 41),
        random_color(rng),
        rng,
        spread=rng.uniform(0, 0.6),
        scale=rng.uniform(3, 60),
    )


def dress(places, model, vertices, normals, tone, hair_tone, rng, *, plain=False):
    """Returns all Things of one head, a list; each is there with a chance of its own.

    Where `plain`, nothing but hair, beards, glasses and clothes.
    """
    skin, up = vertices[:NUM_SKIN], normals[:NUM_SKIN]
    triangles = model.triangles['skin']
    triangles = triangles[(triangles < NUM_SKIN).all(1)]
    things = []
    if rng.random() < 0.75:
        things += hair(places, skin, up, triangles, hair_tone, rng)
    if rng.random() < 0.22:
        made = beard(places, skin, up, triangles, rng)
        things += [made] if made else []
    if not plain and rng.random() < 0.12:
        things.append(hat(skin, rng))
    if rng.random() < 0.2:
        things += glasses(skin, model.landmarks, rng)
    if not plain and rng.random() < 0.1:
        things.append(hand(skin, tone, rng))
    if not plain and rng.random() < 0.12:
        things += [blob(skin, rng) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.85:
        things.append(clothes(skin, rng))
    return things
