"""The loss as a sum of named terms, each with its weight in the config."""

from collections.abc import Callable
from typing import NamedTuple

from seqface_jax.errors import UserError


class Loss(NamedTuple):
    """A term of the loss.

    Attributes:
        name: of its weight in train.loss_weights and of its column in metrics.csv.
        function: of what the system gives its losses; returns [B] or a mean.
        needs: fields of a batch that it compares with.
        reads: fields of the network's answer that it looks at.
        constants: of the network that it looks at.
        last_only: whether it is about the answer after the last frame only.
    """

    name: str
    function: Callable
    needs: tuple = ()
    reads: tuple = ()
    constants: tuple = ()
    last_only: bool = False


def weighted(declared, weights):
    """Returns those of a tuple of Loss that have a weight other than 0.

    Args:
        declared: tuple of Loss.
        weights: mapping of the name of each of them to a number.

    Raises:
        UserError: none of them has one.
    """
    chosen = tuple(loss for loss in declared if weights[loss.name])
    if not chosen:
        raise UserError(
            'every weight in train.loss_weights is 0: set one of '
            f'{", ".join(loss.name for loss in declared)}'
        )
    return chosen


def weighted_sum(declared, weights, given):
    """Returns the loss, and its terms by name, without their weights.

    Args:
        declared, weights: as of `weighted`.
        given: what the functions of the losses are called with.
    """
    terms = {loss.name: loss.function(given) for loss in weighted(declared, weights)}
    return sum(weights[name] * term for name, term in terms.items()), terms
