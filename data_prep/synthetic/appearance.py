"""How a person looks apart from the shape: skin, brows, eyes, lips, hair, clothes.

Drawn independently of the identity's shape, so that shape can be learnt from shape only: its
outlines and its shading.
"""

import dataclasses

import numpy as np

# sRGB in [0, 1], light to dark.
_SKIN_TONES = np.array(
    [
        [0.93, 0.78, 0.70],
        [0.90, 0.73, 0.62],
        [0.85, 0.66, 0.54],
        [0.77, 0.57, 0.44],
        [0.64, 0.45, 0.34],
        [0.48, 0.32, 0.24],
        [0.35, 0.23, 0.18],
    ]
)
_HAIR_COLORS = np.array(
    [
        [0.07, 0.06, 0.06],
        [0.13, 0.09, 0.07],
        [0.24, 0.15, 0.10],
        [0.46, 0.23, 0.12],
        [0.38, 0.25, 0.15],
        [0.60, 0.46, 0.28],
        [0.55, 0.53, 0.51],
    ]
)
_IRIS_COLORS = np.array(
    [
        [0.22, 0.13, 0.07],
        [0.35, 0.22, 0.11],
        [0.40, 0.38, 0.20],
        [0.35, 0.47, 0.55],
        [0.45, 0.52, 0.47],
    ]
)
HAIR_STYLES = ('shaved', 'short', 'swept', 'fringe', 'long', 'tied')


def to_linear(srgb):
    """Returns light intensities of sRGB values in [0, 1] (gamma 2.2)."""
    return np.asarray(srgb, np.float64) ** 2.2


@dataclasses.dataclass(frozen=True)
class Appearance:
    """The looks of one person; colours are linear RGB in [0, 1], lengths mm, amounts in [0, 1].

    Attributes:
        seed: of the skin's and the hair's texture.
        hair_style: one of HAIR_STYLES.
        scanned_extras: hair and collar are in the raw scans.
    """

    seed: int
    skin: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    iris: np.ndarray
    lip: np.ndarray
    cloth: np.ndarray
    backdrop: np.ndarray
    lip_strength: float
    blush: float
    freckles: float
    moles: int
    stubble: float
    beard: float
    mottling: float
    under_eye: float
    gloss: float
    brow_thickness: float
    brow_arch: float
    brow_density: float
    lashes: float
    hair_style: str
    hair_thickness: float
    hairline: float
    collar_height: float
    scanned_extras: bool


def _pick(rng, table, spread):
    """Returns a colour between two neighbours of a table, jittered, linear RGB."""
    place = rng.uniform(0, len(table) - 1)
    low = int(place)
    color = table[low] + (place - low) * (table[min(low + 1, len(table) - 1)] - table[low])
    return to_linear(
        np.clip(color * rng.normal(1.0, spread, 3) * rng.normal(1.0, spread), 0.02, 0.97)
    )


def sample_appearance(rng, sex):
    """Draws the looks of one person.

    Args:
        rng: numpy Generator.
        sex: 'F' or 'M'; decides stubble, lashes and the odds of hair styles.
    """
    man = sex == 'M'
    skin = _pick(rng, _SKIN_TONES, 0.012)
    hair = _pick(rng, _HAIR_COLORS, 0.03)
    if skin.mean() < 0.25:  # Dark skin goes with dark hair and eyes.
        hair = to_linear(_HAIR_COLORS[rng.integers(0, 2)] * rng.uniform(0.8, 1.2))
    iris = to_linear(_IRIS_COLORS[rng.integers(0, 2 if skin.mean() < 0.25 else 5)])
    red = np.array([0.62, 0.24, 0.24]) if not man else np.array([0.62, 0.34, 0.30])
    odds = (0.17, 0.42, 0.28, 0.09, 0.03, 0.01) if man else (0.0, 0.1, 0.25, 0.17, 0.33, 0.15)
    return Appearance(
        seed=int(rng.integers(0, 2**31)),
        skin=skin,
        hair=hair,
        brow=np.minimum(hair, 0.25) * rng.uniform(0.5, 0.9),
        iris=iris * rng.uniform(0.8, 1.2),
        lip=to_linear(np.clip(red * rng.normal(1.0, 0.08, 3), 0.1, 0.9)),
        cloth=to_linear(rng.uniform(0.08, 0.85, 3) * 0.6 + 0.4 * rng.uniform(0.1, 0.8)),
        backdrop=to_linear(rng.uniform(0.25, 0.85) + rng.normal(0.0, 0.04, 3)).clip(0.02, 0.9),
        lip_strength=float(rng.uniform(0.3, 0.55) if man else rng.uniform(0.4, 0.8)),
        blush=float(rng.uniform(0.2, 1.0)),
        freckles=float(max(0.0, rng.uniform(-0.6, 1.0))) if skin.mean() > 0.3 else 0.0,
        moles=int(rng.integers(0, 4)),
        stubble=float(max(0.0, rng.uniform(-0.2, 1.0))) if man else 0.0,
        beard=float(rng.uniform(0.6, 1.0)) if man and rng.random() < 0.15 else 0.0,
        mottling=float(rng.uniform(0.5, 1.5)),
        under_eye=float(rng.uniform(0.1, 1.0)),
        gloss=float(rng.uniform(0.4, 1.4)),
        brow_thickness=float(rng.uniform(2.6, 4.4) if man else rng.uniform(1.9, 3.2)),
        brow_arch=float(rng.uniform(0.0, 2.0) if man else rng.uniform(1.0, 3.5)),
        brow_density=float(rng.uniform(0.6, 0.95)),
        lashes=float(rng.uniform(0.35, 0.6) if man else rng.uniform(0.6, 1.0)),
        hair_style=str(rng.choice(HAIR_STYLES, p=odds)),
        hair_thickness=float(rng.uniform(0.7, 1.3)),
        hairline=float(rng.normal(0.0, 4.0) + (2.0 if man else -2.0)),
        collar_height=float(rng.uniform(-14.0, 12.0)),
        scanned_extras=bool(rng.random() < 0.5),
    )
