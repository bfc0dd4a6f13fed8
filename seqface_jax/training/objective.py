"""What training minimises, as a config names it."""

from seqface_jax import models
from seqface_jax.geometry import face_regions, voxels
from seqface_jax.training import losses


def sequence_losses(config, prediction, batch, constants):
    """Returns the loss and the error in mm after the last frame of each sequence, [B] and [B]."""
    predicted = prediction.position_map
    side = predicted.shape[-2]
    target, mask = losses.ordered_target(batch, config.data.target, side)
    loss = _loss(config, prediction, batch, target, mask, constants)
    if config.train.uncertainty_weight and prediction.log_variance is not None:
        nll = losses.gaussian_nll(predicted, prediction.log_variance, target, mask)
        loss += config.train.uncertainty_weight * nll
    if config.train.frame_weight:
        frame_mm = losses.frame_l1(prediction.frame_map, predicted, batch)
        loss += config.train.frame_weight * frame_mm
    return loss, losses.masked_l1(predicted[:, -1:], target, mask)


def _loss(config, prediction, batch, target, mask, constants):
    """Returns the loss that config.train.loss names, [B]."""
    name = config.train.loss
    if name == 'masked_l1':
        return losses.masked_l1(prediction.position_map, target, mask)
    if name == 'index_mse':
        return losses.index_mse(prediction.position_map, target, constants['scale_mm'])
    if name == 'voxels':
        logits = prediction.voxels.logits
        box = constants['corner_mm'], constants['cell_mm'], logits.shape[-1]
        return losses.voxel_cross_entropy(logits, voxels.occupancy(batch['position_map'], *box))
    if name not in losses.NAMES:
        raise ValueError(f'train.loss {name!r} is not one of {losses.NAMES}')
    side = prediction.image_map.shape[-2]
    of_first = models.reads(config.model) in ('pair', 'front')
    target, mask = losses.image_target(batch, side, of_first=of_first)
    if name == 'weighted_image':
        weights = face_regions.training_weights(side)
        return losses.weighted_image(prediction.image_map, target, mask, weights)
    loss = losses.image_mse(prediction.image_map, target, mask)
    if name == 'rotated_views':
        side = prediction.views['fitted'].shape[-2]
        seen = losses.image_target(batch, side, of_first=False)
        weights = face_regions.training_weights(side)
        loss += losses.VIEWS_WEIGHT * losses.rotated_views(prediction.views, *seen, weights)
    return loss


def last_only(config):
    return config.train.loss in losses.OF_LAST_ANSWER
