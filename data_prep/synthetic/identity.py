"""What identities differ in: named displacement fields of the mean head, one per parameter.

Every field is written for one standard deviation of a natural population, in mm, in the
canonical frame. x is the subject's left; fields of paired parts are mirrored.
"""

import numpy as np

from data_prep.synthetic.head import EYE_CENTER, gaussian
from seqface_jax.geometry.smoothstep import smoothstep

_EX, _EY, _EZ = EYE_CENTER


def _along(axis, weight):
    """Returns a field that moves along one axis (0 x, 1 y, 2 z) by `weight` mm."""
    field = np.zeros((*weight.shape, 3))
    field[..., axis] = weight
    return field


def _scale(centers, center, factors, weight):
    """Returns a field that scales about a centre by factors - 1 where weight is 1."""
    return (centers - np.asarray(center)) * np.asarray(factors) * weight[..., None]


def _global_fields(p, ax, side, y, z, front):
    """Returns the fields that change the proportions of the whole head."""
    below = smoothstep(40.0, 10.0, y) * smoothstep(-140.0, -95.0, y)
    above = smoothstep(40.0, 110.0, y)
    one = np.ones_like(y)
    return {
        'face_length': _along(1, np.clip(y + 2.0, -80.0, 45.0) * 0.045 * smoothstep(-150, -85, y)),
        'head_width': _along(0, 0.038 * p[..., 0]),
        'head_depth': _along(2, 0.033 * (z - 40.0)),
        'head_size': _scale(p, (0.0, 0.0, 40.0), (0.022, 0.022, 0.022), one),
        'cranium_height': _along(1, 5.0 * above),
        'upper_face_width': _along(0, 2.2 * side * gaussian(0, y, 0, 60, 1, 35)),
        'lower_face_width': _along(0, 2.6 * side * gaussian(0, y, 0, -45, 1, 26)),
        'lower_face_length': _along(1, -2.8 * below * smoothstep(-10, -75, y)),
        'midface_length': _along(1, -1.6 * smoothstep(36, -8, y) * smoothstep(-150, -90, y)),
        'face_flatness': _along(2, -2.0 * np.exp(-0.5 * (ax / 26.0) ** 2) * front)
        + _along(2, 2.2 * gaussian(ax, y, 52, 15, 14, 36) * front),
        'profile_convexity': _along(2, 2.2 * gaussian(0, y, 0, -5, 1, 30) * front)
        - _along(2, 1.6 * gaussian(0, y, 0, 85, 1, 28) * front)
        - _along(2, 1.8 * gaussian(0, y, 0, -70, 1, 18) * front),
    }


def _brow_fields(p, ax, side, y, z, front):
    """Returns the fields of forehead, brows and temples."""
    return {
        'forehead_slope': _along(2, -0.075 * np.clip(y - 55.0, 0.0, 80.0) * front),
        'forehead_bulge': _along(2, 2.2 * gaussian(ax, y, 0, 88, 38, 18) * front),
        'forehead_width': _along(0, 2.4 * side * gaussian(0, y, 0, 85, 1, 24)),
        'forehead_tubers': _along(2, 1.3 * gaussian(ax, y, 28, 84, 13, 12) * front),
        'brow_ridge': _along(2, 1.8 * gaussian(ax, y, 22, 53, 19, 6) * front),
        'glabella': _along(2, 1.2 * gaussian(ax, y, 0, 54, 9, 8) * front),
        'brow_height': _along(1, 1.6 * gaussian(ax, y, 28, 53, 20, 6.5) * front),
        'temple_width': _along(0, 2.3 * side * gaussian(0, y, 0, 58, 1, 16)),
    }


def _eye_fields(p, ax, side, y, z, front):
    """Returns the fields of the eyes; the eyeballs are carried along by their centres."""
    dx, dy = ax - _EX, y - _EY
    plateau = np.exp(-0.5 * (np.hypot(dx / 17.0, dy / 12.0)) ** 4) * front
    lids = np.exp(-0.5 * (np.hypot(dx / 17.0, dy / 11.0)) ** 3) * front
    upper, lower = smoothstep(-1.0, 5.0, dy), smoothstep(1.0, -4.0, dy)
    return {
        'eye_distance': _along(0, 1.5 * side * plateau),
        'eye_depth': _along(2, 1.5 * plateau),
        'eye_height': _along(1, 1.3 * plateau),
        'eye_width': _along(0, 0.055 * dx * side * lids),
        'eye_opening': _along(
            1, (0.55 * upper - 0.35 * lower) * gaussian(dx, dy, 0, 0, 12, 6) * front
        ),
        'eye_tilt': _along(1, 0.075 * dx * lids),
        'upper_lid_fullness': _along(2, 1.2 * gaussian(dx, dy, 1, 9.0, 12, 3.5) * front),
        'eye_bags': _along(2, 0.8 * gaussian(dx, dy, -1, -10.0, 10, 2.6) * front)
        - _along(2, 0.5 * gaussian(dx, dy, -5, -14.5, 9, 2.0) * front),
        'inner_socket_depth': _along(2, 1.1 * gaussian(dx, dy, -12, 5.0, 5, 8) * front),
    }


def _nose_fields(p, ax, side, y, z, front):
    """Returns the fields of the nose."""
    nose = np.exp(-0.5 * (ax / 13.0) ** 2) * front
    lower = gaussian(0, y, 0, -4, 1, 8)
    ridge = np.exp(-0.5 * (ax / 8.0) ** 2) * front
    base = np.exp(-0.5 * (ax / 16.0) ** 4) * smoothstep(34, 0, y) * smoothstep(-24, -12, y) * front
    side_x = ax * np.exp(-0.5 * (ax / 17.0) ** 4) * front
    return {
        'nose_length': _along(1, -1.9 * base),
        'nose_width': _along(0, 0.105 * side * side_x * gaussian(0, y, 0, -6, 1, 8)),
        'nose_protrusion': _along(2, 1.7 * nose * gaussian(0, y, 0, -1, 1, 15)),
        'bridge_height': _along(2, 1.5 * ridge * gaussian(0, y, 0, 31, 1, 11)),
        'bridge_width': _along(0, 0.11 * side * side_x * gaussian(0, y, 0, 24, 1, 12)),
        'nose_hump': _along(2, 1.1 * ridge * gaussian(0, y, 0, 20, 1, 7)),
        'nasion_depth': _along(
            2, -1.2 * np.exp(-0.5 * (ax / 9) ** 2) * gaussian(0, y, 0, 43, 1, 6) * front
        ),
        'tip_rotation': _along(1, 1.6 * nose * smoothstep(66, 84, z) * gaussian(0, y, 0, 0, 1, 7)),
        'tip_width': _along(0, 0.11 * side * side_x * gaussian(0, y, 0, 1, 1, 6)),
        'tip_bulb': _along(2, 0.9 * gaussian(ax, y, 0, 1, 6, 5) * front),
        'nostril_height': _along(1, 0.9 * gaussian(ax, y, 13, -6, 5, 6) * front),
        'wing_fullness': _along(2, 1.1 * gaussian(ax, y, 13.5, -4, 4.5, 5) * front),
        'septum_height': _along(1, -1.0 * gaussian(ax, y, 0, -9, 4, 4) * lower * front),
    }


def _cheek_fields(p, ax, side, y, z, front):
    """Returns the fields of cheekbones and cheeks."""
    bone = gaussian(ax, y, 48, 14, 15, 12) * front
    cheek = gaussian(ax, y, 45, -18, 15, 18) * front
    return {
        'cheekbone_width': _along(
            0, 2.4 * side * gaussian(0, y, 0, 14, 1, 17) * smoothstep(25, 60, ax)
        ),
        'cheekbone_depth': _along(2, 2.0 * bone),
        'cheekbone_height': _along(2, 1.3 * gaussian(ax, y, 44, 22, 14, 7) * front)
        - _along(2, 1.3 * gaussian(ax, y, 44, 4, 14, 7) * front),
        'cheek_fullness': _along(2, 2.0 * cheek) + _along(0, 1.8 * side * cheek),
        'lower_cheek_fullness': _along(2, 1.4 * gaussian(ax, y, 34, -40, 11, 13) * front)
        + _along(0, 1.8 * side * gaussian(ax, y, 42, -42, 13, 13)),
        'smile_fold_depth': _along(2, 0.7 * gaussian(ax, y, 33, -12, 6, 10) * front)
        - _along(2, 0.9 * gaussian(ax - 0.5 * (-y - 14), y, 26, -14, 3.5, 11) * front),
        'midface_depth': _along(2, 1.5 * gaussian(ax, y, 26, 8, 13, 14) * front),
    }


def _mouth_fields(p, ax, side, y, z, front, lip_side):
    """Returns the fields of the mouth."""
    mouth = np.exp(-0.5 * (np.hypot(ax / 27.0, (y + 36.0) / 15.0)) ** 3) * front
    upper = np.clip(lip_side, 0.0, 1.0) * np.exp(-0.5 * (ax / 17.0) ** 2) * front
    lower = np.clip(-lip_side, 0.0, 1.0) * np.exp(-0.5 * (ax / 17.0) ** 2) * front
    # Nothing moves at the seam, or the lips would part.
    upper_lip = upper * gaussian(0, y, 0, -28.0, 1, 4.0) * smoothstep(-35.3, -30.0, y)
    lower_lip = lower * gaussian(0, y, 0, -43.5, 1, 4.5) * smoothstep(-35.3, -40.0, y)
    return {
        'mouth_width': _along(0, 0.062 * side * ax * mouth),
        'mouth_height': _along(
            1, 1.2 * np.exp(-0.5 * (np.hypot(ax / 30.0, (y + 36.0) / 13.0)) ** 3) * front
        ),
        'mouth_protrusion': _along(2, 1.8 * gaussian(ax, y, 0, -35, 19, 12) * front),
        'upper_lip_thickness': _along(1, 1.1 * upper_lip) + _along(2, 0.5 * upper_lip),
        'lower_lip_thickness': _along(1, -1.1 * lower_lip) + _along(2, 0.6 * lower_lip),
        'upper_lip_protrusion': _along(2, 0.9 * upper * gaussian(0, y, 0, -31, 1, 6)),
        'lower_lip_protrusion': _along(2, 1.0 * lower * gaussian(0, y, 0, -41, 1, 6)),
        'cupid_bow': _along(1, 0.6 * gaussian(ax, y, 5.5, -28, 3.2, 3.5) * front)
        - _along(1, 0.5 * gaussian(ax, y, 0, -28, 2.4, 3.5) * front),
        'mouth_corner_height': _along(1, 1.0 * gaussian(ax, y, 25, -35, 8, 8) * front),
        'philtrum_depth': _along(2, -0.5 * gaussian(ax, y, 0, -20, 2.6, 6) * front),
    }


def _chin_fields(p, ax, side, y, z, front):
    """Returns the fields of chin, jaw, neck and the fat under the chin."""
    low = smoothstep(-35, -70, y) * smoothstep(-120, -85, y) * smoothstep(20, 45, z)
    jaw = gaussian(0, y, 0, -48, 1, 19) * smoothstep(15, 45, ax)
    under = np.exp(-0.5 * (ax / 30) ** 2 - 0.5 * ((z - 35) / 16) ** 2 - 0.5 * ((y + 82) / 9) ** 2)
    neck = smoothstep(-55, -95, y)
    return {
        'chin_length': _along(1, -2.4 * low * np.exp(-0.5 * (ax / 26) ** 2)),
        'chin_width': _along(0, 0.13 * side * ax * gaussian(ax, y, 0, -66, 26, 12) * front),
        'chin_protrusion': _along(2, 2.2 * gaussian(ax, y, 0, -66, 19, 13) * front),
        'chin_roundness': _along(2, 1.2 * gaussian(ax, y, 15, -64, 7, 9) * front)
        - _along(2, 0.8 * gaussian(ax, y, 0, -64, 6, 9) * front),
        'chin_fold': _along(2, -1.1 * gaussian(ax, y, 0, -52, 14, 4.5) * front),
        'chin_cleft': _along(2, -0.6 * gaussian(ax, y, 0, -65, 2.2, 6) * front),
        'jaw_width': _along(0, 2.8 * side * jaw),
        'jaw_angle': _along(
            1, -3.0 * gaussian(ax, y, 52, -48, 14, 17) * smoothstep(-45, 5, z) * front
        ),
        'jaw_corner': _along(
            0, 2.0 * side * np.exp(-0.5 * (((y + 42) / 12) ** 2 + ((z - 8) / 16) ** 2))
        ),
        'double_chin': _along(1, -3.0 * under) + _along(2, 1.6 * under),
        'neck_width': _along(0, 0.07 * p[..., 0] * neck),
        'neck_depth': _along(2, 2.5 * neck * smoothstep(-20, 20, z)),
    }


def _ear_fields(p, ear, ear_local):
    """Returns the fields of the ears; `ear_local` is the position about the ear's centre, mm."""
    side = np.sign(p[..., 0])
    out = np.clip(ear_local[..., 0] * side, 0.0, None)
    return {
        'ear_size': ear_local * 0.07 * ear[..., None],
        'ear_protrusion': _along(0, 0.28 * side * out * ear),
        'ear_height': _along(1, 2.2 * ear),
        'ear_lobe': _along(1, -2.5 * ear * smoothstep(-12, -26, ear_local[..., 1])),
    }


def _asymmetry_fields(p, ax, y, z, front):
    """Returns the fields that differ between left and right."""
    x = p[..., 0]
    return {
        'nose_deviation': _along(0, 0.9 * gaussian(ax, y, 0, 0, 14, 16) * front),
        'jaw_deviation': _along(
            0, 1.3 * smoothstep(-15, -70, y) * smoothstep(-110, -80, y) * front
        ),
        'eye_level_difference': _along(
            1,
            0.6
            * np.sign(x)
            * np.exp(-0.5 * (np.hypot((ax - _EX) / 17, (y - _EY) / 13)) ** 4)
            * front,
        ),
        'mouth_level_difference': _along(1, 0.03 * x * gaussian(ax, y, 0, -36, 26, 12) * front),
        'cheek_difference': _along(
            2, 0.9 * np.tanh(x / 12) * gaussian(ax, y, 40, -5, 18, 24) * front
        ),
    }


def identity_fields(points, lip_side, ear, ear_local):
    """Returns the displacement fields of one standard deviation of every parameter.

    Args:
        points: [V, 3] mm where the fields are taken; parts that move rigidly give their centre.
        lip_side: [V] +1 above the mouth's seam, -1 below.
        ear: [V] 1 on the ears, else 0.
        ear_local: [V, 3] mm, position relative to the ear's centre.

    Returns:
        dict of parameter name to [V, 3] mm.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    # Odd parts must vanish smoothly on the midline, so `side` is a soft sign.
    ax, side = np.hypot(x, 1.5), np.tanh(x / 6.0)
    front = smoothstep(-30.0, 25.0, z)
    args = (points, ax, side, y, z, front)
    return {
        **_global_fields(*args),
        **_brow_fields(*args),
        **_eye_fields(*args),
        **_nose_fields(*args),
        **_cheek_fields(*args),
        **_mouth_fields(*args, lip_side),
        **_chin_fields(*args),
        **_ear_fields(points, ear, ear_local),
        **_asymmetry_fields(points, ax, y, z, front),
    }


# How a man's face differs from a woman's on average, in standard deviations on either side.
SEX_DIFFERENCE = {
    'head_size': 0.7,
    'brow_ridge': 0.8,
    'glabella': 0.5,
    'brow_height': -0.6,
    'forehead_slope': 0.5,
    'jaw_width': 0.6,
    'jaw_corner': 0.6,
    'chin_width': 0.6,
    'chin_length': 0.5,
    'nose_protrusion': 0.4,
    'nose_width': 0.4,
    'lower_face_length': 0.4,
    'upper_lip_thickness': -0.5,
    'lower_lip_thickness': -0.4,
    'eye_opening': -0.4,
    'cheek_fullness': -0.2,
    'neck_width': 1.0,
}
