"""The check whether the network of a system can fit eight people at all: else no training helps it.

It learns from the records that `data_prep.person_records` names FEW, without
augmentation, dropout and decay, and is scored on the same people and pictures.
"""

import dataclasses

from data_prep.person_records import FEW

SPLIT = 'validation'  # The eight people, each once.
SHARE = 0.25  # Share of the hours of a whole training.
_BARE = {
    'data.name': FEW,
    'data.validation_split': SPLIT,
    'data.augmentation.enabled': False,
    'optimizer.decay_every_epochs': 5,  # An epoch of eight people is short.
    'optimizer.l2': 0.0,
    'optimizer.weight_decay': 0.0,
}


def capacity_config(config):
    """Returns a copy of a system's config that learns the eight people, and nothing else."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(_BARE)
    if 'dropout' in config.model:
        config.model.dropout = 0.0
    return config


def options(whole):
    """Returns the evaluate.EvaluationOptions of the eight people, from those of the test."""
    return dataclasses.replace(whole, data_name=FEW, splits=(SPLIT,), max_subjects=0)
