"""The networks, by the name that a config gives them."""

import importlib

from seqface_jax.models import fields
from seqface_jax.models.correspondence_network import CorrespondenceNetwork
from seqface_jax.models.front_side import FrontSide
from seqface_jax.models.fusion import Fusion
from seqface_jax.models.prediction import Prediction as Prediction
from seqface_jax.models.prnet import PRNet
from seqface_jax.models.r2n2 import R2N2
from seqface_jax.models.rotate_render import RotateRender
from seqface_jax.models.seqface import SeqFace
from seqface_jax.models.sequence_model import MAX_FRAMES as MAX_FRAMES
from seqface_jax.models.sequence_model import VARIANCE_SCALE as VARIANCE_SCALE

MODELS = {
    'correspondence': CorrespondenceNetwork,
    'front_side': FrontSide,
    'fusion': Fusion,
    'prnet': PRNet,
    'r2n2': R2N2,
    'rotate_render': RotateRender,
    'seqface': SeqFace,
}


def create(config_model, image_size, **overrides):
    """Builds the network of a config.

    Args:
        config_model: mapping of `name`, a key of MODELS or 'module:Class' of a SequenceModel
            anywhere, and the fields of that class.
        image_size: side of the frames, in pixels.
        **overrides: fields of the class that depend on where it runs: scan_unroll, axis_name.

    Returns:
        A Flax module: `model.apply(variables, frames, train=...) -> Prediction`, `initial_state`
        and `step`.

    Raises:
        ModelConfigError (a UserError and a ValueError): a name or a field that does not exist, or
            is missing.
    """
    model_class, values = _parse(config_model)
    return model_class(**values | overrides, image_size=image_size)


def constants(config_model, table, sample_frames=None):
    """Computes the collection 'constants' of a network from the training split's subjects.

    Args:
        config_model: as of `create`.
        table: dict of arrays stacked over subjects, mm: position_map [N, 128, 128, 3], mask
            [N, 128, 128], points [N, P, 3].
        sample_frames: function of a number that returns at most so many frames of the training
            split, float32 [M, H, W, 3], normalised as the config says; for those that look at
            frames beforehand.

    Returns:
        dict of float32 arrays.
    """
    model_class, values = _parse(config_model)
    return model_class.make_constants(values, table, sample_frames)


def reads(config_model):
    """Returns what the network of a config looks at: a key of MAX_FRAMES."""
    return getattr(_find(config_model.get('name')), 'READS', 'sequence')


def _parse(config_model):
    values = fields.plain(config_model)
    model_class = _find(values.pop('name', None))
    model_class.check_fields(values)
    return model_class, values


def _find(name):
    module, colon, class_name = str(name).partition(':')
    if not colon:
        return fields.choose(MODELS, name, 'model.name')
    try:
        return getattr(importlib.import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        raise fields.ModelConfigError(
            f"model.name is {name!r}, which cannot be imported ({error}): write 'module:Class'"
        ) from error
