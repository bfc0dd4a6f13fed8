"""How well the arms of `benchmarks.correspondence_memory` find points, and the table of it."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.memory_arms import BATCH, PLAIN, answer, flat
from benchmarks.memory_sequences import NUM_FRAMES, taken
from seqface_jax.evaluation import statistics
from seqface_jax.training import point_losses

MEASURES = ('distance', 'layout loss', 'corrected distance')
_EVERY = 4  # The corrector is scored at every fourth point.
_IDENTITIES = 12  # Directions of the layouts in which people differ, for the gain.
_SHOWN = (1, 2, 4, NUM_FRAMES)  # Numbers of frames in the tables.


def score(model, variables, memory, params, arm, looks, *, turns):
    """Scores an arm on sequences.

    Args:
        model, variables: the network.
        memory, params, arm: as of `answer`.
        looks: Looks with local features.
        turns: numbers of frames by which the order is rolled; means over them are scored.

    Returns:
        dict of MEASURES, each [N, T], NaN where a person has fewer photos: distance of the points
        seen (% of the crop), the layouts' loss, and that distance after the corrector; and `shown`
        and `true`, the layouts' coefficients [len(turns), N, L] of the last photo.
    """
    chosen = np.arange(0, model.num_points, _EVERY)

    @jax.jit
    def measure(variables, params, looks):
        layouts = variables['constants']['layouts']
        said = flat(answer(memory, params, arm, looks, layouts))
        local, places, seen = flat((looks.local, looks.places, looks.seen))
        local = local.astype(jnp.float32)
        corrected = model.apply(variables, local, said.places[:, chosen], chosen, method='correct')
        found = (
            _mean_of_seen(point_losses.point_losses(said, places)[1], seen),
            point_losses.layout_loss(said, places, layouts),
            _mean_of_seen(
                point_losses.point_losses(corrected, places[:, chosen])[1], seen[:, chosen]
            ),
        )
        shape = looks.is_face.shape
        return [x.reshape(shape) for x in found], said.places.reshape(*shape, -1, 2)

    layouts = variables['constants']['layouts']
    faces = looks.is_face.sum(1)
    frames = np.arange(NUM_FRAMES)
    sums, last = np.zeros((len(MEASURES), *looks.is_face.shape)), []
    for turn in turns:
        order = np.where(looks.is_face, (frames + turn) % faces[:, None], frames)
        for start in range(0, len(faces), BATCH):
            some = np.arange(start, min(start + BATCH, len(faces)))
            padded = np.resize(some, BATCH)[:, None]
            batch = taken(looks, padded, order[padded[:, 0]])
            found, places = jax.device_get(measure(variables, params, batch))
            sums[:, some] += np.array(found)[:, : len(some)] / len(turns)
            ends = np.arange(len(some)), faces[some] - 1
            last.append([coefficients(x[ends], layouts) for x in (places, batch.places)])
    shown, true = (
        np.concatenate(values).reshape(len(turns), len(faces), -1)
        for values in zip(*last, strict=True)
    )
    sums[:, ~looks.is_face] = np.nan
    return dict(zip(MEASURES, sums, strict=True)) | {'shown': shown, 'true': true}


def _mean_of_seen(values, seen):
    return jnp.sum(values * seen, -1) / jnp.maximum(jnp.sum(seen, -1), 1.0)


def coefficients(places, layouts):
    """Returns the layouts' coefficients [..., L] of places [..., P, 2], up to a constant."""
    return np.einsum('...pd,lpd->...l', places, layouts) / np.square(layouts).sum((1, 2))


def identities(looks, layouts):
    """Returns the directions of the coefficients in which people differ most, [_IDENTITIES, L].

    Their variance among people is largest against that among the photos of one (Fisher's
    discriminants): what pose, crop and expression change counts little.

    Args:
        looks: Looks of loose photos.
        layouts: [L, P, 2].
    """
    values = coefficients(looks.places, layouts)
    own = [of_one[is_face] for of_one, is_face in zip(values, looks.is_face, strict=True)]
    means = np.array([of_one.mean(0) for of_one in own])
    left = np.concatenate([of_one - mean for of_one, mean in zip(own, means, strict=True)])
    within = left.T @ left / len(left) + 1e-4 * np.eye(left.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(within))
    spread, vectors = np.linalg.eigh(root @ np.cov(means.T) @ root.T)
    return vectors[:, np.argsort(-spread)[:_IDENTITIES]].T @ root


def gain(found, directions):
    """Returns the share of how people differ that the last photo shows.

    It is the slope of what is shown on what is true, in the directions of `identities`.

    Args:
        found: of `score`.
        directions: [D, L].
    """
    shown, true = ((found[name] @ directions.T).mean(0) for name in ('shown', 'true'))
    shown, true = shown - shown.mean(0), true - true.mean(0)
    return float((shown * true).sum() / np.square(true).sum())


def lines(scores, directions):
    """Returns the table of the arms, a list of Markdown lines.

    Args:
        scores: dict by arm, PLAIN the first, of `score`.
        directions: of `identities`.
    """
    after = [f'after {count}' for count in _SHOWN]
    titles = ('measure', 'arm', *after, 'change at the last photo', 'gain')
    table = ['| ' + ' | '.join(titles) + ' |', '|' + '---|' * len(titles)]
    for name in MEASURES:
        reference = scores[PLAIN][name]
        last = np.isfinite(reference).sum(1) - 1
        ends = np.arange(len(last)), last
        for arm, found in scores.items():
            means = [f'{np.nanmean(found[name][:, count - 1]):.3f}' for count in _SHOWN]
            change = 100 * (found[name][ends] - reference[ends]) / reference[ends].mean()
            low, high = statistics.bootstrap_interval(change)
            said = '-' if arm == PLAIN else f'{change.mean():+.1f} % [{low:+.1f}, {high:+.1f}]'
            shown = f'{gain(found, directions):.3f}' if name == MEASURES[0] else ''
            table.append('| ' + ' | '.join([name, arm, *means, said, shown]) + ' |')
    return table
