"""Each frame is evidence about the face; evidence adds up, so every frame makes the face better.

A face is a code z in the linear space of training faces, before any frame distributed N(0, 1).
Every frame measures D linear functions of it, y = A z + noise, each with a precision of its own: a
profile measures the depth of the forehead well, a blurred frame nothing. A is learnt, and the
same for all frames. The belief after t frames is the Gaussian posterior (the update of an
information filter whose state does not move), for which two sums over frames are enough: their
size does not grow with t, and the order of the frames hardly matters.

A copy of a known frame tells nothing: a frame counts by how much it differs from every view that
has counted (its last MAX_VIEWS are kept), and by what a ConvLSTM remembers of them.

What frames say of one function has an error in common (of the network, of the person's looks) that
no number of them averages out: its variance bounds the precision of their sum.

An expression is a frame's own: where it is asked for, each frame also says how its face differs
from the neutral one, in the linear space of such differences, and nothing of that is remembered.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from seqface_jax.geometry import map_grid
from seqface_jax.models import fields, whitening
from seqface_jax.models.layers import unwrapping
from seqface_jax.models.layers.conv_lstm import ConvLSTM
from seqface_jax.models.layers.oriented_gradients import OrientedGradients
from seqface_jax.models.linear_face import expression_components, radial_components
from seqface_jax.models.prediction import Prediction
from seqface_jax.models.sequence_model import VARIANCE_SCALE, SequenceModel

ENCODER_KINDS = {
    'oriented_gradients': OrientedGradients,
    'unwrapped_gradients': unwrapping.UnwrappedGradients,
}
MIN_VARIANCE_MM2 = 0.01  # Least variance of a coordinate: the squared noise of a good scanner.
# Scales the precision logits, so that one Adam step cannot drive every frame's weight to zero.
CAUTION = 0.1
SAMPLED_FRAMES = 4096  # Training frames from which the features' principal directions are computed.
MAX_VIEWS = 32  # Kept to compare with; a frame like an older one counts again.
# Cosine of two frames' whitened features. Of 95 % of the frames of one person it is below 0.7 to
# the nearest other; of 95 % of copies that are noisy or moved by a hundredth it is above 0.8.
NEW_VIEW, SAME_VIEW = 0.7, 0.85
# Radians about x and y that count as one turn, and how many turns count at most.
TURNS, MAX_TURN = (0.3, 0.5), 2.0
NEWTON_STEPS = 20  # Enough for eigenvalues up to 10,000 times the smallest.


class Fusion(SequenceModel, kw_only=True):
    """Predicts a position map after every frame of a sequence, of any length.

    Attributes:
        encoder: what is seen of a frame, a dict of 'kind' in ENCODER_KINDS and the fields of its
            class; it learns nothing. The measurements read its principal directions, linearly and
            through a hidden layer.
        feature_size: R, principal directions of the encoder's features, see whitening.
        memory_features: channels of the ConvLSTM over the gradients of the frame.
        memory_stride: of its input convolution, in pixels of those features.
        hidden_features: of the layer between encoder and evidence.
        code_size: K, directions of the linear face space.
        measurements: D, linear functions of the code that a frame is asked about.
        dropout: share of what the hidden layer reads and says that is dropped in training.
        training_stride: in training only every so many-th row and column of the map is computed.
        pose_products: whether the linear measurements read the principal directions times functions
            of the head's pose too, see `turn_rows`, and the hidden layer the pose; after
            'unwrapped_gradients' only.
        calibrate: whether the stated variances are multiplied by the constant VARIANCE_SCALE, which
            training sets by what people of validation are off by.
        expression_size: E, directions in which the face of a frame may differ from the neutral one;
            0: the frames' own faces are not predicted.
    """

    encoder: Mapping[str, Any]
    memory_features: int
    memory_stride: int
    feature_size: int
    hidden_features: int
    code_size: int
    measurements: int
    dropout: float = 0.0
    training_stride: int = 1
    pose_products: bool = False
    calibrate: bool = False
    expression_size: int = 0

    def initial_state(self, batch):
        """Returns the state before the first frame: an empty memory and no evidence."""
        default = ENCODER_KINDS[self.encoder['kind']].stride
        side = -(-self.image_size // self.encoder.get('stride', default))
        side = -(-side // self.memory_stride)
        memory = jnp.zeros((batch, side, side, self.memory_features))
        nothing = jnp.zeros((batch, self.measurements))
        return {
            'memory': (memory, memory),
            'views': jnp.zeros((batch, MAX_VIEWS, self.feature_size)),
            'num_views': jnp.zeros(batch),
            'precision': nothing,
            'evidence': nothing,
        }

    def merge_states(self, first, second):
        """Joins what two sets of frames of one person say; the memory is the second's.

        Evidence adds: the answer is the one to all the frames, but for frames of the second set
        that repeat the first's: they were taken for new.
        """
        return second | {
            'precision': first['precision'] + second['precision'],
            'evidence': first['evidence'] + second['evidence'],
        }

    def read_state(self, state):
        """Returns the Prediction, without T, that a state stands for."""
        return jax.tree.map(
            lambda leaf: leaf[:, 0], self._run(state, None, train=False, last_only=True)
        )

    @classmethod
    def check_fields(cls, values):
        """Checks the fields of a config; raises ModelConfigError."""
        super().check_fields(values)
        encoder = values['encoder']
        fields.check_layer(encoder, ENCODER_KINDS, 'model.encoder')
        is_unwrapped = encoder['kind'] == 'unwrapped_gradients'
        if is_unwrapped and map_grid.SIZE % encoder.get('stride', 8):
            raise fields.ModelConfigError(
                f'model.encoder has a stride of {encoder["stride"]}: choose a divisor of '
                f'{map_grid.SIZE}'
            )
        if values.get('pose_products') and not is_unwrapped:
            raise fields.ModelConfigError(
                "model.pose_products needs a model.encoder of kind 'unwrapped_gradients'"
            )
        if is_unwrapped and not 0 <= encoder.get('refinements', 0) <= unwrapping.MAX_REFINEMENTS:
            raise fields.ModelConfigError(
                f'model.encoder has {encoder["refinements"]} refinements of the pose: choose '
                f'0 to {unwrapping.MAX_REFINEMENTS}'
            )
        stride = values.get('training_stride', 1)
        if stride < 1 or map_grid.SIZE % stride:
            raise fields.ModelConfigError(
                f'model.training_stride is {stride}: choose a divisor of {map_grid.SIZE}'
            )
        if values.get('expression_size', 0) < 0:
            raise fields.ModelConfigError('model.expression_size is below 0')

    @staticmethod
    def make_constants(values, table, sample_frames):
        """Computes the linear face space of the training split, and that of its frames' features.

        Returns:
            mean_map [128, 128, 3] mm, basis [K, 128, 128] mm along the rays of the map (see
            linear_face), feature_mean [n] and feature_directions [n, R] (see whitening), for
            'unwrapped_gradients' the regressions of the pose (see unwrapping), with calibrate
            VARIANCE_SCALE [], 1 until it is known, and with expression_size expression_basis
            [E, 128, 128] mm along the rays, of the deformations in the table.
        """
        constants = radial_components(table, values['code_size'])
        if values.get('calibrate'):
            constants[VARIANCE_SCALE] = np.float32(1)
        if values.get('expression_size', 0):
            if 'deformation' not in table:
                raise fields.ModelConfigError(
                    'model.expression_size needs maps of the frames to learn from: set '
                    'data.frame_maps=True and a train.loss_weights.frame_l1 above 0'
                )
            basis = expression_components(table, values['expression_size'])
            constants['expression_basis'] = basis
        encoder = values['encoder']
        if encoder['kind'] == 'unwrapped_gradients':
            constants |= unwrapping.regressions(encoder.get('refinements', 0))
        frames = sample_frames(SAMPLED_FRAMES)
        frames = np.concatenate([frames[::2], frames[1::2, :, ::-1]])  # Half of them mirrored.

        @jax.jit
        @jax.default_matmul_precision('highest')
        def look(part):
            return _look(encoder, part, constants)[1]

        features = [
            np.asarray(look(part)) for part in np.array_split(frames, -(-len(frames) // 256))
        ]
        mean, directions = whitening.whiten(np.concatenate(features), values['feature_size'])
        return constants | {'feature_mean': mean, 'feature_directions': directions}

    @nn.compact
    def _run(self, state, frames, *, train, last_only):
        # A GPU would round what it multiplies to 10 bits: whitening, which enlarges small
        # differences, and the inversion of the precision lose the face in that.
        with jax.default_matmul_precision('highest'):
            return self._run_exactly(state, frames, train, last_only)

    def _run_exactly(self, state, frames, train, last_only):
        if frames is None:
            return self._decode(state['precision'][:, None], state['evidence'][:, None], 1)
        if state is None:
            state = self.initial_state(frames.shape[0])
        rows, features, turn = self._encode(frames)
        conv_lstm = ConvLSTM(
            self.memory_features,
            stride=self.memory_stride,
            scan_unroll=self.scan_unroll,
            name='memory',
        )
        memory, remembered = conv_lstm(features, state['memory'])
        # Frame t is judged by the memory of the frames before it.
        before = jnp.concatenate([state['memory'][1][:, None], remembered[:, :-1]], axis=1)
        whitened = self._whiten(rows)
        state, is_new = compare_views(state, whitened)
        # Each [B, T, D].
        measured, precision = self._measure(whitened, turn, features, before, train)
        precision *= is_new[..., None]
        precision_sum = state['precision'][:, None] + jnp.cumsum(precision, axis=1)
        evidence = state['evidence'][:, None] + jnp.cumsum(precision * measured, axis=1)
        state = state | {
            'memory': memory,
            'precision': precision_sum[:, -1],
            'evidence': evidence[:, -1],
        }
        expression = None
        if self.expression_size:
            expression = self._express(whitened, turn, train)
        if last_only:
            precision_sum, evidence = precision_sum[:, -1:], evidence[:, -1:]
            expression = expression if expression is None else expression[:, -1:]
        stride = self.training_stride if train else 1
        prediction = self._decode(precision_sum, evidence, stride)
        if expression is not None:
            prediction = self._deform(prediction, expression, stride)
        return state, prediction

    def _encode(self, frames):
        """Returns the rows that the encoder makes of each frame [B, T, n], the gradients of the
        frame [B, T, h, w, C], and the rotation vector of the head [B, T, 3] or None."""
        constants = {}
        if self.encoder['kind'] == 'unwrapped_gradients':
            shapes = {'mean_map': (map_grid.SIZE, map_grid.SIZE, 3)}
            shapes |= unwrapping.shapes(self.encoder.get('refinements', 0))
            constants = {name: self.constant(name, shape) for name, shape in shapes.items()}
        x, rows, turn = _look(self.encoder, frames.reshape(-1, *frames.shape[2:]), constants)
        made = rows.reshape(len(x), -1), x, turn
        return jax.tree.map(lambda array: array.reshape(*frames.shape[:2], *array.shape[1:]), made)

    def _whiten(self, rows):
        """Returns the principal directions [B, T, R] of the encoder's rows [B, T, n]."""
        size = rows.shape[-1]  # Where a feature is matters: nothing was pooled.
        deviation = rows - self.constant('feature_mean', (size,))
        return deviation @ self.constant('feature_directions', (size, self.feature_size))

    def _measure(self, whitened, turn, features, before, train):
        """Returns what each frame measures, and how precisely; each [B, T, D]."""
        read, hidden = self._hide(whitened, turn, train, '')
        zeros = nn.initializers.zeros  # Starts at the mean face.
        size = self.measurements
        measured = nn.Dense(size, kernel_init=zeros, name='linear')(read)
        measured += nn.Dense(size, kernel_init=zeros, name='measured')(hidden)
        logits = nn.Dense(size, name='precision')(hidden)
        precision = nn.softplus(CAUTION * logits)
        seen = jnp.concatenate([features.mean(axis=(2, 3)), before.mean(axis=(2, 3))], axis=-1)
        novelty = nn.silu(nn.Dense(self.hidden_features // 2, name='novelty_hidden')(seen))
        novelty = nn.sigmoid(CAUTION * nn.Dense(1, name='novelty')(novelty) + 2)  # Starts near 1.
        return measured, precision * novelty

    def _hide(self, whitened, turn, train, prefix):
        """Returns what the linear layers read [B, T, R], and a hidden layer over it."""
        # So that a step of Adam moves the answer by little, however many directions there are.
        x = whitened / np.sqrt(self.feature_size)
        read = turn_rows(x, turn) if self.pose_products else x

        def drop(x, name):
            return nn.Dropout(self.dropout, deterministic=not train, name=prefix + name)(x)

        x = drop(x, 'drop_input')
        if self.pose_products:
            x = jnp.concatenate([x, _turn_functions(turn)], axis=-1)
        hidden = nn.Dense(self.hidden_features, name=f'{prefix}hidden')(x)
        return read, drop(nn.silu(hidden), 'drop_hidden')

    def _express(self, whitened, turn, train):
        """Returns what each frame says of its own expression, [B, T, E].

        It reads what the identity reads, through layers of its own: learning expressions moves no
        identity.
        """
        read, hidden = self._hide(whitened, turn, train, 'expression_')
        zeros = nn.initializers.zeros  # Starts at the neutral face.
        size = self.expression_size
        code = nn.Dense(size, kernel_init=zeros, name='expression_linear')(read)
        return code + nn.Dense(size, kernel_init=zeros, name='expression')(hidden)

    def _deform(self, prediction, expression, stride):
        """Adds frame_map to a Prediction whose map has every stride-th pixel."""
        shape = (self.expression_size, map_grid.SIZE, map_grid.SIZE)
        basis = self.constant('expression_basis', shape)[:, ::stride, ::stride]
        rays = jnp.asarray(map_grid.strided_ray_directions(map_grid.SIZE // stride), jnp.float32)
        neutral = jax.lax.stop_gradient(prediction.position_map)
        moved = jnp.einsum('bte,ehw->bthw', expression, basis)[..., None] * rays
        return prediction._replace(frame_map=neutral + moved)

    def _decode(self, precision, evidence, stride):
        """Returns the Prediction of sums over frames, each [B, T, D], at every stride-th pixel."""
        shape = (map_grid.SIZE, map_grid.SIZE)
        mean_map = self.constant('mean_map', (*shape, 3))[::stride, ::stride]
        basis = self.constant('basis', (self.code_size, *shape))[:, ::stride, ::stride]
        rays = jnp.asarray(map_grid.strided_ray_directions(map_grid.SIZE // stride), jnp.float32)
        functions = self.param(
            'functions',
            nn.initializers.normal(self.code_size**-0.5),
            (self.measurements, self.code_size),
        )
        shared = nn.softplus(self.param('shared_variance', _constant(-2.0), (self.measurements,)))
        # The mean of the frames' measurements is evidence / precision, its variance
        # 1 / precision + shared: written so that no evidence is no division by zero.
        saturation = 1 + shared * precision
        gram = jnp.einsum('btd,dk,dl->btkl', precision / saturation, functions, functions)
        covariance = invert_precision(gram + jnp.eye(self.code_size))  # [B, T, K, K]
        code = jnp.einsum('btkl,btd,dl->btk', covariance, evidence / saturation, functions)
        position_map = mean_map + jnp.einsum('btk,khw->bthw', code, basis)[..., None] * rays
        # The space leaves out what it leaves out. A coordinate has a third of the ray's variance.
        outside = nn.softplus(self.param('outside_variance', _constant(0.0), shape))
        along_ray = jnp.einsum('btkl,khw,lhw->bthw', covariance, basis, basis)
        variance = along_ray / 3 + outside[::stride, ::stride] + MIN_VARIANCE_MM2
        if self.calibrate:
            variance *= self.constant(VARIANCE_SCALE, ())
        return Prediction(position_map, jnp.log(variance))


def _look(layer, frames, constants):
    """Returns what an encoder makes of frames [N, H, H, 3]: a grid, all of it in rows, and how
    the head is turned, [N, 3] or None."""
    layer = dict(layer)
    kind = layer.pop('kind')
    if kind == 'oriented_gradients':
        cells = OrientedGradients(**layer).apply({}, frames, train=False)
        return cells, cells.reshape(len(cells), -1), None
    layer = unwrapping.UnwrappedGradients(**layer)
    cells, face, turn = layer.apply({}, frames, constants)
    rows = jnp.concatenate([part.reshape(len(cells), -1) for part in (cells, face)], axis=1)
    return cells, rows, turn


def turn_rows(rows, turn):
    """Returns rows [B, T, R] times 1 and functions of the head's pose, [B, T, 4 R].

    A nose longer than the mean one shows up on one side of where it was looked for where the head
    is turned to the left, on the other where it is turned to the right: what is linear in the shape
    is not what is seen, but what is seen times the pose.

    Args:
        rows: [B, T, R].
        turn: [B, T, 3], rotation vectors of the head, radians.
    """
    products = [
        rows * function[..., None] for function in jnp.moveaxis(_turn_functions(turn), -1, 0)
    ]
    return jnp.concatenate([rows, *products], axis=-1) / 2  # The length that rows had, about.


def _turn_functions(turn):
    """Returns functions of rotation vectors [B, T, 3], each about 1 at most, [B, T, 3]."""
    down, aside = jnp.moveaxis(
        jnp.clip(turn[..., :2] / np.array(TURNS), -MAX_TURN, MAX_TURN), -1, 0
    )
    return jnp.stack([aside, down, aside**2 - 0.5], axis=-1)


def compare_views(state, whitened):
    """Says how new each frame is beside the views that have counted, and keeps those that are.

    Args:
        state: dict of views [B, MAX_VIEWS, R] of length 1 (zeros: none yet) and num_views [B].
        whitened: [B, T, R], features of the frames in their order.

    Returns:
        the state, and [B, T]: 1 where no kept view is nearer than NEW_VIEW, 0 where one is as near
        as SAME_VIEW.
    """
    length = jnp.linalg.norm(whitened, axis=-1, keepdims=True)
    directions = whitened / jnp.maximum(length, 1e-6)

    def compare(kept, direction):
        views, num_views = kept
        nearest = jnp.einsum('bmr,br->bm', views, direction).max(axis=-1)
        is_new = jnp.clip((SAME_VIEW - nearest) / (SAME_VIEW - NEW_VIEW), 0, 1)
        place = jnp.mod(num_views, MAX_VIEWS).astype(jnp.int32)
        slot = jax.nn.one_hot(place, MAX_VIEWS)
        slot = (slot * (is_new > 0)[:, None])[..., None]  # The oldest view's, once all are taken.
        return (views * (1 - slot) + direction[:, None] * slot, num_views + (is_new > 0)), is_new

    kept = state['views'], state['num_views']
    (views, num_views), is_new = jax.lax.scan(compare, kept, jnp.moveaxis(directions, 1, 0))
    return state | {'views': views, 'num_views': num_views}, jnp.moveaxis(is_new, 0, 1)


@jax.custom_vjp
def invert_precision(precision):
    """Inverts symmetric matrices [..., K, K] whose eigenvalues are between 1 and about 10,000.

    Newton's iteration X <- X (2 I - P X), Schulz, 1933: matrix products only, which every machine
    does well in batches. (On a CPU of two cores jaxlib's batched Cholesky factorisation has been
    seen to wait for ever inside a mapped step.)
    """
    # The largest row sum bounds the largest eigenvalue: all those of P X start in (0, 1].
    bound = jnp.abs(precision).sum(axis=-1).max(axis=-1)[..., None, None]
    eye = jnp.eye(precision.shape[-1])

    def improve(_, inverse):
        return inverse @ (2 * eye - precision @ inverse)

    inverse = jax.lax.fori_loop(0, NEWTON_STEPS, improve, eye / bound)
    return (inverse + jnp.swapaxes(inverse, -1, -2)) / 2


def _invert_forward(precision):
    inverse = invert_precision(precision)
    return inverse, inverse


def _invert_backward(inverse, cotangent):
    # d(P^-1) = -P^-1 dP P^-1, and the inverse is symmetric.
    return (-inverse @ cotangent @ inverse,)


invert_precision.defvjp(_invert_forward, _invert_backward)


def _constant(value):
    return nn.initializers.constant(value)
