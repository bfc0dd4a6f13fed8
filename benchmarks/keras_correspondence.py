"""The correspondence network and its loss in Keras, layer by layer, for the race of training steps.

Written with Keras's layers and operations as a person would who trains it in Keras; the names of
the layers are those of models/correspondence_network.py, whose docstrings say what each does.
"""

import keras
import numpy as np
from keras import layers, ops

from seqface_jax.models import correspondence_network
from seqface_jax.models.layers.norm import EPSILON, GROUPS
from seqface_jax.training import point_losses

_FLAX_LAYER_NORM_EPSILON = 1e-6
_ROBUST = 3.0  # Standard deviations; as in correspondence/point_losses.py.
_MAX_LOG = 4.0


class KerasResidualBlock(layers.Layer):
    """x + two normalised 3 x 3 convolutions."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.norm1, self.norm2 = (
            layers.GroupNormalization(GROUPS, epsilon=EPSILON) for _ in range(2)
        )
        self.conv1, self.conv2 = (
            layers.Conv2D(width, 3, padding='same', use_bias=False) for _ in range(2)
        )

    def call(self, x):
        y = self.conv1(ops.relu(self.norm1(x)))
        return x + self.conv2(ops.relu(self.norm2(y)))


class KerasNetwork(keras.Model):
    """The correspondence network."""

    def __init__(self, config, layout_mean, layouts):
        """Takes config.model, and the constants layout_mean [P, 2] and layouts [L, P, 2]."""
        super().__init__()
        self.num_points, self.layout_mean, self.layouts = config.num_points, layout_mean, layouts
        widths = config.widths
        self.stem = layers.Dense(widths[0])
        self.stages = [
            [KerasResidualBlock(width) for _ in range(number)]
            for width, number in zip(widths, config.blocks, strict=True)
        ]
        self.joins = [layers.Dense(width) for width in widths[1:]]
        self.laterals = [layers.Dense(config.local) for _ in widths]
        self.local_norm = layers.GroupNormalization(GROUPS, epsilon=EPSILON)
        self.squeeze, self.head = layers.Dense(48), layers.Dense(config.hidden)
        self.head_norm = layers.LayerNormalization(epsilon=_FLAX_LAYER_NORM_EPSILON)
        self.layout_head = layers.Dense(config.num_layouts)
        self.point_head = layers.Dense(6 * config.num_points)
        self.face_head = layers.Dense(1)
        self.embedding = layers.Embedding(config.num_points, 16)
        self.local_first = layers.Dense(config.local_hidden)
        self.local_second = layers.Dense(config.local_hidden)
        self.local_out = layers.Dense(6)

    def call(self, frames, start, chosen):
        local, first = self.look(frames)
        return first, self.correct(local, start, chosen)

    def look(self, frames):
        """Returns local features and the first answer: places, factors (a, b, c), seen, face."""
        x = self.stem(_space_to_depth(frames * 2 - 1, correspondence_network.STRIDE))
        maps = []
        for k, stage in enumerate(self.stages):
            if k:
                x = self.joins[k - 1](_space_to_depth(x, 2))
            for block in stage:
                x = block(x)
            maps.append(x)
        local = self.laterals[0](maps[0])
        for k in range(1, len(maps)):
            local = local + layers.UpSampling2D(2**k)(self.laterals[k](maps[k]))
        local = ops.relu(self.local_norm(local))
        squeezed = ops.reshape(ops.relu(self.squeeze(x)), (x.shape[0], -1))
        hidden = ops.relu(self.head_norm(self.head(squeezed)))
        layout = ops.tensordot(self.layout_head(hidden), self.layouts, 1)
        rest = ops.reshape(self.point_head(hidden), (x.shape[0], self.num_points, 6))
        places = self.layout_mean + layout + correspondence_network.UNIT * rest[..., :2]
        return local, (places, _factor(rest[..., 2:5]), rest[..., 5], self.face_head(hidden)[:, 0])

    def correct(self, local, start, chosen):
        """Returns places, factors and seen that the features around places say."""
        x = ops.concatenate([_read_patches(local, start), self.embedding(chosen)], -1)
        x = ops.relu(self.local_second(ops.relu(self.local_first(x))))
        rest = self.local_out(x)
        places = start + correspondence_network.UNIT * rest[..., :2]
        return places, _factor(rest[..., 2:5]), rest[..., 5]


def loss(network, batch, weights):
    """Returns the loss of point_losses.losses.

    Args:
        network: KerasNetwork.
        batch: dict of tensors, as for point_losses.losses.
        weights: train.loss_weights of the config.
    """
    is_face, seen = batch['is_face'], batch['seen']
    local, (places, factor, seen_logit, face) = network.look(batch['frames'])
    weight = is_face[:, None] * ops.where(seen > 0, 1.0, point_losses.HIDDEN_WEIGHT)
    nll, distance = _point_losses(places, factor, batch['places'])
    chosen = batch['chosen']
    begin = batch['places'] + batch['from_answer'] * (places - batch['places'])
    start = ops.take_along_axis(ops.stop_gradient(begin), chosen[..., None], 1) + batch['offset']
    corrected, own_factor, own_seen = network.correct(local, start, chosen)
    true_places = ops.take_along_axis(batch['places'], chosen[..., None], 1)
    true_seen = ops.take_along_axis(seen, chosen, 1)
    own_weight = is_face[:, None] * true_seen
    own_nll, own_distance = _point_losses(corrected, own_factor, true_places)
    rows = ops.ones_like(seen) * is_face[:, None]
    own_rows = ops.ones_like(true_seen) * is_face[:, None]
    terms = {
        'nll': _mean(nll, weight),
        'distance': _mean(distance, weight),
        'layout': _mean(_layout_loss(network.layouts, places, batch['places']), is_face),
        'local_nll': _mean(own_nll, own_weight),
        'local_distance': _mean(own_distance, own_weight),
        'seen': _mean(_cross_entropy(seen_logit, seen), rows),
        'local_seen': _mean(_cross_entropy(own_seen, true_seen), own_rows),
        'face': ops.mean(_cross_entropy(face, is_face)),
    }
    return sum(weights[name] * term for name, term in terms.items())


def set_weights(network, params):
    """Gives a built KerasNetwork the parameters of Flax's, a nested dict."""
    names = ['stem', 'local_norm', 'squeeze', 'head', 'head_norm', 'layout_head', 'point_head']
    names += ['face_head', 'local_first', 'local_second', 'local_out']
    for name in names:
        _set(getattr(network, name), params[name])
    network.embedding.set_weights([np.asarray(params['embedding'])])
    for kind in ('joins', 'laterals'):
        for k, layer in enumerate(getattr(network, kind)):
            _set(layer, params[f'{kind}_{k}'])
    for k, stage in enumerate(network.stages):
        for n, block in enumerate(stage):
            own = params[f'stages_{k}_{n}']
            for name in ('norm1', 'conv1', 'norm2', 'conv2'):
                _set(getattr(block, name), own[name])


def _set(layer, params):
    order = [name for name in ('kernel', 'scale', 'bias') if name in params]
    layer.set_weights([np.asarray(params[name]) for name in order])


def _space_to_depth(x, block):
    b, h, w, c = x.shape
    x = ops.reshape(x, (b, h // block, block, w // block, block, c))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (b, h // block, w // block, block * block * c))


def _factor(raw):
    """Returns the numbers a, b and c of the factor [[a, 0], [c, b]], in 1 / crop side."""
    a, b = (ops.exp(ops.clip(raw[..., k] - 1.0, -_MAX_LOG, _MAX_LOG)) for k in (0, 1))
    return tuple(
        value / correspondence_network.UNIT for value in (a, b, raw[..., 2] * ops.sqrt(a * b))
    )


def _read_patches(local, places):
    batch, size, _, channels = local.shape
    at = places * size - 0.5
    low = ops.floor(ops.clip(at, -8.0, size + 7.0))
    share = ops.clip(at - low, 0.0, 1.0)
    reach = correspondence_network.REACH
    index = ops.cast(low, 'int32')[..., None] + ops.arange(-reach, reach + 2)
    index = ops.clip(index, 0, size - 1)
    flat = index[..., 1, :, None] * size + index[..., 0, None, :]
    flat = flat + (ops.arange(batch) * size * size)[:, None, None, None]
    patch = ops.take(ops.reshape(local, (-1, channels)), flat, axis=0)
    x, y = share[..., 0, None, None, None], share[..., 1, None, None, None]
    patch = patch[:, :, :-1] * (1 - y) + patch[:, :, 1:] * y
    patch = patch[:, :, :, :-1] * (1 - x) + patch[:, :, :, 1:] * x
    return ops.reshape(patch, (batch, places.shape[1], (2 * reach + 1) ** 2 * channels))


def _layout_loss(layouts, places, truth):
    squared_norms = np.square(layouts).sum((1, 2)) + 1e-12
    size = np.sqrt(squared_norms / layouts.shape[1])
    weights = size / (size + point_losses.LAYOUT_SIZE)
    flat = (layouts / squared_norms[:, None, None]).reshape(len(layouts), -1).T
    off = ops.matmul(ops.reshape(places - truth, (places.shape[0], -1)), flat)
    soft = ops.sqrt(ops.square(off) + point_losses.LAYOUT_SOFT**2) - point_losses.LAYOUT_SOFT
    return ops.sum(soft * (weights / weights.sum()), 1)


def _point_losses(places, factor, truth):
    a, b, c = factor
    x, y = truth[..., 0] - places[..., 0], truth[..., 1] - places[..., 1]
    squared = ops.square(a * x) + ops.square(c * x + b * y)
    root = ops.sqrt(squared + 1e-9)
    penalty = ops.where(root < _ROBUST, 0.5 * squared, _ROBUST * root - 0.5 * _ROBUST**2)
    distance = 100 * ops.sqrt(ops.square(x) + ops.square(y) + 1e-9)
    return penalty - ops.log(a * b * 1e-4), distance


def _cross_entropy(logit, label):
    return ops.softplus(logit) - logit * label


def _mean(values, weight):
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), 1.0)
