"""Batches of hard pictures for the correspondence network, cut at random out of the stored ones."""

import pathlib
from concurrent import futures

import cv2
import numpy as np

from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.geometry import principal
from seqface_jax.photos import turned_crops

# The window that is cut out, in shares of the stored picture's side, and its turn and shift: that
# of a first look, which does not know where the face is ...
_WINDOW = (0.72, 1.02)
_TURN_DEG = 7.0
_SHIFT = 0.03
# ... and that of a later look, about the face that the look before has found.
_RECENTRED = 0.75  # Share of such crops.
_CENTRED_SHIFT, _CENTRED_GROWTH, _CENTRED_TURN_DEG = 0.045, 0.08, 8.0
_LARGEST_PLACE = 3.0  # Sides of the crop; places of points behind the camera are cut here.
_FIELDS = (
    'images',
    'places',
    'seen',
    'is_face',
    'person',
    'plain',
)  # Arrays of a shard that are read.


class Pictures:
    """Stored hard pictures in memory.

    Attributes:
        images: list of [N, S, S, 3] uint8 RGB, one array a shard.
        places: [M, P, 2] float32 in sides of the stored picture.
        seen: [M, P] bool.
        is_face: [M] bool.
        person: [M] number of the person.
        plain: [M] bool, pictures like own photos.
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
        self.images, places, seen, is_face, person, plain = [], [], [], [], [], []
        for path in paths:
            advice = 'move it away and run `python -m data_prep.hard_pictures`, which draws it anew'
            file = files.read_arrays(path, advice, _FIELDS)
            self.images.append(file['images'])
            places.append(file['places'] / file['images'].shape[1])
            seen.append(file['seen'])
            is_face.append(file['is_face'])
            person.append(file['person'])
            plain.append(file['plain'])
        limits = -_LARGEST_PLACE, _LARGEST_PLACE
        self.places = np.clip(np.nan_to_num(np.concatenate(places)), *limits)
        self.seen, self.is_face = np.concatenate(seen), np.concatenate(is_face)
        self.person, self.plain = np.concatenate(person), np.concatenate(plain)
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


def draw_indices(pictures, rng, count, plain_share):
    """Draws pictures for a batch.

    Args:
        pictures: Pictures.
        rng: numpy Generator.
        count: how many.
        plain_share: probability of a plain one, where there are any.

    Returns:
        [count] indices.
    """
    plain, hard = np.flatnonzero(pictures.plain), np.flatnonzero(~pictures.plain)
    if not len(plain) or not len(hard):
        return rng.integers(0, len(pictures), count)
    is_plain = rng.random(count) < plain_share
    return np.where(
        is_plain, plain[rng.integers(0, len(plain), count)], hard[rng.integers(0, len(hard), count)]
    )


def make_batch(pictures, indices, size, mirror, rng, *, augment, reference=None):
    """Cuts crops out of pictures.

    Args:
        pictures: Pictures.
        indices: [B] which.
        size: S of the crops, pixels.
        mirror: [P] the number of the mirrored point of each.
        rng: numpy Generator.
        augment: cut at random and mirror half of them; else the middle.
        reference: [P, 2] mean layout in crop sides: most crops are cut about the face, so that
            its points lie about there; none of them if left out.

    Returns:
        dict of frames [B, S, S, 3] uint8, places [B, P, 2] float32 in crop sides, seen [B, P]
        float32, is_face [B] float32.
    """
    count = len(indices)
    flip = augment & (rng.random(count) < 0.5)
    frames = np.empty((count, size, size, 3), np.uint8)
    places = np.empty((count, *pictures.places.shape[1:]), np.float32)
    seen = np.empty((count, pictures.seen.shape[1]), np.float32)
    for k, index in enumerate(indices):
        image = pictures.image(index)
        # Stored side -> crop side: x' = A (x - center) + 0.5.
        center, window, turn = _window(pictures, index, rng, augment, reference)
        cosine, sine = np.cos(turn) / window, np.sin(turn) / window
        matrix = np.array([[cosine, sine], [-sine, cosine]])
        if flip[k]:
            matrix[0] *= -1
        offset = 0.5 - matrix @ center
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


def _window(pictures, index, rng, augment, reference):
    """Returns center [2], side and turn of a crop, in sides of the stored picture and rad."""
    if not augment:
        return np.array([0.5, 0.5]), float(np.mean(_WINDOW)), 0.0
    if reference is None or not pictures.is_face[index] or rng.random() > _RECENTRED:
        window = rng.uniform(*_WINDOW)
        room = max(1 - window, 0) / 2 + _SHIFT
        center = 0.5 + rng.uniform(-room, room, 2)
        return center, window, np.radians(rng.normal(0, _TURN_DEG))
    whole = turned_crops.Crop(np.array([0.5, 0.5]), 1.0)
    crop = turned_crops.recentred(whole, pictures.places[index], pictures.seen[index], reference)
    side = crop.side * np.exp(rng.normal(0, _CENTRED_GROWTH))
    center = crop.center + rng.normal(0, _CENTRED_SHIFT, 2) * side
    return center, side, crop.turn_rad + np.radians(rng.normal(0, _CENTRED_TURN_DEG))


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


def mean_layout(pictures):
    """Returns where the points lie on average, [P, 2] in sides of a crop of the middle."""
    window = np.mean(_WINDOW)
    places = (pictures.places[pictures.is_face] - 0.5) / window + 0.5
    near = np.abs(places - 0.5).max((1, 2)) < 1.0
    return places[near].mean(0).astype(np.float32)


def layouts(pictures, size, mirror, count, reference, *, samples=12_000):
    """Returns the principal layouts [count, P, 2] of augmented crops about their reference.

    Scaled to the standard deviation that they have in the crops.
    """
    rng = np.random.default_rng(0)
    faces = np.flatnonzero(pictures.is_face)
    chosen = rng.choice(faces, min(samples, len(faces)), replace=False)
    places = []
    for start in range(0, len(chosen), 500):
        some = chosen[start : start + 500]
        batch = make_batch(pictures, some, size, mirror, rng, augment=True, reference=reference)
        places.append(batch['places'])
    places = np.concatenate(places)
    far = np.abs(places - 0.5).max((1, 2)) > 1.5
    flat = (places[~far] - reference).reshape(-1, reference.size)
    scaled = principal.components(flat.astype(np.float64), count)
    return scaled.reshape(count, *reference.shape).astype(np.float32)
