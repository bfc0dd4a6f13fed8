"""Trains every system on the same records and prints them side by side.

python benchmarks/systems.py --data_dir=DATA [--data_name=bu4dfe] [--out_dir=runs/systems]
    --scale=tiny: a minute a system on two CPU cores, to see that all of it runs
    --scale=small: networks and frames that two CPU cores train in minutes
    --scale=short: networks and frames of full size, trained gently, for minutes of a GPU
    --scale=full: the configs as they are, for a GPU and days

The records must have been prepared with --frame_maps, of heads that turn (synthetic_raw
--turn_deg=60). A stopped run goes on where it was; a finished one is only scored again.
"""

import importlib
import os
import sys

from absl import app, flags, logging

from seqface_jax import errors

SCALES = ('tiny', 'small', 'short', 'full')
# By name of the row: the config, and what differs from it at every scale.
SYSTEMS = {
    'fusion': ('fusion', {}),
    'bu4dfe_thesis': ('bu4dfe_thesis', {}),
    'prnet': ('prnet', {}),
    'front_side': ('front_side', {}),
    'front_only': ('front_side', {'data.num_frames': 1}),
    'rotate_render': ('rotate_render', {}),
    'r2n2_gru': ('r2n2_gru', {}),
    'r2n2_lstm': ('r2n2_lstm', {}),
}
_NEVER_SAW = {('front_only', 2)}  # Frames that a system was not trained to read: no rows.
_GENTLE = {  # Small frames of few people bear less than the published augmentation.
    'data.augmentation.shift': 0.03,
    'data.augmentation.scale': 0.05,
    'data.augmentation.zoom': 1.0,
    'data.augmentation.rotation_deg': 5.0,
    'data.augmentation.occlusion': 0.0,
    'data.augmentation.coarse_dropout': 0.0,
    'data.augmentation.mirror': True,
}
_IMAGE = _GENTLE | {
    'data.image_size': 64,
    'data.front_max_yaw_deg': 20.0,
    'data.side_min_yaw_deg': 25.0,
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
_SHORT = {
    'fusion': {'train.early_stop_epochs': 0},
    'bu4dfe_thesis': {'train.early_stop_epochs': 0},
    'prnet': _SHORT_RECIPE,
    'front_side': _SHORT_RECIPE,
    'front_only': _SHORT_RECIPE,
    'rotate_render': _SHORT_RECIPE,
    'r2n2_gru': _SHORT_RECIPE,
    'r2n2_lstm': _SHORT_RECIPE,
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
    config_name, changes = SYSTEMS[name]
    is_small = scale in ('tiny', 'small')
    if is_small:
        config_name = _SMALL_CONFIGS.get(name, config_name)
    config = importlib.import_module(f'configs.{config_name}').get_config()
    changes = dict(changes)
    if is_small:
        changes |= _SMALL[name]
    if scale == 'short':
        changes |= _SHORT[name]
    if scale == 'tiny':
        changes |= _TINY.get(name, {}) | {'train.num_epochs': 1, 'data.num_threads': 1}
    config.update_from_flattened_dict(changes | dict(SYSTEMS[name][1]))
    return config


def table(rows, parameters):
    """Returns the rows of an evaluation as Markdown, with sizes and times, and what they say.

    Args:
        rows: as in results.json, of one split and checkpoint.
        parameters: number of parameters of each system.
    """
    titles = ('system', 'frames', 'nme_thesis', 'scan_to_mesh_mm', 'vertex_mm', 'coverage')
    titles += ('voxel IoU', 'voxel AP', 'parameters', 'ms per face')
    lines = ['| ' + ' | '.join(titles) + ' |', '|' + '---|' * len(titles)]
    for row in rows:
        if (row['model'], row['num_frames']) in _NEVER_SAW:
            continue
        seconds = row['seconds_per_sequence']
        cells = [
            f'{row["model"]} ({row["of"]})' if row['of'] else row['model'],
            _text(row['num_frames'], 'd'),
            _text(row['nme_thesis'], '.4f'),
            _text(row['scan_to_mesh_mm']['mean'], '.2f'),
            _text(row['vertex_mm'], '.2f'),
            _text(row['coverage'], '.3f'),
            _text(row['voxel_iou'], '.3f'),
            _text(row['voxel_ap'], '.3f'),
            _text(parameters.get(row['of'] or row['model']), ',d'),
            _text(None if seconds is None else 1e3 * seconds / row['num_frames'], '.1f'),
        ]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join([*lines, '', worth_of_the_drawn_view(rows)]) + '\n'


def worth_of_the_drawn_view(rows):
    """Says in mm what a drawn side view gives, beside the true one and none; '' if not known."""
    wanted = {'front_only': 1, 'rotate_render': 1, 'front_side': 2}
    found = {
        row['model']: row['scan_to_mesh_mm']['mean']
        for row in rows
        if wanted.get(row['model']) == row['num_frames'] and not row['of']
    }
    if len(found) < len(wanted):
        return ''
    alone, drawn, true = (found[name] for name in wanted)
    return (
        f'The drawn side view is worth {alone - drawn:.2f} mm of scan_to_mesh_mm '
        f'({alone:.2f} from the front alone, {drawn:.2f} with it); the true one '
        f'{alone - true:.2f} mm ({true:.2f}).'
    )


def _text(value, digits):
    return '-' if value is None else format(value, digits)


def _chosen():
    names = flags.FLAGS.systems or list(SYSTEMS)
    for name in names:
        errors.check_choice(name, SYSTEMS, 'system')
    return names


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('data_dir', None, 'Where data_prep wrote the records.')
    flags.DEFINE_string('data_name', 'bu4dfe', 'Name of the records.')
    flags.DEFINE_string('out_dir', 'runs/systems', 'One folder per system, and the table.')
    flags.DEFINE_enum('scale', 'small', SCALES, 'How large.')
    flags.DEFINE_integer('epochs', None, 'Epochs of every system; as the scale says if left out.')
    flags.DEFINE_float('minutes', None, 'Training of a system ends with the epoch that passes it.')
    flags.DEFINE_list('systems', None, 'Only these; all if left out.')
    flags.DEFINE_list('frames', ['1', '2', '8'], 'Numbers of frames to score at.')
    flags.DEFINE_integer('subjects', 0, 'At most so many of test; 0: all.')


@errors.exit_on_user_error
def main(argv):
    """Trains the systems that are asked for and prints their table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    import jax
    import numpy as np

    from seqface_jax import checkpoints, evaluate, train
    from seqface_jax.commands import compilation_cache

    compilation_cache.turn_on()  # A stopped run, started again, compiles nothing twice.
    workdirs, parameters = [], {}
    for name in _chosen():
        config = system_config(name, flags.FLAGS.scale)
        config.data.update(dir=flags.FLAGS.data_dir, name=flags.FLAGS.data_name)
        if flags.FLAGS.epochs is not None:
            config.train.num_epochs = flags.FLAGS.epochs
        workdir = os.path.join(flags.FLAGS.out_dir, name)
        sys.stderr.write(f'{name}:\n')
        minutes = flags.FLAGS.minutes
        train.train_and_evaluate(config, workdir, minutes and 60 * minutes)
        _, _, variables = checkpoints.load(workdir, 'best_validation')
        leaves = jax.tree.leaves(variables['params'])
        parameters[name] = sum(int(np.prod(leaf.shape)) for leaf in leaves)
        workdirs.append(workdir)
    options = evaluate.EvaluationOptions(
        frames=tuple(int(count) for count in flags.FLAGS.frames),
        splits=('test',),
        checkpoints=('best_validation',),
        max_subjects=flags.FLAGS.subjects,
    )
    text = table(evaluate.evaluate(workdirs, options), parameters)
    with open(os.path.join(flags.FLAGS.out_dir, 'systems.md'), 'w', encoding='utf-8') as file:
        file.write(text)
    sys.stdout.write(text)


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['data_dir'])
    app.run(main)
