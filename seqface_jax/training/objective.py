"""Every loss that a network which answers with faces can be trained by, each declared once.

`train.loss_weights` of a config says how much each counts. Another loss is a function and a line of
LOSSES here, and its weight in configs/default.py.
"""

import functools

from seqface_jax import models
from seqface_jax.errors import UserError
from seqface_jax.geometry import face_regions, voxels
from seqface_jax.training import losses
from seqface_jax.training.weighted_losses import Loss, weighted, weighted_sum

TARGET = 'target'  # Stands in `needs` for the fields that data.target names:
_TARGETS = {'position_map': ('position_map', 'mask'), 'points': ('points',)}
_OF_FRAMES = ('image_map', 'image_mask', 'frame_map', 'frame_mask')  # With data.frame_maps only.


class Answered:
    """What a network answered to a batch, beside what it should have.

    Attributes:
        prediction: models.Prediction.
        batch: dict of arrays with one row for each sequence.
        constants: of the network.
    """

    def __init__(self, config, prediction, batch, constants):
        self._config = config
        self.prediction, self.batch, self.constants = prediction, batch, constants

    @functools.cached_property
    def target(self):
        """Target [B, S, S, 3] mm and mask [B, S, S] at the side of the position map."""
        side = self.prediction.position_map.shape[-2]
        return losses.ordered_target(self.batch, self._config.data.target, side)

    @property
    def image_target(self):
        """What `losses.image_target` returns, of the frames that the network answers to."""
        of_first = models.reads(self._config.model) in ('pair', 'front')
        return losses.image_target(self.batch, self.image_side, of_first=of_first)

    @property
    def image_side(self):
        """Side of the image map that the network answers with, pixels."""
        return self.prediction.image_map.shape[-2]


def _masked_l1(answered):
    return losses.masked_l1(answered.prediction.position_map, *answered.target)


def _gaussian_nll(answered):
    prediction = answered.prediction
    return losses.gaussian_nll(prediction.position_map, prediction.log_variance, *answered.target)


def _frame_l1(answered):
    prediction = answered.prediction
    return losses.frame_l1(prediction.frame_map, prediction.position_map, answered.batch)


def _index_mse(answered):
    predicted, target = answered.prediction.position_map, answered.target[0]
    return losses.index_mse(predicted, target, answered.constants['scale_mm'])


def _weighted_image(answered):
    weights = face_regions.training_weights(answered.image_side)
    return losses.weighted_image(answered.prediction.image_map, *answered.image_target, weights)


def _image_mse(answered):
    return losses.image_mse(answered.prediction.image_map, *answered.image_target)


def _rotated_views(answered):
    views = answered.prediction.views
    side = views['fitted'].shape[-2]
    seen = losses.image_target(answered.batch, side, of_first=False)
    return losses.rotated_views(views, *seen, face_regions.training_weights(side))


def _voxels(answered):
    logits, constants = answered.prediction.voxels.logits, answered.constants
    box = constants['corner_mm'], constants['cell_mm'], logits.shape[-1]
    inside = voxels.occupancy(answered.batch['position_map'], *box)
    return losses.voxel_cross_entropy(logits, inside)


_MAP = ('position_map',)
_IMAGE = ('image_map', 'image_mask')
LOSSES = (
    Loss('masked_l1', _masked_l1, needs=(TARGET,), reads=_MAP),
    Loss(
        'index_mse',
        _index_mse,
        needs=(TARGET,),
        reads=_MAP,
        constants=('scale_mm',),
        last_only=True,
    ),
    Loss('weighted_image', _weighted_image, needs=_IMAGE, reads=('image_map',)),
    Loss('image_mse', _image_mse, needs=_IMAGE, reads=('image_map',), last_only=True),
    Loss('rotated_views', _rotated_views, needs=_IMAGE, reads=('views',), last_only=True),
    Loss(
        'voxels',
        _voxels,
        needs=('position_map',),
        reads=('voxels',),
        constants=('corner_mm', 'cell_mm'),
        last_only=True,
    ),
    Loss('gaussian_nll', _gaussian_nll, needs=(TARGET,), reads=(*_MAP, 'log_variance')),
    Loss(
        'frame_l1',
        _frame_l1,
        needs=('frame_map', 'frame_mask', 'position_map', 'mask'),
        reads=(*_MAP, 'frame_map'),
    ),
)


def sequence_losses(config, prediction, batch, constants):
    """Computes the loss of each sequence.

    Returns:
        the loss [B], its terms (dict of [B]) and the error in mm after the last frame [B].

    Raises:
        UserError: the network does not answer with what a loss reads.
    """
    for loss in _weighted(config):
        lacking = [name for name in loss.reads if getattr(prediction, name) is None]
        if lacking:
            raise UserError(
                f'train.loss_weights.{loss.name} needs a network that answers with '
                f"{' and '.join(lacking)}; '{config.model.name}' as configured does not: set the "
                'weight to 0, or the options of the model'
            )
    answered = Answered(config, prediction, batch, constants)
    loss, terms = weighted_sum(LOSSES, config.train.loss_weights, answered)
    last = prediction.position_map[:, -1:]
    return loss, terms, losses.masked_l1(last, *answered.target)


def check(config, constants):
    """Raises UserError where the records or the network have not what a weighted loss needs.

    Args:
        config: of the run.
        constants: of its network, or None to check the records only.
    """
    for loss in _weighted(config):
        weight = f'train.loss_weights.{loss.name}'
        if not config.data.frame_maps and set(loss.needs) & set(_OF_FRAMES):
            raise UserError(
                f'{weight} needs data.frame_maps=True (records prepared with --frame_maps)'
            )
        lacking = [] if constants is None else [n for n in loss.constants if n not in constants]
        if lacking:
            raise UserError(
                f"{weight} needs a model with {' and '.join(lacking)}; '{config.model.name}' has "
                'none: give the weight to masked_l1'
            )


def batch_fields(config):
    """Returns the names of the targets in a batch that the losses and the error need, a list."""
    needs = [TARGET, *(name for loss in _weighted(config) for name in loss.needs)]
    fields = []
    for name in needs:
        fields += _TARGETS[config.data.target] if name == TARGET else (name,)
    return list(dict.fromkeys(fields))


def term_names(config):
    """Returns the names of the terms of a config's loss, a list."""
    return [loss.name for loss in _weighted(config)]


def last_only(config):
    """Whether all losses are about the answer after the last frame."""
    return all(loss.last_only for loss in _weighted(config))


def _weighted(config):
    return weighted(LOSSES, config.train.loss_weights)
