"""Six expressions as displacement fields, each a sum of the movements of single muscles.

The movements are those of the facial action coding system (Ekman and Friesen, 1978), written as
smooth fields in mm at full contraction; the weights per expression follow its emotion tables.
"""

import numpy as np

from data_prep.synthetic.head import EYE_CENTER, gaussian
from seqface_jax.geometry.smoothstep import smoothstep

NAMES = ('Angry', 'Disgust', 'Fear', 'Happy', 'Sad', 'Surprise')
_HINGE = np.array([0.0, 8.0, -8.0])  # Hinge of the jaw, in front of the ears, mm.

# Weight of every movement in every expression at its apex.
_WEIGHTS = {
    'Angry': {'brow_lower': 1.0, 'lid_tighten': 0.7, 'lid_raise': 0.3, 'lips_press': 0.9,
              'nose_wrinkle': 0.3, 'chin_raise': 0.5, 'corner_down': 0.25},
    'Disgust': {'nose_wrinkle': 1.0, 'upper_lip_raise': 1.0, 'brow_lower': 0.6, 'lid_tighten': 0.6,
                'cheek_raise': 0.5, 'chin_raise': 0.4, 'corner_down': 0.4, 'jaw_drop': 0.12},
    'Fear': {'inner_brow_raise': 1.0, 'outer_brow_raise': 0.5, 'brow_lower': 0.3, 'lid_raise': 1.0,
             'lip_stretch': 1.0, 'jaw_drop': 0.38, 'lips_part': 0.5},
    'Happy': {'smile': 1.0, 'cheek_raise': 1.0, 'lid_tighten': 0.4, 'lips_part': 0.7,
              'upper_lip_raise': 0.3, 'jaw_drop': 0.1},
    'Sad': {'inner_brow_raise': 1.0, 'brow_lower': 0.35, 'corner_down': 1.0, 'chin_raise': 0.7,
            'lid_droop': 0.5, 'lips_press': 0.2},
    'Surprise': {'inner_brow_raise': 1.0, 'outer_brow_raise': 1.1, 'lid_raise': 1.0,
                 'jaw_drop': 1.0, 'lips_round': 0.7},
}  # fmt: skip


def _vector(x=0.0, y=0.0, z=0.0):
    """Stacks three scalar fields into one vector field."""
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1) * 1.0


def _upper_face(ax, side, y, front):
    """Returns the movements of brows, lids, cheeks and nose."""
    dx, dy = ax - EYE_CENTER[0], y - EYE_CENTER[1]
    inner = gaussian(ax, y, 13, 55, 11, 10) * front
    outer = gaussian(ax, y, 40, 54, 13, 10) * front
    brow = gaussian(ax, y, 22, 53, 17, 8) * front
    forehead = gaussian(ax, y, 25, 76, 30, 12) * front
    frown = gaussian(ax, y, 6, 53, 2.5, 8) - gaussian(ax, y, 0, 52, 3, 8)
    upper_lid = smoothstep(-1.5, 4.5, dy) * np.exp(-0.5 * (dx / 10.0) ** 2) * smoothstep(14, 7, dy)
    lower_lid = (
        smoothstep(0.5, -3.5, dy) * np.exp(-0.5 * (dx / 10.0) ** 2) * smoothstep(-13, -6, dy)
    )
    cheek = gaussian(ax, y, 36, 12, 15, 12) * front
    waves = np.cos((y - 66.0) * 2 * np.pi / 11.0)
    return {
        'inner_brow_raise': _vector(y=6.0 * inner + 2.0 * gaussian(ax, y, 14, 75, 14, 12) * front,
                                    z=0.7 * waves * gaussian(ax, y, 0, 75, 22, 11) * front),
        'outer_brow_raise': _vector(y=5.5 * outer + 2.0 * forehead, z=0.6 * waves * forehead),
        'brow_lower': _vector(x=-3.0 * side * gaussian(ax, y, 14, 53, 10, 8) * front,
                              y=-4.8 * gaussian(ax, y, 14, 54, 16, 9) * front - 1.0 * outer,
                              z=1.2 * brow + 1.2 * frown * front),
        'lid_raise': _vector(y=2.2 * upper_lid * front - 0.3 * lower_lid * front),
        'lid_tighten': _vector(y=(1.8 * lower_lid - 1.3 * upper_lid) * front,
                               z=0.5 * gaussian(dx, dy, 0, -9, 11, 3) * front),
        'lid_droop': _vector(y=-2.4 * upper_lid * front),
        'blink': _vector(y=(-9.4 * upper_lid + 1.2 * lower_lid) * front),
        'cheek_raise': _vector(x=0.8 * side * cheek, y=3.4 * cheek, z=2.8 * cheek),
        'nose_wrinkle': _vector(
            x=1.2 * side * gaussian(ax, y, 13, -5, 5, 6) * front,
            y=(3.2 * gaussian(ax, y, 13, -4, 7, 9) - 1.5 * gaussian(ax, y, 0, 50, 12, 7)) * front,
            z=0.9 * np.cos((y - 30) * 2 * np.pi / 8.0) * gaussian(ax, y, 6, 31, 8, 8) * front,
        ),
    }  # fmt: skip


def _mouth(ax, side, y, front, lip_side):
    """Returns the movements of the lips and the chin."""
    corner = gaussian(ax, y, 27, -35, 10, 11) * front
    pull = np.clip(ax / 27.0, 0, 1) ** 2.0 * np.exp(-0.5 * ((ax - 27.0).clip(0) / 9.0) ** 2)
    pull = pull * gaussian(0, y, 0, -36, 1, 10) * front  # Grows along the lips to the corner.
    across = np.clip(1.0 - (ax / 29.0) ** 2, 0.0, 1.0) * front
    upper, lower = np.clip(lip_side, 0, 1) * across, np.clip(-lip_side, 0, 1) * across
    upper_lip = upper * smoothstep(-8, -26, y)
    lower_lip = lower * smoothstep(-62, -45, y)
    mouth = gaussian(ax, y, 0, -36, 24, 11) * front
    fold = gaussian(ax - 0.5 * (-y - 12), y, 25, -14, 3.6, 12) * front
    puff = gaussian(ax - 0.5 * (-y - 12), y, 33, -12, 6, 12) * front
    middle = np.exp(-0.5 * (ax / 13.0) ** 2) * front
    return {
        'smile': _vector(x=8.5 * side * pull + 1.0 * side * puff,
                         y=9.0 * pull + 2.4 * puff - 1.6 * middle * gaussian(0, y, 0, -36, 1, 10),
                         z=-3.4 * pull + 2.4 * puff - 1.7 * fold - 1.5 * mouth),
        'upper_lip_raise': _vector(y=4.0 * upper_lip + 2.0 * fold, z=0.8 * puff - 1.0 * fold),
        'lips_part': _vector(y=1.5 * upper_lip - 2.2 * lower_lip),
        'lips_press': _vector(y=-1.3 * upper * gaussian(0, y, 0, -28, 1, 4)
                              + 1.6 * lower * gaussian(0, y, 0, -43, 1, 4.5),
                              x=-1.2 * side * corner, z=-1.2 * mouth),
        'lip_stretch': _vector(x=5.0 * side * corner, y=-2.0 * corner,
                               z=-2.0 * corner - 0.8 * mouth),
        'corner_down': _vector(x=0.8 * side * corner,
                               y=-5.0 * gaussian(ax, y, 26, -37, 8, 10) * front,
                               z=-1.2 * corner + 1.0 * gaussian(ax, y, 30, -50, 8, 6) * front),
        'chin_raise': _vector(y=2.6 * gaussian(ax, y, 0, -52, 17, 13) * front * (lip_side < 0)
                              + 1.6 * gaussian(ax, y, 0, -32, 14, 6) * front * (lip_side >= 0),
                              z=1.6 * gaussian(ax, y, 0, -57, 11, 5) * front
                              + 0.8 * lower * gaussian(0, y, 0, -42, 1, 5)),
        'lips_round': _vector(x=-5.0 * side * corner, z=2.2 * mouth),
    }  # fmt: skip


def _jaw_drop(points, ax, lip_side, front):
    """Returns the jaw's turn about its hinge by 17 degrees, with the skin that follows it."""
    y, z = points[..., 1], points[..., 2]
    below = np.clip(-lip_side, 0.0, 1.0)
    beside = smoothstep(-5.0, -45.0, y + 0.15 * (ax - 26.0).clip(0))
    in_mouth = np.exp(-0.5 * (ax / 20.0) ** 4) * smoothstep(15.0, 45.0, z)
    weight = in_mouth * below + (1.0 - in_mouth) * beside * smoothstep(-30.0, 30.0, z)
    # At the corners both lips follow half way.
    weight = weight * smoothstep(-118.0, -84.0, y)
    angle = np.radians(17.0)
    arm_y, arm_z = y - _HINGE[1], z - _HINGE[2]
    down = arm_y * (np.cos(angle) - 1) - arm_z * np.sin(angle)
    back = arm_z * (np.cos(angle) - 1) + arm_y * np.sin(angle)
    return _vector(y=weight * down, z=weight * back)


def expression_fields(points, carried, lip_side, mean_head, part):
    """Returns the fields of the six expressions and of a blink, [7, V, 3] mm.

    Args:
        points: [V, 3] mm, the mean face.
        carried: [V, 3] mm, where rigid parts (eyeballs, ears, teeth) take their movement.
        lip_side: [V] +1 above the mouth's seam, -1 below.
        mean_head: the Head the mesh was built from.
        part: [V] int, 0 skin, 1 ear, 2 eyeball, 3 teeth.
    """
    x, y, z = np.moveaxis(carried, -1, 0)
    ax, side = np.hypot(x, 1.5), np.tanh(x / 6.0)
    front = smoothstep(-10.0, 30.0, z)
    skin = (part == 0)[:, None]
    movements = {**_upper_face(ax, side, y, front), **_mouth(ax, side, y, front, lip_side)}
    movements = {name: field * skin for name, field in movements.items()}
    jaw = _jaw_drop(points, ax, lip_side, front)
    movements['jaw_drop'] = jaw * ((part == 0) | ((part == 3) & (lip_side < 0)))[:, None]
    fields = [
        sum(weight * movements[name] for name, weight in _WEIGHTS[expression].items())
        for expression in NAMES
    ]
    return np.stack([*fields, movements['blink']])


def weights_over_time(frames, rng):
    """Returns one expression's strength from neutral over the apex to neutral, [frames] in [0, 1].

    The first and the last frame are neutral; the apex lies between 40 % and 60 % of the time.

    Args:
        frames: how many.
        rng: numpy Generator, for the moment and the height of the apex.
    """
    apex, strength = rng.uniform(0.4, 0.6), rng.uniform(0.8, 1.1)
    time = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)
    hold = 0.06
    rise = smoothstep(0.06, apex - hold, time)
    fall = smoothstep(0.94, apex + hold, time)
    return (strength * np.minimum(rise, fall)).astype(np.float32)


def blinks_over_time(frames, rng):
    """Returns how closed the eyes are, [frames] in [0, 1]: one short blink in a third of sequences.

    Never in the first or the last sixth, which are neutral.
    """
    blink = np.zeros(frames, np.float32)
    middle, happens = rng.uniform(0.25, 0.75), rng.random() < 0.33
    if happens and frames >= 8:
        time = np.linspace(0.0, 1.0, frames)
        blink += np.clip(1.3 - np.abs(time - middle) * max(18.0, frames / 2.5), 0.0, 1.0)
    return blink
