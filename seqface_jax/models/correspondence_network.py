"""The correspondence network: where the template's points lie in a crop, and how surely.

After Wood et al., 2022, "3D face reconstruction with dense landmarks" (arXiv:2204.02776): many
points with an uncertainty each, learnt from made-up pictures alone. Two things are different. The
first answer is told in the principal layouts of the points, of unit variance each. Then a local
corrector, shared by all points, reads features around each point's place and says a step: what it
sees is local, so that it cannot draw the training people's mean face.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.models import fields
from seqface_jax.models.layers.norm import EPSILON, GROUPS

STRIDE = 4  # Pixels of the crop to one cell of the features that the corrector reads.
UNIT = 0.01  # Unit of places and precisions inside the network, as a share of the crop's side.
REACH = 2  # The corrector reads (2 REACH + 1)^2 samples, one cell apart, around a place.
_MAX_LOG = 4.0  # Largest log of a precision's factor: at most exp(4) per unit.


class Correspondence(NamedTuple):
    """What the network says of B crops.

    Attributes:
        places: [B, P, 2], x right and y down in crop sides, (0, 0) the upper left corner.
        factor: [B, P, 2, 2], lower triangular; its product with its transpose from the left is the
            precision of a place, in 1 / crop side^2: errors e have variance one as factor @ e.
        seen: [B, P] logit: the point is seen.
        face: [B] logit: the crop shows a face.
    """

    places: jax.Array
    factor: jax.Array
    seen: jax.Array
    face: jax.Array


class CorrespondenceNetwork(nn.Module):
    """Crop -> Correspondence; see the module.

    Attributes:
        num_points: P.
        num_layouts: principal layouts in which the first answer is told.
        widths: channels at an eighth, a fourth... of the crop: cells of 4, 8 and 16 pixels.
        blocks: residual blocks at each of them.
        hidden: of the head.
        local: channels that the corrector reads.
        local_hidden: of the corrector.
        image_size: S, side of the crops in pixels.
        scan_unroll, axis_name: unused; frames are looked at one by one.
    """

    READS = 'frame'

    num_points: int
    num_layouts: int
    widths: tuple
    blocks: tuple
    hidden: int
    local: int
    local_hidden: int
    image_size: int
    scan_unroll: int = 0
    axis_name: str | None = None

    @classmethod
    def check_fields(cls, values):
        """Checks the fields of a config; raises ModelConfigError."""
        given = ('image_size', 'scan_unroll', 'axis_name')
        fields.check(cls, [name for name in values if name not in given], 'model', given)

    def setup(self):
        count = self.num_points
        self.layout_mean = self.variable('constants', 'layout_mean', jnp.zeros, (count, 2))
        shape = (self.num_layouts, count, 2)
        self.layouts = self.variable('constants', 'layouts', jnp.zeros, shape)
        self.stem = nn.Dense(self.widths[0])
        self.stages = [
            [ResidualBlock(width) for _ in range(number)]
            for width, number in zip(self.widths, self.blocks, strict=True)
        ]
        self.joins = [nn.Dense(width) for width in self.widths[1:]]
        self.laterals = [nn.Dense(self.local) for _ in self.widths]
        self.local_norm = nn.GroupNorm(GROUPS, epsilon=EPSILON)
        self.squeeze = nn.Dense(48)
        self.head = nn.Dense(self.hidden)
        self.head_norm = nn.LayerNorm()
        self.layout_head = nn.Dense(self.num_layouts, kernel_init=nn.initializers.normal(0.02))
        self.point_head = nn.Dense(6 * count, kernel_init=nn.initializers.normal(0.002))
        self.face_head = nn.Dense(1)
        self.embedding = self.param('embedding', nn.initializers.normal(0.5), (count, 16))
        self.local_first = nn.Dense(self.local_hidden)
        self.local_second = nn.Dense(self.local_hidden)
        self.local_out = nn.Dense(6, kernel_init=nn.initializers.normal(0.02))

    def __call__(self, frames, *, train=False, start=None, chosen=None):  # noqa: ARG002
        """Returns the first answer and the corrected one.

        Args:
            frames: [B, S, S, 3] in [0, 1], or [B, T, S, S, 3], whose frames are taken one by one.
            train: unused, the network has neither dropout nor running statistics.
            start: [B, N, 2] places that the corrector begins at; the first answer's if left out.
            chosen: [N] or [B, N] numbers of the points of `start`; all if left out.
        """
        features, first = self.look(frames.reshape(-1, *frames.shape[-3:]))
        if start is None:
            start, chosen = jax.lax.stop_gradient(first.places), None
        return first, self.correct(features, start, chosen)._replace(face=first.face)

    def look(self, frames):
        """Returns the local features [B, S / 4, S / 4, local] and the first answer."""
        x = self.stem(space_to_depth(frames * 2 - 1, STRIDE))
        maps = []
        for k, stage in enumerate(self.stages):
            if k:
                x = self.joins[k - 1](space_to_depth(x, 2))
            for block in stage:
                x = block(x)
            maps.append(x)
        local = self.laterals[0](maps[0])
        for k, lateral in enumerate(self.laterals[1:], start=1):
            local = local + _enlarge(lateral(maps[k]), 2**k)
        local = nn.relu(self.local_norm(local))
        squeezed = nn.relu(self.squeeze(x)).reshape(len(x), -1)
        hidden = nn.relu(self.head_norm(self.head(squeezed)))
        layout = jnp.einsum('bk,kpd->bpd', self.layout_head(hidden), self.layouts.value)
        rest = self.point_head(hidden).reshape(len(x), self.num_points, 6)
        places = self.layout_mean.value + layout + UNIT * rest[..., :2]
        factor = precision_factor(rest[..., 2:5])
        return local, Correspondence(places, factor, rest[..., 5], self.face_head(hidden)[:, 0])

    def correct(self, local, start, chosen=None):
        """Returns the Correspondence (face left at 0) that the features around places say.

        Args:
            local: [B, M, M, C], what `look` returned.
            start: [B, N, 2] places in crop sides.
            chosen: [N] or [B, N] numbers of these points; all if left out.
        """
        patches = read_patches(local, start)  # [B, N, 25 * C]
        embedding = self.embedding if chosen is None else self.embedding[chosen]
        embedding = jnp.broadcast_to(embedding, (*start.shape[:2], embedding.shape[-1]))
        x = jnp.concatenate([patches, embedding], axis=-1)
        x = nn.relu(self.local_first(x))
        x = nn.relu(self.local_second(x))
        rest = self.local_out(x)
        places = start + UNIT * rest[..., :2]
        return Correspondence(
            places, precision_factor(rest[..., 2:5]), rest[..., 5], jnp.zeros(len(start))
        )


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions, normalised before each (He et al., 2016, identity mappings)."""

    width: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.GroupNorm(GROUPS, epsilon=EPSILON, name='norm1')(x))
        y = self._convolution('conv1')(y)
        y = nn.relu(nn.GroupNorm(GROUPS, epsilon=EPSILON, name='norm2')(y))
        return x + self._convolution('conv2')(y)

    def _convolution(self, name):
        initial = nn.initializers.he_normal()
        return nn.Conv(self.width, (3, 3), use_bias=False, kernel_init=initial, name=name)


def space_to_depth(x, block):
    """Returns [B, H / block, W / block, block^2 C]: each block's pixels side by side."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // block, block, w // block, block, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // block, w // block, block * block * c)


def _enlarge(x, times):
    """Returns x with each pixel repeated along both axes."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, times, w, times, c))
    return x.reshape(b, h * times, w * times, c)


def precision_factor(raw):
    """Returns the lower triangular factor [..., 2, 2] in 1 / crop side of [..., 3] numbers."""
    a, b = (jnp.exp(jnp.clip(raw[..., k] - 1.0, -_MAX_LOG, _MAX_LOG)) for k in (0, 1))
    c = raw[..., 2] * jnp.sqrt(a * b)
    zero = jnp.zeros_like(a)
    rows = jnp.stack([jnp.stack([a, zero], -1), jnp.stack([c, b], -1)], -2)
    return rows / UNIT


def read_patches(local, places):
    """Reads 5 x 5 samples, one cell apart, around each place, between the cells.

    Args:
        local: [B, M, M, C] features; cell (0, 0) covers the upper left corner.
        places: [B, N, 2] in sides of the map, x and y. Beyond the rim the rim is read.

    Returns:
        [B, N, 25 * C], row by row.
    """
    batch, size, _, channels = local.shape
    at = places * size - 0.5  # In cells; cell k's middle is at k.
    low = jnp.floor(jnp.clip(at, -8.0, size + 7.0))
    share = jnp.clip(at - low, 0.0, 1.0)
    offsets = jnp.arange(-REACH, REACH + 2)
    index = jnp.clip(low[..., None].astype(jnp.int32) + offsets, 0, size - 1)  # [B, N, 2, 6]
    flat = index[..., 1, :, None] * size + index[..., 0, None, :]  # [B, N, 6, 6], row then column.
    flat = flat + (jnp.arange(batch) * size * size)[:, None, None, None]
    # XLA would compute the indices again for every channel.
    flat, share = jax.lax.optimization_barrier((flat, share))
    patch = local.reshape(-1, channels)[flat]  # [B, N, 6, 6, C]
    x, y = share[..., 0, None, None, None], share[..., 1, None, None, None]
    patch = patch[:, :, :-1] * (1 - y) + patch[:, :, 1:] * y
    patch = patch[:, :, :, :-1] * (1 - x) + patch[:, :, :, 1:] * x
    return patch.reshape(batch, places.shape[1], -1)
