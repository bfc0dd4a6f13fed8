"""Batches of hard pictures for the correspondence network, cut at random out of the stored ones."""

import pathlib
from concurrent import futures

import cv2
import numpy as np

from seqface_jax.errors import UserError

# The window that is cut out, in shares of the stored picture's side, and its turn and shift.
_WINDOW = (0.72, 1.02)
_TURN_DEG = 7.0
_SHIFT = 0.03
_LARGEST_PLACE = 3.0  # Sides of the crop; places of points behind the camera are cut here.


class Pictures:
    """Stored hard pictures in memory.

    Attributes:
        images: list of [N, S, S, 3] uint8 RGB, one array a shard.
        places: [M, P, 2] float32 in sides of the stored picture.
        seen: [M, P] bool.
        is_face: [M] bool.
        person: [M] number of the person.
    """

    def __init__(self, folder, first=0, last=None):
        """Reads the shards numbered first to last (exclusive) of a folder, or all from first on.

        Raises:
            UserError: there are none.
        """
        paths = sorted(pathlib.Path(folder).glob('pictures_*.npz'))
        paths = [path for path in paths if _is_between(path, first, last)]
        if not paths:
            raise UserError(
                f'{folder} holds no pictures: draw some with `python -m data_prep.hard_pictures`'
            )
        self.paths = paths
        self.images, places, seen, is_face, person = [], [], [], [], []
        for path in paths:
            with np.load(path) as file:
                self.images.append(file['images'])
                places.append(file['places'] / file['images'].shape[1])
                seen.append(file['seen'])
                is_face.append(file['is_face'])
                person.append(file['person'])
        limits = -_LARGEST_PLACE, _LARGEST_PLACE
        self.places = np.clip(np.nan_to_num(np.concatenate(places)), *limits)
        self.seen, self.is_face, self.person = map(np.concatenate, (seen, is_face, person))
        self._start = np.cumsum([0, *[len(images) for images in self.images]])

    def __len__(self):
        return len(self.places)

    def image(self, index):
        """Returns one stored picture, [S, S, 3] uint8 RGB."""
        shard = np.searchsorted(self._start, index, side='right') - 1
        return self.images[shard][index - self._start[shard]]


def _is_between(path, first, last):
    number = int(path.stem.split('_')[1])
    return number >= first and (last is None or number < last)


def make_batch(pictures, indices, size, mirror, rng, *, augment):
    """Cuts crops out of pictures.

    Args:
        pictures: Pictures.
        indices: [B] which.
        size: S of the crops, pixels.
        mirror: [P] the number of the mirrored point of each.
        rng: numpy Generator.
        augment: cut at random and mirror half of them; else the middle.

    Returns:
        dict of frames [B, S, S, 3] uint8, places [B, P, 2] float32 in crop sides, seen [B, P]
        float32, is_face [B] float32.
    """
    count = len(indices)
    window, turn = np.full(count, np.mean(_WINDOW)), np.zeros(count)
    shift, flip = np.zeros((count, 2)), np.zeros(count, bool)
    if augment:
        window = rng.uniform(*_WINDOW, count)
        turn = np.radians(rng.normal(0, _TURN_DEG, count))
        room = np.maximum(1 - window, 0)[:, None] / 2 + _SHIFT
        shift = rng.uniform(-1, 1, (count, 2)) * room
        flip = rng.random(count) < 0.5
    frames = np.empty((count, size, size, 3), np.uint8)
    places = np.empty((count, *pictures.places.shape[1:]), np.float32)
    seen = np.empty((count, pictures.seen.shape[1]), np.float32)
    for k, index in enumerate(indices):
        image = pictures.image(index)
        cosine, sine = np.cos(turn[k]) / window[k], np.sin(turn[k]) / window[k]
        # Stored side -> crop side: x' = A (x - 0.5 - shift) + 0.5.
        matrix = np.array([[cosine, -sine], [sine, cosine]])
        if flip[k]:
            matrix[0] *= -1
        offset = 0.5 - matrix @ (0.5 + shift[k])
        scale = size / image.shape[0]
        pixels = np.concatenate([matrix * scale, (offset * size)[:, None]], 1)
        pixels[:, 2] += pixels[:, :2] @ [0.5, 0.5] - 0.5  # Pixel k's middle is at k + 0.5.
        frames[k] = cv2.warpAffine(
            image, pixels, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        moved = pictures.places[index] @ matrix.T.astype(np.float32) + offset.astype(np.float32)
        visible = pictures.seen[index] & ((moved > 0) & (moved < 1)).all(1)
        if flip[k]:
            moved, visible = moved[mirror], visible[mirror]
        places[k], seen[k] = moved, visible
    is_face = pictures.is_face[indices].astype(np.float32)
    return {'frames': frames, 'places': places, 'seen': seen, 'is_face': is_face}


def ahead(make, seed, first_step):
    """Yields make(rng) for ever, one made ahead; the k-th depends on (seed, k) alone."""
    with futures.ThreadPoolExecutor(1) as pool:
        step = first_step
        ready = pool.submit(make, np.random.default_rng([seed, step]))
        while True:
            step += 1
            following = pool.submit(make, np.random.default_rng([seed, step]))
            yield ready.result()
            ready = following


def layouts(pictures, size, mirror, count, *, samples=12_000):
    """Returns the mean [P, 2] and the principal layouts [count, P, 2] of augmented crops.

    Principal layouts are scaled to the standard deviation that they have in the crops.
    """
    rng = np.random.default_rng(0)
    faces = np.flatnonzero(pictures.is_face)
    chosen = rng.choice(faces, min(samples, len(faces)), replace=False)
    places = []
    for start in range(0, len(chosen), 500):
        batch = make_batch(pictures, chosen[start : start + 500], size, mirror, rng, augment=True)
        places.append(batch['places'])
    places = np.concatenate(places)
    far = np.abs(places - 0.5).max((1, 2)) > 1.5
    flat = places[~far].reshape(-1, places.shape[1] * 2)
    mean = flat.mean(0)
    covariance = (flat - mean).T @ (flat - mean) / len(flat)
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    order = values.argsort()[::-1][:count]
    scaled = (vectors[:, order] * np.sqrt(np.maximum(values[order], 0))).T
    shape = mean.reshape(-1, 2).shape
    return mean.reshape(shape).astype(np.float32), scaled.reshape(count, *shape).astype(np.float32)
