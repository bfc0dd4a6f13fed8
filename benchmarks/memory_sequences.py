"""Sequences of crops of made-up people, and what the correspondence network says of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax import files
from seqface_jax.data.frame_damage import damage
from seqface_jax.models.correspondence_memory import look_with_features
from seqface_jax.models.correspondence_network import Correspondence
from seqface_jax.photos.turned_crops import Crop, recentred

NUM_FRAMES = 7  # A sequence's; the shards hold so many pictures of each person.
# Deviations of a crop from that about the true face: shift and log of the size (shares of the
# side), turn (degrees). Like those that the network is trained with.
_SHIFT, _GROWTH, _TURN_DEG = 0.045, 0.08, 8.0
_SHAKE = 0.2  # Share of them that a video's crops have frame by frame.
_MIN_FACES = 4  # Pictures of a person that show a face; people with fewer are left out.
_LOOK = 64  # Frames that the network looks at together.


class Source(NamedTuple):
    """M pictures to cut sequences out of.

    Attributes:
        image: function of a number that returns [S, S, 3] uint8 RGB.
        places: [M, P, 2] in sides of the picture.
        seen: [M, P], is_face: [M] bool.
    """

    image: Callable
    places: np.ndarray
    seen: np.ndarray
    is_face: np.ndarray


class Sequences(NamedTuple):
    """Crops of N people.

    Attributes:
        frames: [N, T, S, S, 3] uint8; those without a face are black, and last.
        places: [N, T, P, 2] true ones, crop sides; seen: [N, T, P] float32.
        is_face: [N, T] bool.
    """

    frames: np.ndarray
    places: np.ndarray
    seen: np.ndarray
    is_face: np.ndarray


class Looks(NamedTuple):
    """What the network says of Sequences.

    Attributes:
        maps: [N, T, M, M, C] float16, the encoder's last features.
        local: [N, T, S / 4, S / 4, C] float16 that the corrector reads, or [N, T] zeros.
        first: Correspondence of [N, T, ...].
        places, seen, is_face: of Sequences.
    """

    maps: np.ndarray
    local: np.ndarray
    first: Correspondence
    places: np.ndarray
    seen: np.ndarray
    is_face: np.ndarray


def cut(source, index, size, reference, rng, *, is_video):
    """Cuts sequences out of pictures.

    Args:
        source: Source.
        index: [N, T] numbers of the pictures.
        size: S.
        reference: [P, 2] mean layout in crop sides.
        rng: numpy Generator.
        is_video: the crops of a sequence drift and shake; else each is off by itself.

    Returns:
        Sequences.
    """
    is_face = np.sort(source.is_face[index])[:, ::-1]
    shape = (*index.shape, source.places.shape[1])
    frames = np.zeros((*index.shape, size, size, 3), np.uint8)
    places, seen = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    for n, numbers in enumerate(index):
        numbers = numbers[source.is_face[numbers]]
        off = _off(rng, len(numbers), is_video)
        for t, number in enumerate(numbers):
            picture, own = source.image(number), source.places[number]
            whole = Crop(np.full(2, len(picture) / 2), len(picture))
            crop = _moved(recentred(whole, own, source.seen[number], reference), off[t])
            moved = crop.from_photo(own * len(picture))
            frames[n, t], places[n, t] = crop.cut(picture, size), moved
            seen[n, t] = source.seen[number] & ((moved > 0) & (moved < 1)).all(1)
    return Sequences(frames, places, seen, is_face)


def _moved(crop, off):
    """Returns a Crop shifted, grown and turned by `off` [4] deviations."""
    return Crop(
        crop.center + _SHIFT * off[:2] * crop.side,
        crop.side * np.exp(_GROWTH * off[2]),
        crop.turn_rad + np.radians(_TURN_DEG) * off[3],
    )


def _off(rng, count, is_video):
    """Returns shift, growth and turn [count, 4] of crops, in standard deviations."""
    own = rng.standard_normal((count, 4))
    if not is_video:
        return own
    begin, drift = rng.standard_normal((2, 4))
    return begin + drift * np.linspace(-0.5, 0.5, count)[:, None] + _SHAKE * own


def of_shards(stored):
    """Returns the Source that stored Pictures are, and the numbers [N, T] of each person's."""
    people, counts = np.unique(stored.person, return_counts=True)
    index = [np.flatnonzero(stored.person == one) for one in people[counts == NUM_FRAMES]]
    index = np.array([own for own in index if stored.is_face[own].sum() >= _MIN_FACES])
    return Source(stored.image, stored.places, stored.seen, stored.is_face), index


def of_file(path):
    """Returns the same of a file of `sequences` or of `benchmarks.made_up_videos`."""
    advice = '`python -m data_prep.hard_pictures.sequences` writes it'
    arrays = files.read_arrays(path, advice, ('images', 'places', 'seen'))
    shown = [arrays[name][:, :NUM_FRAMES] for name in ('images', 'places', 'seen')]
    index = np.arange(shown[2][..., 0].size).reshape(shown[2].shape[:2])
    images, places, seen = (values.reshape(-1, *values.shape[2:]) for values in shown)
    places = (places / images.shape[1]).astype(np.float32)
    return Source(images.__getitem__, places, seen, np.ones(len(images), bool)), index


def look(model, variables, sequences, *, with_local=False, is_damaged=False):
    """Returns the Looks of Sequences, each of their frames damaged at random if so asked."""

    @jax.jit
    def look_at(variables, frames, key):
        frames = frames.astype(jnp.float32) / 255
        frames = damage(key, frames) if is_damaged else frames
        local, first, maps = look_with_features(model, variables, frames)
        local = local.astype(jnp.float16) if with_local else jnp.zeros(len(frames))
        return maps.astype(jnp.float16), local, first

    flat = sequences.frames.reshape(-1, *sequences.frames.shape[2:])
    padded = np.concatenate([flat, np.zeros((-len(flat) % _LOOK, *flat.shape[1:]), np.uint8)])
    found = []
    for start in range(0, len(flat), _LOOK):
        key = jax.random.fold_in(jax.random.key(0), start)
        found.append(jax.device_get(look_at(variables, padded[start : start + _LOOK], key)))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(flat)], *found)
    shape = sequences.is_face.shape
    joined = jax.tree.map(lambda values: values.reshape(*shape, *values.shape[1:]), joined)
    return Looks(*joined, *sequences[1:])


def taken(looks, people, frames):
    """Returns Looks at some frames [B, T] of some people [B, 1]."""
    return jax.tree.map(lambda values: values[people, frames], looks)
