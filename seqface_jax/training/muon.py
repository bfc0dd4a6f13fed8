"""Muon: the steps of hidden matrices are made orthogonal; everything else takes Adam's."""

import jax
import optax
import optax.contrib

ADAM_B2 = 0.99  # Decay of Adam's second moment.
_NEWTON_SCHULZ_STEPS = 4


def muon(rate, weight_decay, is_matrix):
    """Returns Muon (Jordan, 2024) with updates as large as Adam's (Liu et al., 2025).

    Args:
        rate: learning rate, a function of the step.
        weight_decay: taken off the weights, times the rate.
        is_matrix: function of a parameter's path in the tree and the parameter: whether it is a
            matrix between hidden features. All axes but the last are its rows.

    Returns:
        An optax.GradientTransformation.
    """

    def matrices(params):
        def axes(path, leaf):
            if leaf.ndim < 2 or not is_matrix(path, leaf):
                return None
            *rows, column = range(leaf.ndim)
            return optax.contrib.MuonDimensionNumbers(tuple(rows), (column,))

        return jax.tree_util.tree_map_with_path(axes, params)

    return optax.contrib.muon(
        rate,
        ns_steps=_NEWTON_SCHULZ_STEPS,
        preconditioning='aol',
        weight_decay=weight_decay,
        adam_b2=ADAM_B2,
        adam_weight_decay=weight_decay,
        muon_weight_dimension_numbers=matrices,
        consistent_rms=0.2,
    )
