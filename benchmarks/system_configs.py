"""The systems that are put side by side: a config for each, at several scales.

tiny: a minute a system on two CPU cores, to see that all of it runs. small: networks and frames
that two CPU cores train in minutes. cores: those that they train in hours, until nothing improves.
short: full size, trained gently, for minutes of a GPU. full: the configs as they are.
"""

import importlib

SCALES = ('tiny', 'small', 'cores', 'short', 'full')
_ORDERED = {  # Points of places, not of indices; what is no face does not count.
    'data.target': 'position_map',
    'train.loss_weights.index_mse': 0.0,
    'train.loss_weights.masked_l1': 1.0,
}
# By name of the row: the config, and what differs from it at every scale.
SYSTEMS = {
    'fusion': ('fusion', {}),
    'bu4dfe_thesis': ('bu4dfe_thesis', {}),
    'thesis_ordered': ('bu4dfe_thesis', _ORDERED),
    'prnet': ('prnet', {}),
    'front_side': ('front_side', {}),
    'front_only': ('front_side', {'data.num_frames': 1}),
    'rotate_render': ('rotate_render', {}),
    'r2n2_gru': ('r2n2_gru', {}),
    'r2n2_lstm': ('r2n2_lstm', {}),
}
_GENTLE = {  # Small frames of few people bear less than the published augmentation.
    'data.augmentation.shift': 0.03,
    'data.augmentation.scale': 0.05,
    'data.augmentation.zoom': 1.0,
    'data.augmentation.rotation_deg': 5.0,
    'data.augmentation.occlusion': 0.0,
    'data.augmentation.coarse_dropout': 0.0,
    'data.augmentation.mirror': True,
}
_TURNS = {'data.front_max_yaw_deg': 20.0, 'data.side_min_yaw_deg': 25.0}
_IMAGE = {
    **_GENTLE,
    **_TURNS,
    'data.image_size': 64,
    'optimizer.learning_rate': 1e-3,
    'optimizer.clip_norm': 1.0,
    'train.num_epochs': 10,
}
_PAIR = {'model.width': 0.5, 'model.features': 6}
_R2N2 = _GENTLE | {
    'data.image_size': 64,
    'data.num_frames': 4,
    'data.batch_size': 8,
    'model.encoder_features': (16, 24, 32, 32, 48, 48),
    'model.code_features': 192,
    'model.state_features': 32,
    'model.decoder_features': (32, 32, 16, 8),
    'optimizer.learning_rate': 1e-3,
    'train.num_epochs': 10,
}
_SMALL_CONFIGS = {'fusion': 'quickstart'}
_SMALL = {
    'fusion': {'train.num_epochs': 10},
    'bu4dfe_thesis': {'data.image_size': 64, 'train.num_epochs': 2},
    'thesis_ordered': {'data.image_size': 64, 'train.num_epochs': 2},
    'prnet': _IMAGE | {'model.features': 6, 'train.num_epochs': 20},
    'front_side': _IMAGE | _PAIR,
    'front_only': _IMAGE | _PAIR,
    'rotate_render': _IMAGE | _PAIR | {'model.fill_features': 12, 'model.fit_features': 12},
    'r2n2_gru': _R2N2,
    'r2n2_lstm': _R2N2,
}
# Rates that teach in minutes what the published ones teach in days; averaged in place of decayed.
_SHORT_RECIPE = _GENTLE | {
    'optimizer.learning_rate': 1e-3,
    'optimizer.decay_every_epochs': 0,
    'optimizer.clip_norm': 1.0,
    'train.ema_decay': 0.99,
    'train.early_stop_epochs': 0,
}
_SHORT = dict.fromkeys(SYSTEMS, _SHORT_RECIPE) | dict.fromkeys(
    ('fusion', 'bu4dfe_thesis', 'thesis_ordered'), {'train.early_stop_epochs': 0}
)
_UNTIL_DONE = {  # benchmarks.system_training says when to stop, from people nobody is tested on.
    'data.validation_split': 'validation',
    'data.test_split': 'test',
    'train.num_epochs': 100_000,
    'train.early_stop_epochs': 0,
    'train.checkpoint_every_steps': 200,  # What a stopped sitting loses, at most.
}
_HOURS = _SHORT_RECIPE | _UNTIL_DONE | _TURNS
# What took Adam 2,000 steps, Lium's network learns in 150 with Muon.
_MUON = _HOURS | {
    'optimizer.name': 'muon',
    'optimizer.learning_rate': 3e-3,
    'optimizer.decay_factor': 0.5,
    'optimizer.decay_every_epochs': 10,
    'optimizer.decay_at_steps': (),
    'optimizer.l2': 0.0,  # Muon would take it for a direction as good as any gradient's.
}
_HOURS_R2N2 = _MUON | {
    'optimizer.decay_every_epochs': 3,
    'data.image_size': 64,
    'data.num_frames': 4,
    'data.batch_size': 8,
    'model.encoder_features': (32, 48, 64, 64, 96, 96),
    'model.code_features': 384,
    'model.state_features': 48,
    'model.decoder_features': (48, 32, 24, 8),
}
_HOURS_IMAGE = _MUON | {'data.image_size': 64, 'model.features': 8}
_HOURS_PAIR = _HOURS_IMAGE | {'model.width': 0.5}
_CORES_CONFIGS = {'fusion': 'fusion_cpu'}
_CORES = {
    'fusion': _UNTIL_DONE | {'optimizer.decay_every_epochs': 0, 'train.ema_decay': 0.995},
    'bu4dfe_thesis': _UNTIL_DONE | {'data.image_size': 64},  # Else to the letter.
    'thesis_ordered': _HOURS
    | {
        'data.image_size': 64,
        'data.augmentation.enabled': True,
        'optimizer.learning_rate': 3e-4,
    },
    'prnet': _HOURS_IMAGE | {'optimizer.learning_rate': 5e-3},
    'front_side': _HOURS_PAIR,
    'front_only': _HOURS_PAIR,
    'rotate_render': _HOURS_PAIR | {'model.fill_features': 16, 'model.fit_features': 16},
    'r2n2_gru': _HOURS_R2N2,
    'r2n2_lstm': _HOURS_R2N2,
}
_TINY_IMAGE = {'data.image_size': 32, 'model.features': 2, 'data.batch_size': 4}
_TINY_R2N2 = {
    'data.image_size': 32,
    'data.num_frames': 2,
    'data.batch_size': 4,
    'model.encoder_features': (4, 4, 8, 8, 8, 8),
    'model.code_features': 16,
    'model.state_features': 8,
    'model.decoder_features': (8, 8, 4, 4),
}
_TINY = {
    'bu4dfe_thesis': {'data.image_size': 32},
    'thesis_ordered': {'data.image_size': 32},
    'prnet': _TINY_IMAGE,
    'front_side': _TINY_IMAGE | {'model.width': 0.25},
    'front_only': _TINY_IMAGE | {'model.width': 0.25},
    'rotate_render': _TINY_IMAGE
    | {'model.width': 0.25, 'model.fill_features': 4, 'model.fit_features': 4},
    'r2n2_gru': _TINY_R2N2,
    'r2n2_lstm': _TINY_R2N2,
}


def system_config(name, scale):
    """Returns the config of a system.

    Args:
        name: a key of SYSTEMS.
        scale: a name in SCALES.
    """
    config_name, always = SYSTEMS[name]
    if scale in ('tiny', 'small'):
        config_name, changes = _SMALL_CONFIGS.get(name, config_name), _SMALL[name]
    elif scale == 'cores':
        config_name, changes = _CORES_CONFIGS.get(name, config_name), _CORES[name]
    else:
        changes = _SHORT[name] if scale == 'short' else {}
    if scale == 'tiny':
        changes = changes | _TINY.get(name, {}) | {'train.num_epochs': 1, 'data.num_threads': 1}
    config = importlib.import_module(f'configs.{config_name}').get_config()
    config.update_from_flattened_dict(changes | always)
    return config
