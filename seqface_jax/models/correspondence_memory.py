"""A memory over frames for the correspondence network: a ConvLSTM that corrects its first answer.

The network looks at frames one by one. Here a ConvLSTM (Shi et al., 2015, arXiv:1506.04214) goes
over the encoder's last features of several frames of one person and says how the first answer of
each frame is to be moved, in the principal layouts, and how much surer it is. The correction starts
at zero, where the answers are the network's own. `benchmarks/correspondence_memory.py` measures
what it is worth.
"""

import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.models.layers.conv_lstm import ConvLSTM
from seqface_jax.models.layers.norm import EPSILON, GROUPS

_MAX_LOG = 2.0  # Largest log of the factor by which a precision's root is changed.


class CorrespondenceMemory(nn.Module):
    """The encoder's last features and first answers of T frames -> corrected answers.

    Attributes:
        num_points: P.
        num_layouts: L, principal layouts in which the correction of places is told.
        features: channels of the state.
        squeezed: channels of each cell that the head reads.
        hidden: of the head.
        scan_unroll: of ConvLSTM.
    """

    num_points: int
    num_layouts: int
    features: int = 32
    squeezed: int = 16
    hidden: int = 256
    scan_unroll: int = 0

    @nn.compact
    def __call__(self, maps, first, layouts, state=None):
        """Goes through the frames in order.

        Args:
            maps: [B, T, M, M, C], the encoder's last features (`look_with_features`).
            first: Correspondence of [B, T, ...], the network's first answers.
            layouts: [L, P, 2] principal layouts of the network.
            state: (c, h), each [B, M, M, features], after the frame before, or None at the start.

        Returns:
            the state after the last frame, and `first` with corrected places and precisions.
        """
        x = nn.GroupNorm(GROUPS, epsilon=EPSILON, reduction_axes=(-3, -2, -1), name='norm')(maps)
        x = nn.relu(nn.Dense(self.features, name='reduce')(x))
        memory = ConvLSTM(self.features, scan_unroll=self.scan_unroll, name='memory')
        state, x = memory(x, state)  # [B, T, M, M, features]
        x = nn.relu(nn.Dense(self.squeezed, name='squeeze')(x))
        x = nn.relu(nn.Dense(self.hidden, name='head')(x.reshape(*x.shape[:2], -1)))
        zeros = nn.initializers.zeros
        moved = nn.Dense(self.num_layouts, kernel_init=zeros, name='layout_head')(x)
        surer = nn.Dense(self.num_points, kernel_init=zeros, name='precision_head')(x)
        places = first.places + jnp.einsum('btl,lpd->btpd', moved, layouts)
        factor = jnp.exp(jnp.clip(surer, -_MAX_LOG, _MAX_LOG))[..., None, None] * first.factor
        return state, first._replace(places=places, factor=factor)


def look_with_features(model, variables, frames):
    """Looks at frames, and keeps the encoder's last features.

    Args:
        model: CorrespondenceNetwork.
        variables: its variables.
        frames: [B, S, S, 3] in [0, 1].

    Returns:
        local features [B, S / 4, S / 4, local], the first answer, and the encoder's last features
        [B, S / 16, S / 16, widths[-1]].
    """
    last = f'stages_{len(model.widths) - 1}_{model.blocks[-1] - 1}'
    (local, first), kept = model.apply(
        variables,
        frames,
        method='look',
        capture_intermediates=lambda module, _: module.name == last,
        mutable='intermediates',
    )
    return local, first, kept['intermediates'][last]['__call__'][0]
