"""The colour of a face in a texture, gathered from any number of photos.

A texel takes the colour of the place where a photo shows it, weighted by how well it is seen
(visible_face). A photo that may show what is behind the face counts there only as far as other
photos show the place surely, or from elsewhere. Two bands are gathered (Burt and Adelson, 1983).
What is coarser than a few mm is the weighted mean of all photos, each as it would be in their mean
light (photo_light): no seam shows. What is finer is relative to it and comes nearly alone from the
photo that shows the place best: poses that are off by a mm do not blur it, and how bright the
photos are does not matter to it. The coarse band of some photos is kept by itself, so that their
light can be told. Memory does not grow with the photos. What no photo shows is taken from the other
half of the face, and what neither shows is filled smoothly.
"""

from typing import NamedTuple

import cv2
import numpy as np

from seqface_jax.geometry import map_grid
from seqface_jax.reconstruction import photo_light
from seqface_jax.reconstruction.smooth_fill import fill
from seqface_jax.reconstruction.visible_face import visible_face

SIZE = 512  # Texels, both ways, unless photos show more.
LARGEST = 1024
LIGHTS = ('as on the photos', 'divided out')  # What becomes of the photos' light, in words.
_COARSE = 8  # Texels of SIZE in a pixel of the coarse band, both ways.
_CHOICE = 3  # Power by which the fine band prefers the best photo still more.
_LEAST_SURE = 1e-3  # Added to how sure texels are, so that one which is not sure at all counts.
_MIRROR = 0.003  # Weight of the other half's colour beside a texel's own.
_KNOWN = 1e-3  # Weight from which on a colour counts.
_FINE_MIRROR = 1e-9  # The same of the fine band, whose weights are powers.
# Weight, as a share of the largest, at which half of what is fine is shown: no steps at edges.
_UNCLEAR = 0.005
_FINER = 0.7  # Pixels are so much finer than texels where a larger texture pays.
_DARK = 0.003  # Added to linear colours before they are divided: noise in the dark is no detail.
_ELSEWHERE = 1 - np.cos(np.radians(15))  # Cosine's fall, by which a photo is of another side.
_MOST_LAYERS = 24  # Photos whose coarse band is kept; beyond it every second one goes.


class Layer(NamedTuple):
    """The coarse band of one photo.

    Attributes:
        colors: [C, C, 3] linear RGB.
        normals: [C, C, 3] of the face in the camera's frame.
        weights: [C, C].
        sure: [C, C] in [0, 1], how surely it is the face that is seen, not what is behind it.
    """

    colors: np.ndarray
    normals: np.ndarray
    weights: np.ndarray
    sure: np.ndarray


class Texture(NamedTuple):
    """What was seen so far.

    Attributes:
        details: [S, S, 3] float32, the weighted sum of log colours relative to the coarse band.
        weights: [S, S] float32, of the details.
        layers: tuple of Layer, of every `every`-th photo that was added.
        every: int; num_photos: int, all that were added.
        largest: int, the most that S becomes.
    """

    details: np.ndarray
    weights: np.ndarray
    layers: tuple = ()
    every: int = 1
    num_photos: int = 0
    largest: int = LARGEST


def empty(size=SIZE, largest=LARGEST):
    """Returns the Texture before the first photo, of `size` texels that may become `largest`."""
    zeros = np.zeros((size, size, 3), np.float32)
    return Texture(zeros, zeros[..., 0], largest=largest)


def add(texture, photo, pose, points, mask, confidence=None):
    """Takes one more photo into account; the texture becomes larger if the photo shows more.

    Args:
        texture: Texture.
        photo: [H, W, 3] uint8 RGB.
        pose: Pose of the face in it, whose score weighs the photo.
        points: [M, M, 3] mm, the face as an ordered position map.
        mask: [M, M] bool, the map's pixels that are face.
        confidence: [V] in (0, 1] of the mask's pixels, 1 / (1 + their standard deviation in mm);
            all ones if left out.

    Returns:
        Texture; the very one that was given if the photo says nothing.
    """
    given = texture
    points = np.asarray(points, np.float32)
    place, normals, weights, sure = visible_face(photo, pose, points, mask, confidence)
    pixel_mm = np.linalg.norm(pose.transform.translation) / pose.camera.focal_px
    texel_mm = _span_mm(points, mask) / len(texture.weights)
    while pixel_mm < _FINER * texel_mm and 2 * len(texture.weights) <= texture.largest:
        texture, texel_mm = _doubled(texture), texel_mm / 2
    size = len(texture.weights)
    colors = photo_light.to_linear(_read(photo, place, pixel_mm / texel_mm, size))
    fine_weights, sure = (np.clip(_to_texels(own, size), 0, None) for own in (weights, sure))
    layer = _layer(colors, normals, fine_weights, sure, _coarse_side(texture))
    details = np.log(colors + _DARK) - np.log(_enlarged(layer.colors, size) + _DARK)
    chosen = (fine_weights * sure * min(1.0, texel_mm / pixel_mm)) ** _CHOICE
    if not (np.isfinite(details).all() and np.isfinite(chosen).all()):
        return given
    layers, every = texture.layers, texture.every
    if texture.num_photos % every == 0:
        layers = (*layers, layer)
    if len(layers) > _MOST_LAYERS:
        layers, every = layers[::2], 2 * every
    return texture._replace(
        details=texture.details + details * chosen[..., None],
        weights=texture.weights + chosen,
        layers=layers,
        every=every,
        num_photos=texture.num_photos + 1,
    )


def finish(texture, *, delight=False):
    """Returns the picture of a Texture, [S, S, 3] uint8 RGB; gray if nothing was seen.

    Args:
        texture: Texture.
        delight: whether the photos' light is divided out; else their mean light stays.
    """
    size = len(texture.weights)
    colors, weights = _coarse(texture, delight=delight)
    if weights.max(initial=0) <= 0:
        return np.full((size, size, 3), 128, np.uint8)
    colors = colors + _MIRROR * colors[:, ::-1]
    weights = weights + _MIRROR * weights[:, ::-1]
    known = np.clip(weights / (_MIRROR * _KNOWN), 0, 1).min(-1)
    mean = fill(colors / np.maximum(weights, 1e-12), known)
    details = texture.details + _FINE_MIRROR * texture.details[:, ::-1]
    fine_weights = texture.weights + _FINE_MIRROR * texture.weights[:, ::-1]
    details = details / np.maximum(fine_weights, 1e-30)[..., None]
    clear = fine_weights ** (1 / _CHOICE)  # The weight of the best photo, about.
    details = details * (clear / (clear + _UNCLEAR * clear.max() + 1e-12))[..., None]
    linear = (_enlarged(mean, size) + _DARK) * np.exp(details) - _DARK
    return np.round(photo_light.from_linear(linear)).astype(np.uint8)


def looks(texture, size=map_grid.SIZE):
    """Returns brightness at the map's pixels, [size, size] float32, NaN where nothing was seen."""
    colors, weights = _coarse(texture, delight=False, order=0)
    mean = photo_light.from_linear(colors / np.maximum(weights, 1e-12))
    gray = np.where(weights.min(-1) > _KNOWN, mean.mean(-1), np.nan).astype(np.float32)
    place = (np.linspace(0, 1, size) * len(gray)).clip(0, len(gray) - 1).astype(int)
    return gray[np.ix_(place, place)]


def _span_mm(points, mask):
    """Returns the length in mm that the whole side of a map [M, M, 3] would have, about."""
    down, across = (np.linalg.norm(own, axis=-1)[mask] for own in np.gradient(points, axis=(0, 1)))
    return len(mask) * float(np.sqrt(np.median(down) * np.median(across)))


def _doubled(texture):
    """Returns a Texture with twice as many texels along a side."""
    size = (2 * len(texture.weights),) * 2
    details, weights = (
        cv2.resize(values, size, interpolation=cv2.INTER_LINEAR) for values in texture[:2]
    )
    # What was seen in less detail gives way to what is seen in more.
    share = 0.5**_CHOICE
    return texture._replace(details=share * details, weights=share * weights)


def _read(photo, place, zoom, size):
    """Returns a photo at the middles of texels [size, size, 3] uint8.

    Args:
        photo: [H, W, 3] uint8 RGB.
        place: [M, M, 2] px, of the map's pixels.
        zoom: texels per pixel of the photo; it is shrunk first where they are much fewer.
        size: of the texture.
    """
    place = _to_texels(place, size)
    if zoom < _FINER:
        height, width = photo.shape[:2]
        shape = tuple(max(1, round(side * zoom)) for side in (width, height))
        photo = cv2.resize(photo, shape, interpolation=cv2.INTER_AREA)
        place = place * np.float32([shape[0] / width, shape[1] / height])
    x, y = np.moveaxis(place - 0.5, -1, 0)
    return cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _coarse_side(texture):
    """Returns C of a Texture's layers, which stays as its texels become more."""
    if texture.layers:
        return len(texture.layers[0].colors)
    return max(4, min(len(texture.weights), SIZE) // _COARSE)


def _layer(colors, normals, weights, sure, side):
    """Returns the Layer, [side, side], of colours [S, S, 3], normals [M, M, 3], the rest [S, S]."""
    shape = (side, side)
    coarse = cv2.resize(weights, shape, interpolation=cv2.INTER_AREA)
    # Where a pixel holds surer and less sure texels, the surer ones tell the colour.
    trusted = weights * (sure + _LEAST_SURE)
    summed = cv2.resize(colors * trusted[..., None], shape, interpolation=cv2.INTER_AREA)
    total = cv2.resize(trusted, shape, interpolation=cv2.INTER_AREA)
    mean = summed / np.maximum(total, 1e-12)[..., None]
    own = cv2.resize(normals, shape, interpolation=cv2.INTER_AREA)
    own = own / np.maximum(np.linalg.norm(own, axis=-1, keepdims=True), 1e-6)
    sure = cv2.resize(sure * weights, shape, interpolation=cv2.INTER_AREA)
    sure = sure / np.maximum(coarse, 1e-12)
    return Layer(fill(mean, (coarse > 0).astype(np.float32)), own, coarse, sure)


def _coarse(texture, *, delight, order=photo_light.ORDER):
    """Returns the sums of colours and of light [C, C, 3] of the coarse band, by weight.

    Args:
        texture: Texture.
        delight: whether the light is all of the photos' light, or how it differs from their mean.
        order: of the light's harmonics; 0: how bright each photo is.
    """
    if not texture.layers:
        return np.zeros((1, 1, 3)), np.zeros((1, 1, 3))
    shape = texture.layers[0].colors.shape
    colors, normals = (np.stack([one[k] for one in texture.layers]) for k in range(2))
    colors, normals = (own.reshape(len(own), -1, 3).astype(np.float64) for own in (colors, normals))
    weights = np.stack([one.weights.ravel() for one in texture.layers]).astype(np.float64)
    sure = np.stack([one.sure.ravel() for one in texture.layers])
    weights = weights * (sure + (1 - sure) * _confirmed(weights, normals, sure))
    light = photo_light.fit(colors, normals, weights, order)
    # A photo that is brighter as a whole counts no more for it.
    weights = weights[..., None] / light.mean(1, keepdims=True)
    if not delight:  # Else a place would be lit as on the few photos that show it.
        light = light / np.exp(np.log(light).mean(0))
    return ((weights * own).sum(0).reshape(shape) for own in (colors, light))


def _confirmed(weights, normals, sure):
    """Returns [T, P] in [0, 1], how far other photos show a place surely, or from elsewhere.

    Args:
        weights: [T, P]; normals: [T, P, 3] in the camera's frame; sure: [T, P].
    """
    turned = np.clip((1 - np.einsum('ipk,jpk->ijp', normals, normals)) / _ELSEWHERE, 0, 1)
    by_each = np.maximum(turned, sure) * weights
    own = np.arange(len(weights))
    others = by_each.sum(1) - by_each[own, own]
    return others / np.maximum(weights.sum(0), 1e-12)


def _enlarged(coarse, size):
    """Returns a coarse band [C, C, 3] at the texels, [size, size, 3]."""
    coarse = np.asarray(coarse, np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)


def _to_texels(field, size):
    """Returns a field of the map, [M, M, ...] float32, at the middles of texels, [size, size, ...].

    The map's first pixel lies on the texture's edge (map_grid.grid_uv).
    """
    place = ((np.arange(size) + 0.5) / size * (len(field) - 1)).astype(np.float32)
    x, y = np.meshgrid(place, place)
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
