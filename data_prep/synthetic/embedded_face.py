"""The parametric face: mean head + identity fields + expression fields, all linear, in mm.

The mesh is one list of vertices: the head's grid (see head.py), two ears, two eyeballs and two
rows of teeth. Frame: the canonical frame, nose tip of the mean face at about (0, 0, 90).
"""

import functools

import numpy as np

from data_prep.synthetic import expressions, head, identity
from data_prep.synthetic.parts import GridPart
from seqface_jax.geometry.smoothstep import smoothstep

EXPRESSIONS = expressions.NAMES
PARTS = ('skin', 'ear', 'eyeball', 'teeth')
_MATERIALS = ('skin', 'ear', 'eye', 'teeth')  # Materials of PARTS, for the renderer.
_BACK_MM = -55.0  # No camera in front sees the head behind it.
_EAR_CENTER = np.array([68.5, 13.0, -15.0])  # The subject's left ear, mm.
_EAR_TILT = np.radians(12.0)
_SPREAD = 0.75  # Standard deviation of the sampled parameters; their fields are for 1.0.
_LARGEST = 2.3  # Parameters are cut here: no caricatures.


def _ear():
    """Returns the left ear's vertices, [R * C, 3] mm, and its grid shape.

    Rows run from the ear's middle over the shell and the rim to the skull behind it.
    """
    angle = np.linspace(-np.pi, np.pi, 49)[None, :]
    # Distance from the middle as a share of the outline, and height over the ear's plane.
    radius = np.array(
        [0.0, 0.2, 0.34, 0.44, 0.54, 0.64, 0.74, 0.83, 0.9, 0.96, 1.0, 1.0, 0.95, 0.8, 0.6]
    )
    relief = np.array(
        [-5, -4.8, -3.6, -0.5, 1.4, 1.6, 0.2, -0.4, 1.6, 2.6, 1.6, -0.4, -2.4, -6.0, -14.0]
    )
    height = relief[:, None] * np.ones_like(angle)
    down = np.clip(-np.sin(angle), 0.0, 1.0) ** 3  # The lobe has no rim.
    height = height * (1 - 0.75 * down * (height > -3)) - 0.4 * down
    half_width = 14.0 + 2.0 * np.sin(angle)
    backward = radius[:, None] * half_width * np.cos(angle)
    upward = radius[:, None] * (28.5 + 1.5 * np.sin(angle)) * np.sin(angle)
    # The front edge lies on the head, the back edge stands off.
    out = 2.0 + 0.8 * height + (backward + 14.0) * 0.3 * np.minimum(radius[:, None] * 1.6, 1.0)
    attached = smoothstep(-4.0 - 6.0 * down, -14.0, backward) * (radius[:, None] > 0.5)
    out = out * (1 - attached) - 4.0 * attached
    cosine, sine = np.cos(_EAR_TILT), np.sin(_EAR_TILT)
    y = upward * cosine + backward * sine * 0.4
    z = -(backward * cosine - upward * -sine)
    points = np.stack([out, y, z], axis=-1) + _EAR_CENTER
    return points.reshape(-1, 3), height.shape


def _sphere(center, radius, rows=17, columns=33):
    """Returns the vertices of a ball whose pole looks along +z, and its grid shape."""
    polar = np.linspace(0.0, np.pi, rows)[:, None]
    around = np.linspace(0.0, 2 * np.pi, columns)[None, :]
    ball = np.stack(
        np.broadcast_arrays(
            np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)
        ),
        axis=-1,
    )
    return (ball * radius + center).reshape(-1, 3), (rows, columns)


def _teeth(top, bottom):
    """Returns the vertices of one dental arch between two heights, and its grid shape."""
    x = np.linspace(-27.0, 27.0, 25)[None, :]
    y = np.linspace(top, bottom, 4)[:, None]
    x, y = np.broadcast_arrays(x, y)
    z = 66.0 - (np.abs(x) / 24.0) ** 2.0 * 16.0 - 0.02 * (y + 35.0) ** 2
    return np.stack([x, y, z], axis=-1).reshape(-1, 3), (4, 25)


def _mirrored(points, shape):
    """Returns the part reflected to the subject's right, wound the same way round."""
    grid = points.reshape(*shape, 3)[:, ::-1] * np.array([-1.0, 1.0, 1.0])
    return grid.reshape(-1, 3)


class FaceModel:
    """A linear face: vertices = mean + identity @ fields + expression weights @ fields.

    Attributes:
        mean: [V, 3] float32 mm.
        triangles: [F, 3] int32, counter-clockwise seen from outside.
        identity_names: the parameters' names, in the order of the identity vector.
        num_identity: how many there are.
        part: [V] int8, index into PARTS.
        rigid_center: [V, 3] mm; for eyeballs their centre, else the vertex itself.
        landmarks: dict of name to vertex index.
        outside: [V] bool, False inside the mouth, behind the eyeballs and on ears and teeth.
        name: of the kind of face.
        detailed: its looks are finer and painted all round, see skin.paint and hair.hair_shell.
        head_shape: rows and columns of the head's grid, which is the first part.
        grid_offsets: list of (name, first vertex, (rows, columns)) of all parts.
    """

    name = 'embedded'
    detailed = False

    def __init__(self):
        mean_head = head.mean_head()
        self._build_mesh(mean_head)
        self._build_fields(mean_head)
        self.landmarks = self._find_landmarks(mean_head)

    def _build_mesh(self, mean_head):
        """Joins head, ears, eyeballs and teeth into one mesh."""
        self.head_shape = mean_head.grid.shape[:2]
        ear, ear_shape = _ear()
        ball, ball_shape = _sphere(head.EYE_CENTER, head.EYE_RADIUS)
        upper, arch_shape = _teeth(-26.5, -37.0)
        lower, _ = _teeth(-37.2, -47.0)
        pieces = [
            ('head', 0, mean_head.grid.reshape(-1, 3), self.head_shape),
            ('left_ear', 1, ear, ear_shape),
            ('right_ear', 1, _mirrored(ear, ear_shape), ear_shape),
            ('left_eye', 2, ball, ball_shape),
            ('right_eye', 2, _mirrored(ball, ball_shape), ball_shape),
            ('upper_teeth', 3, upper, arch_shape),
            ('lower_teeth', 3, lower, arch_shape),
        ]
        self.grid_offsets, triangles, first = [], [], 0
        for name, _, points, shape in pieces:
            self.grid_offsets.append((name, first, shape))
            triangles.append(head.grid_triangles(*shape) + first)
            first += len(points)
        self.mean = np.concatenate([piece[2] for piece in pieces]).astype(np.float32)
        self.part = np.repeat(
            np.array([piece[1] for piece in pieces], np.int8), [len(piece[2]) for piece in pieces]
        )
        self.triangles = np.concatenate(triangles).astype(np.int32)

    def _build_fields(self, mean_head):
        """Takes every displacement field at every vertex."""
        points = self.mean.astype(np.float64)
        side = np.where(points[:, :1] > 0, 1.0, -1.0)
        mirror = np.concatenate([side, np.ones_like(side), np.ones_like(side)], axis=1)
        is_ear, is_eye, is_teeth = (self.part == k for k in (1, 2, 3))
        self.rigid_center = points.copy()
        self.rigid_center[is_eye] = (head.EYE_CENTER * mirror)[is_eye]
        carried = self.rigid_center.copy()
        ear_center = _EAR_CENTER * mirror
        carried[is_ear] = ear_center[is_ear]
        # The teeth move as the lips' middle does, so that they stay behind them.
        upper_teeth = is_teeth & (points[:, 1] > -37.1)
        carried[is_teeth] = np.where(
            upper_teeth[is_teeth, None], [0.0, -24.0, 66.0], [0.0, -52.0, 66.0]
        )
        lip_side = np.zeros(len(points))
        rows, columns = self.head_shape
        lip_side[: rows * columns] = mean_head.lip_side.ravel()
        lip_side[is_teeth] = np.where(upper_teeth[is_teeth], 1.0, -1.0)
        fields = identity.identity_fields(carried, lip_side, is_ear * 1.0, (points - ear_center))
        self.identity_names = tuple(fields)
        self.num_identity = len(fields)
        self._identity = np.stack(list(fields.values())).astype(np.float32).reshape(len(fields), -1)
        moves = expressions.expression_fields(points, carried, lip_side, mean_head, self.part)
        self._expressions = moves.astype(np.float32).reshape(len(moves), -1)
        opening = np.zeros(len(points), bool)
        opening[: rows * columns] = mean_head.inside_eye.ravel() > 0.02
        in_mouth = np.zeros(len(points), bool)
        fold = mean_head.fold_rows
        in_mouth[(fold.start + 2) * columns : (fold.stop - 2) * columns] = True
        in_mouth &= np.abs(points[:, 0]) < head.MOUTH_HALF_WIDTH
        front_of_eye = is_eye & (points[:, 2] > head.EYE_CENTER[2] + 3.0)
        self.outside = (front_of_eye | (self.part == 0)) & ~opening & ~in_mouth
        near_eye = np.hypot(np.abs(points[:, 0]) - head.EYE_CENTER[0], points[:, 1] - 36.0) < 16.0
        near_eye &= (points[:, 2] > head.EYE_CENTER[2] - 2.0) & (self.part == 0) & ~opening
        self._lids = [np.flatnonzero(near_eye & (side[:, 0] * sign > 0)) for sign in (1, -1)]
        self._eyeballs = [np.flatnonzero(is_eye & (side[:, 0] * sign > 0)) for sign in (1, -1)]

    def _find_landmarks(self, mean_head):
        """Returns vertex indices of well-known points."""
        rows, columns = self.head_shape
        points = self.mean[: rows * columns]
        fold = mean_head.fold_rows.start
        seam = np.arange(fold * columns, (fold + 1) * columns)

        def nearest(x, y, z, among=None):
            among = np.arange(rows * columns) if among is None else among
            return int(among[np.argmin(np.linalg.norm(points[among] - [x, y, z], axis=1))])

        eye_x, eye_y, eye_z = head.EYE_CENTER
        return {
            'nose_tip': nearest(0, 0, 91),
            'nasion': nearest(0, 43, 73),
            'glabella': nearest(0, 57, 77),
            'subnasale': nearest(0, -13, 72),
            'mouth_middle': nearest(0, -35, 72, seam),
            'mouth_left': nearest(head.MOUTH_HALF_WIDTH, -35, 60, seam),
            'mouth_right': nearest(-head.MOUTH_HALF_WIDTH, -35, 60, seam),
            'chin_tip': nearest(0, -64, 72),
            'chin_bottom': nearest(0, -77, 60),
            'left_eye_inner': nearest(eye_x - 14.5, eye_y - 1.3, eye_z + 6),
            'left_eye_outer': nearest(eye_x + 13.0, eye_y + 1.0, eye_z + 4),
            'right_eye_inner': nearest(-eye_x + 14.5, eye_y - 1.3, eye_z + 6),
            'right_eye_outer': nearest(-eye_x - 13.0, eye_y + 1.0, eye_z + 4),
        }

    def parts(self, fine, all_round):
        """Returns the parts that are rendered.

        Args:
            fine: all triangles of the head; else every second column's, enough for small photos.
            all_round: the head turns so far that its back is seen.
        """
        parts = []
        for name, first, shape in self.grid_offsets:
            material = _MATERIALS[self.part[first]]
            if name == 'head':
                kept = None if all_round else self.mean[: shape[0] * shape[1], 2] > _BACK_MM
                parts.append(GridPart(name, material, first, shape, 1 if fine else 2, kept))
            else:
                parts.append(GridPart(name, material, first, shape))
        return parts

    def collar_scale(self, neutral):  # noqa: ARG002 - the collar is made for this neck.
        """Returns by how much the clothes must be wider and reach further back for the neck."""
        return 1.0, 1.0

    def scalp(self, vertices):
        """Returns the head's grid, [R, C, 3] mm, on which hair grows."""
        rows, columns = self.head_shape
        return vertices[: rows * columns].reshape(rows, columns, 3)

    def sample_identity(self, rng, sex=None):
        """Draws one identity, [num_identity] float32, in standard deviations.

        Args:
            rng: numpy Generator.
            sex: 'F', 'M' or None; shifts the mean of some parameters.
        """
        sample = np.clip(rng.standard_normal(self.num_identity) * _SPREAD, -_LARGEST, _LARGEST)
        if sex is not None:
            shift = [identity.SEX_DIFFERENCE.get(name, 0.0) for name in self.identity_names]
            sample = sample + np.array(shift) * (1.0 if sex == 'M' else -1.0)
        return sample.astype(np.float32)

    def neutral(self, identity_vector):
        """Returns the neutral face of an identity, [V, 3] float32 mm."""
        return self.vertices(identity_vector, np.zeros(len(EXPRESSIONS), np.float32))

    def vertices(self, identity_vector, expression_weights, blink=0.0):
        """Returns a face with an expression, [V, 3] float32 mm.

        Args:
            identity_vector: [num_identity] in standard deviations.
            expression_weights: [6] in [0, 1], in the order of EXPRESSIONS.
            blink: 0 is eyes as the expression has them, 1 is closed.
        """
        moved = np.asarray(identity_vector, np.float32) @ self._identity
        return self.express(self.mean + moved.reshape(-1, 3), expression_weights, blink)

    def express(self, neutral, expression_weights, blink=0.0):
        """Returns a neutral face, [V, 3] mm, with an expression; arguments as of `vertices`."""
        weights = np.append(np.asarray(expression_weights, np.float32), np.float32(blink))
        used = np.flatnonzero(weights)
        moved = weights[used] @ self._expressions[used]
        return self._lids_over_eyeballs(neutral + moved.reshape(-1, 3))

    def _lids_over_eyeballs(self, vertices):
        """Pushes lid vertices that have moved into an eyeball back onto it, as real lids glide."""
        for lids, eyeball in zip(self._lids, self._eyeballs, strict=True):
            center = (vertices[eyeball].min(axis=0) + vertices[eyeball].max(axis=0)) / 2
            offset = vertices[lids] - center
            distance = np.linalg.norm(offset, axis=1)
            wanted = np.maximum(distance, head.EYE_RADIUS + 0.7)
            vertices[lids] = center + offset * (wanted / np.maximum(distance, 1e-6))[:, None]
        return vertices


@functools.lru_cache(maxsize=1)
def face_model():
    """Returns the one face model of this process."""
    return FaceModel()
