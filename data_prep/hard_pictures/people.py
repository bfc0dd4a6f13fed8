"""Shapes of made-up people of many kinds, in one topology: the skin's neutral vertices in mm."""

from typing import NamedTuple

import numpy as np

from data_prep.hard_pictures.template_model import NUM_SKIN
from data_prep.synthetic.deformation import sample_deformation

_LARGEST = 3.0  # Modes are cut here, in standard deviations.
_ICT_SPREAD = (0.6, 1.8)
_MIXED = 0.45  # Share of people who lie between two kinds, or beyond one.
_EYES = (36, 39), (42, 45)  # Corners in iBUG order, the right eye first.
_BANK = 400  # Smooth deformations drawn once; people get random mixtures of some of them.
_MIXTURE = 24


class Variety(NamedTuple):
    """How much the people who are drawn differ from those of the kinds.

    Attributes:
        spread: least and largest factor of the model's modes, drawn for each person; of who is
            mixed in, that of the kind.
        deform_mm: least and largest standard deviation of a person's smooth deformation.
        stretch: standard deviation of the stretch along each axis.
        beyond: how far beyond a kind, away from the other, mixed people go at most.
    """

    spread: tuple
    deform_mm: tuple
    stretch: float
    beyond: float


NEAR = Variety(_ICT_SPREAD, (0.0, 3.0), 0.04, 0.15)
# Farther from all kinds. A network that knows only faces near them draws others like them: of how
# the embedded people differ it shows a fifth.
WIDE = Variety((0.6, 2.4), (0.0, 5.0), 0.06, 0.5)


class Kinds(NamedTuple):
    """What people are made of.

    Attributes:
        model: TemplateModel.
        identity: [K, NUM_SKIN * 3] the model's modes at the skin, mm.
        others: dict of a kind's name to a function of rng that returns skin [NUM_SKIN, 3] mm.
        bank: [_BANK, NUM_SKIN * 3] smooth deformations of 1 mm standard deviation.
        fixed: (kind, skin) of the person that pictures are of, or None.
        variety: Variety of the people of `sample`.
    """

    model: object
    identity: np.ndarray
    others: dict
    bank: np.ndarray
    fixed: tuple | None = None
    variety: Variety = NEAR

    @property
    def names(self):
        """The kinds that can be drawn."""
        return ('ict', *self.others)


def load(model, others):
    """Returns Kinds of a TemplateModel and other kinds; draws the bank of deformations, once.

    Deforming one head anew takes 60 ms, a mixture of drawn deformations 1 ms.
    """
    identity = np.ascontiguousarray(model.identity[:, :NUM_SKIN]).reshape(len(model.identity), -1)
    skin = model.mean[:NUM_SKIN]
    centers = np.float32([skin[model.landmarks[list(eye)]].mean(0) for eye in _EYES])
    rng = np.random.default_rng(0)
    bank = [sample_deformation(rng, 1.0)(skin, centers).ravel() for _ in range(_BANK)]
    return Kinds(model, identity, others, np.stack(bank))


def sample(kinds, rng):
    """Draws one person.

    Args:
        kinds: Kinds.
        rng: numpy Generator.

    Returns:
        the kind's name, or two joined by '+', and the skin [NUM_SKIN, 3] float32 mm.
    """
    names, variety = kinds.names, kinds.variety
    name = names[rng.integers(len(names))]
    skin = of_kind(kinds, name, rng, spread=variety.spread)
    if len(names) > 1 and rng.random() < _MIXED:
        other = rng.choice([n for n in names if n != name])
        share = rng.uniform(-variety.beyond, 0.6)
        skin = skin + np.float32(share) * (of_kind(kinds, other, rng) - skin)
        name = f'{name}+{other}'
    skin = skin + deformation(kinds, rng, rng.uniform(*variety.deform_mm))
    stretch = 1 + rng.normal(0, variety.stretch, 3)
    return name, (skin * stretch).astype(np.float32)


def deformation(kinds, rng, deviation_mm):
    """Returns a smooth displacement of the skin, [NUM_SKIN, 3] mm, of a standard deviation."""
    chosen = rng.choice(_BANK, _MIXTURE, replace=False)
    weights = rng.standard_normal(_MIXTURE) * deviation_mm / np.sqrt(_MIXTURE)
    return (weights.astype(np.float32) @ kinds.bank[chosen]).reshape(-1, 3)


def of_kind(kinds, name, rng, *, spread=_ICT_SPREAD):
    """Draws the skin [NUM_SKIN, 3] mm of a person of one kind, as the kind has it."""
    if name != 'ict':
        return kinds.others[name](rng)
    weights = rng.standard_normal(len(kinds.identity)) * rng.uniform(*spread)
    weights = np.clip(weights, -_LARGEST, _LARGEST).astype(np.float32)
    return kinds.model.mean[:NUM_SKIN] + (weights @ kinds.identity).reshape(-1, 3)


def sample_expression(names, rng):
    """Draws weights of the blendshapes, [E] float32 in [0, 1]: any mixture, often none."""
    weights = np.zeros(len(names), np.float32)
    kind = rng.random()
    if kind < 0.2:
        return weights
    count = rng.integers(1, 5) if kind < 0.7 else rng.integers(4, 14)
    for index in rng.choice(len(names), count, replace=False):
        weights[index] = rng.beta(1.2, 1.8)
        partner = _partner(names, index)
        if partner is not None and rng.random() < 0.75:  # Mostly both sides alike.
            weights[partner] = np.clip(weights[index] + rng.normal(0, 0.1), 0, 1)
    for name, chance, low in (
        ('eyeBlink', 0.12, 0.5),
        ('jawOpen', 0.2, 0.1),
        ('mouthSmile', 0.15, 0.3),
    ):
        if rng.random() < chance:
            amount = rng.uniform(low, 1.0)
            for index in [k for k, n in enumerate(names) if n.startswith(name)]:
                weights[index] = max(weights[index], amount)
    # What cannot be done at once: closed and wide eyes, puffed cheeks with an open jaw.
    for one, other in (
        ('eyeBlink', 'eyeWide'),
        ('jawOpen', 'cheekPuff'),
        ('jawOpen', 'mouthClose'),
    ):
        for k, n in enumerate(names):
            if n.startswith(one):
                for j, m in enumerate(names):
                    if m.startswith(other) and (n[-2:] == m[-2:] or '_' not in n):
                        weights[j] = min(weights[j], 1 - weights[k])
    return weights


def _partner(names, index):
    name = names[index]
    if name.endswith('_L'):
        return names.index(name[:-2] + '_R')
    if name.endswith('_R'):
        return names.index(name[:-2] + '_L')
    return None
