"""One person as a surface: face, hair and clothes, put into a pose and an expression."""

import numpy as np

from data_prep.synthetic import head
from data_prep.synthetic.embedded_face import face_model
from data_prep.synthetic.expressions import NAMES
from data_prep.synthetic.hair import curtain, hair_shell
from data_prep.synthetic.parts import GridPart, grid_normals

_NECK = np.array([0.0, -90.0, -25.0])  # The head turns about this point, mm.
# Collar and shoulders; columns as in head._SECTIONS.
_BUST = np.array(
    [
        [-112.0, -98.0, -92.0, 58.0, 20.0, -92.0, -34.0],
        [-113.0, -99.0, -93.0, 66.0, 26.0, -99.0, -35.0],
        [-124.0, -108.0, -103.0, 76.0, 33.0, -104.0, -37.0],
        [-138.0, -122.0, -117.0, 116.0, 44.0, -112.0, -40.0],
        [-158.0, -138.0, -133.0, 168.0, 56.0, -118.0, -42.0],
        [-190.0, -166.0, -160.0, 204.0, 68.0, -122.0, -44.0],
        [-270.0, -268.0, -265.0, 212.0, 80.0, -124.0, -46.0],
    ]
)


def _bust(looks, scale):
    """Returns the grid of collar and shoulders, [R, C, 3] mm, scaled across and to the back."""
    sections = _BUST.copy()
    sections[:, 3] *= scale[0]
    sections[:, 5] = sections[:, 6] + (sections[:, 5] - sections[:, 6]) * scale[1]
    sections[:3, :3] += looks.collar_height
    rows = np.concatenate([np.linspace(sections[k, 0], sections[k + 1, 0], 6, endpoint=False)
                           for k in range(len(sections) - 1)])  # fmt: skip
    return head.loft(sections, rows, np.linspace(-np.pi, np.pi, 65)).astype(np.float32)


class Person:
    """One identity with its looks.

    Args:
        identity, looks: see below.
        face: what the identity is of: embedded_face.FaceModel, which is the default, or a MeshFace.
        fine: all triangles of the head; else fewer where they are enough for small photos.
        all_round: the head turns so far that its back is seen.
        deformation: moves the neutral face further, as `deformation.sample_deformation` returns it.

    Attributes:
        identity: [K] in standard deviations.
        looks: Appearance.
        neutral: [V, 3] float32 mm, the face model's vertices.
        parts: list of GridPart or MeshPart: the face model's, then 'hair' and 'curtain' where
            there are some, then 'bust'.
        triangles: [F, 3] int32 over all parts.
        triangle_part: [F] which of `parts` a triangle is of.
        triangle_cell: [F] the triangle's number in its part.
    """

    def __init__(self, identity, looks, face=None, *, fine=True, all_round=False, deformation=None):
        self.identity = identity
        self.looks = looks
        self.model = face or face_model()
        self.parts = self.model.parts(fine, all_round)
        self.neutral = self.model.neutral(identity)
        if deformation is not None:
            moved = self.neutral + deformation(self.neutral, self._eye_centers())
            self.neutral = self.model.express(moved, np.zeros(len(NAMES), np.float32))
        scalp = self.model.scalp(self.neutral)
        mean_scalp = face_model().scalp(face_model().mean)  # Hairlines are defined on it.
        self._hair, growing = hair_shell(
            mean_scalp, scalp, grid_normals(scalp), looks, detailed=self.model.detailed
        )
        self._curtain = None if self._hair is None else curtain(self._hair, looks)
        self._bust = _bust(looks, self.model.collar_scale(self.neutral))
        self._join(growing)

    def _eye_centers(self):
        """Returns the middle of each eyeball of the neutral face, a list of [3] float32 mm."""
        eyes = [part for part in self.parts if part.material == 'eye']
        balls = [self.neutral[part.first : part.first + part.size] for part in eyes]
        return [(ball.min(axis=0) + ball.max(axis=0)) / 2 for ball in balls]

    def _join(self, growing):
        """Lists the parts and the triangles of all of them."""
        first = len(self.neutral)
        grids = {'hair': self._hair, 'curtain': self._curtain, 'bust': self._bust}
        for name, grid in grids.items():
            if grid is not None:
                kept = growing.ravel() if name == 'hair' else None
                material = 'cloth' if name == 'bust' else 'hair'
                self.parts.append(GridPart(name, material, first, grid.shape[:2], kept=kept))
                first += grid.shape[0] * grid.shape[1]
        self.triangles = np.concatenate([part.triangles for part in self.parts])
        self.triangle_part = np.repeat(
            np.arange(len(self.parts)), [len(part.cells) for part in self.parts]
        )
        self.triangle_cell = np.concatenate([part.cells for part in self.parts])

    def surface(self, expression_weights, blink, rotation, translation):
        """Returns all vertices in the room's frame, [V, 3] float32 mm.

        Args:
            expression_weights: [6].
            blink: in [0, 1].
            rotation: [3, 3] and translation: [3] mm, from the head's frame to the room's.
        """
        moving = self.model.express(self.neutral, expression_weights, blink)
        hair = [part.reshape(-1, 3) for part in (self._hair, self._curtain) if part is not None]
        moving = np.concatenate([moving, *hair])
        moving = moving @ rotation.T.astype(np.float32) + translation.astype(np.float32)
        # The shoulders stay where the neck is, and do not turn with the head.
        neck = _NECK @ rotation.T + translation
        bust = self._bust.reshape(-1, 3) + (neck - _NECK).astype(np.float32)
        return np.concatenate([moving, bust]).astype(np.float32)

    def normals(self, vertices):
        """Returns the unit normal of every vertex, [V, 3] float32."""
        normals = np.zeros_like(vertices)
        for part in self.parts:
            run = slice(part.first, part.first + part.size)
            normals[run] = part.normals(vertices[run])
        return normals


def rotation_matrix(yaw, pitch, roll):
    """Returns the turn of a head, [3, 3]: to its left, downwards, to its right; radians."""
    cosine, sine = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    turn = np.array([[cosine[0], 0, sine[0]], [0, 1, 0], [-sine[0], 0, cosine[0]]])
    nod = np.array([[1, 0, 0], [0, cosine[1], -sine[1]], [0, sine[1], cosine[1]]])
    tilt = np.array([[cosine[2], -sine[2], 0], [sine[2], cosine[2], 0], [0, 0, 1]])
    return turn @ nod @ tilt


def pose_over_time(frames, rng, turn_rad=0.0, *, starts_ahead=False):
    """Returns rotations [frames, 3, 3] and translations [frames, 3] mm of a moving head.

    Slow sways of up to about 10 degrees about the neck; head frame to room frame.

    Args:
        frames: how many.
        rng: numpy Generator.
        turn_rad: how far the head also turns to its sides; it nods by a third of that. 0: the
            person looks ahead, as in BU-4DFE.
        starts_ahead: the first frame turns by half of `turn_rad` at most.
    """
    time = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)

    def sway(scale, offset):
        phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2)
        size = abs(rng.normal(0.0, scale))
        return rng.normal(0.0, offset) + size * np.sin(2 * np.pi * speed * time + phase)

    yaw, pitch, roll = (np.radians(sway(*s)) for s in ((4.0, 2.0), (2.5, 1.5), (1.5, 1.2)))
    yaw, pitch, roll = (np.clip(a, -0.19, 0.19) for a in (yaw, pitch, roll))
    if turn_rad:
        phases, speed = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.6, 1.2)
        if starts_ahead:  # Within 30 degrees of a zero of the sine, rising or falling.
            phases[0] = np.pi * (phases[0] > np.pi) + (phases[0] % np.pi - np.pi / 2) / 3
        yaw = yaw + turn_rad * np.sin(2 * np.pi * speed * time + phases[0])
        pitch = pitch + turn_rad / 3 * np.sin(2 * np.pi * speed * time + phases[1])
    shift = np.stack([sway(2.0, 3.0), sway(1.5, 3.0), sway(2.0, 6.0)], axis=1)
    rotations = np.stack(
        [rotation_matrix(*angles) for angles in zip(yaw, pitch, roll, strict=True)]
    )
    translations = _NECK - np.einsum('nij,j->ni', rotations, _NECK) + shift
    return rotations, translations
