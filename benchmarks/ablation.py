"""Trains variants of the networks on the same records: what each part is worth.

python -m benchmarks.ablation --data_dir=DATA [--data_name=bu4dfe] [--out_dir=runs/ablation]
    --family=flagship: parts and recipe of configs/fusion_cpu.py, one changed at a time
    --family=memory: the thesis's network with ordered targets: where its ConvLSTMs are, how many,
        how its decoder enlarges
    --scale=tiny: seconds a variant, to see that all of it runs

Scored on people of the validation split, never on test: vertex_mm after 1, 2 and 8 frames, and
what that is of the first row's, with a 95 % interval over the people. A stopped run goes on where
it was; rows that have been trained are only scored again. --variants names some, so that several
processes can share the work; --table prints what has been trained.
"""

import json
import os
import sys
import zlib

from absl import app, flags, logging

from seqface_jax import errors

_GRADIENTS = {'kind': 'unwrapped_gradients', 'features': 8, 'stride': 8, 'refinements': 3}
_FLAGSHIP = {  # What differs from configs/fusion_cpu.py.
    'fusion_cpu.py': {},
    'gradients of the frame only': {
        'model.encoder': {'kind': 'oriented_gradients', 'features': 8, 'stride': 8},
        'model.pose_products': False,
    },
    'the pose as it is first told': {'model.encoder': _GRADIENTS | {'refinements': 0}},
    'the pose refined once': {'model.encoder': _GRADIENTS | {'refinements': 1}},
    'cells half as wide': {
        'model.encoder': _GRADIENTS | {'stride': 4},
        'model.memory_stride': 8,
    },
    'no products with the pose': {'model.pose_products': False},
    'half the directions of features': {'model.feature_size': 384},
    'half again as many directions': {'model.feature_size': 1152},
    'half the hidden features': {'model.hidden_features': 96},
    'twice the hidden features': {'model.hidden_features': 384},
    'a third of the face space': {'model.code_size': 20},
    'half the measurements': {'model.measurements': 64},
    'no dropout': {'model.dropout': 0.0},
    'no weight decay': {'optimizer.weight_decay': 0.0},
    'no average of weights': {'train.ema_decay': 0.0},
    'no likelihood in the loss': {'train.loss_weights.gaussian_nll': 0.0},
    'trained on single frames': {'data.num_frames': 1, 'data.batch_size': 128},
    'no augmentation': {'data.augmentation.enabled': False},
    'no mirroring': {'data.augmentation.mirror': False},
    'moved by up to a fiftieth': {
        'data.augmentation.shift': 0.02,
        'data.augmentation.scale': 0.02,
        'data.augmentation.rotation_deg': 2.0,
    },
    'no JPEG': {'data.augmentation.jpeg': 0.0},
    'erased rectangles on a third': {'data.augmentation.occlusion': 0.3},
    'half the pixels each way': {'data.image_size': 64, 'model.memory_stride': 2},
}


def _conv(features, stride=2):
    return {'kind': 'conv', 'features': features, 'stride': stride}


def _lstm(features, stride=2):
    return {'kind': 'conv_lstm', 'features': features, 'stride': stride}


_SIDES = (32, 48, 64, 96)  # Channels at a half, a quarter, an eighth, a sixteenth of the side.


def _encoder(places):
    """Returns an encoder with ConvLSTMs at these of its five places; the last keeps the side."""
    layers = [(_lstm if i in places else _conv)(features) for i, features in enumerate(_SIDES)]
    return (*layers, (_lstm if len(_SIDES) in places else _conv)(128, 1))


def _decoder(kind, depth):
    """Returns a decoder that enlarges eight times in three steps, with `depth` more layers."""
    kernel = {'kernel': 4 if kind == 'conv_transpose' else 3}
    layers = [{'kind': kind, 'features': f, 'stride': 2, **kernel} for f in (96, 64, 32)]
    layers += [{'kind': kind, 'features': 32, **kernel}] * depth
    return (*layers, {'kind': kind, 'features': 3, **kernel})


_MEMORY = {
    'ConvLSTM last': {},
    'ConvLSTM first': {'model.encoder': _encoder({0})},
    'ConvLSTM in the middle': {'model.encoder': _encoder({2})},
    'two: middle and last': {'model.encoder': _encoder({2, 4})},
    'five: everywhere': {'model.encoder': _encoder(range(5))},
    'none: the last frame alone': {'model.encoder': _encoder(())},
    'decoder of transposed convolutions': {'model.decoder': _decoder('conv_transpose', 1)},
    'decoder without a further layer': {'model.decoder': _decoder('resize_conv', 0)},
    'decoder with three further layers': {'model.decoder': _decoder('resize_conv', 3)},
}
FAMILIES = {'flagship': _FLAGSHIP, 'memory': _MEMORY}
SCALES = ('small', 'tiny')
_TINY = {
    'flagship': {
        'model.feature_size': 32,
        'model.hidden_features': 16,
        'model.code_size': 8,
        'model.measurements': 16,
    },
    'memory': {'data.image_size': 64},
}


def variant_config(family, name, scale='small'):
    """Returns the config of a variant.

    Args:
        family: a key of FAMILIES.
        name: a key of FAMILIES[family].
        scale: a name in SCALES.
    """
    from configs import bu4dfe_thesis, fusion_cpu

    config = fusion_cpu.get_config()
    changes = {}
    if family == 'memory':
        config.model = bu4dfe_thesis.get_config().model
        changes |= {
            'model.norm': 'group',
            'model.output_activation': 'linear',
            'model.encoder': _encoder({4}),
            'model.decoder': _decoder('resize_conv', 1),
            'optimizer.learning_rate': 1e-3,
            'optimizer.weight_decay': 0.0,
            'train.loss_weights.gaussian_nll': 0.0,
            'data.augmentation.repeat': 0.0,
        }
    changes |= FAMILIES[family][name]
    if scale == 'tiny':
        changes |= _TINY[family] | {'train.num_epochs': 1, 'data.num_threads': 1}
    config.update_from_flattened_dict(changes)
    return config


def shorten(config, epochs):
    """Sets the number of epochs of a config; the rate of learning decays so much the faster."""
    every = config.optimizer.decay_every_epochs * epochs / config.train.num_epochs
    config.optimizer.decay_every_epochs = max(1, round(every))
    config.train.num_epochs = epochs


def errors_mm(config, model, variables, frames, seed=0):
    """Returns vertex_mm of each person of the validation split, [len(frames), S].

    Args:
        config, model, variables: as of checkpoints.load.
        frames: increasing numbers of frames.
        seed: of the draw of frames.

    Raises:
        UserError: the true face of somebody is not known.
    """
    import jax
    import numpy as np

    from seqface_jax.data import input_pipeline
    from seqface_jax.evaluation import answer_and_truth, metrics, streaming
    from seqface_jax.models.network import make_step

    split = input_pipeline.open_dataset(config.data).split(config.data.validation_split)
    table = split.subjects
    if not all(table['has_truth']):
        raise errors.UserError(
            f'{config.data.dir} holds people whose true face is not known: prepare synthetic ones'
        )
    shown = []
    for index, subject in enumerate(split.subject_ids):
        draw = [seed, zlib.crc32(subject.encode())]
        drawn = streaming.draw_frames(split.frame_index[index].sequences, frames[-1], seed=draw)
        shown.append(streaming.ShownFrames(split, index, drawn))
    step = make_step(config, model)
    predictions, _ = streaming.stream(step, jax.device_put(variables), shown, frames)

    def error(found, true_map, mask):
        truth = answer_and_truth.truth_at(true_map, mask.astype(bool), len(found))
        return metrics.vertex_mm(found, *truth)

    truths = table['true_position_map'], table['true_mask']
    return np.array(
        [list(map(error, prediction.position_map, *truths)) for prediction in predictions]
    )


def table(results, frames):
    """Returns the variants side by side as Markdown.

    Args:
        results: dict by name, the first is what the others are compared with, of dicts: errors_mm
            [len(frames)][S], seconds, parameters.
        frames: numbers of frames.
    """
    import numpy as np

    from seqface_jax.evaluation import statistics

    names = [f'after {count}' for count in frames]
    titles = ('variant', *names, f'of the first, {names[-1]}', 'parameters', 's')
    lines = ['| ' + ' | '.join(titles) + ' |', '|' + '---|' * len(titles)]
    first = np.array(next(iter(results.values()))['errors_mm'])
    for name, result in results.items():
        found = np.array(result['errors_mm'])
        change = 100 * (found[-1] - first[-1]) / first[-1].mean()
        low, high = statistics.bootstrap_interval(change)
        cells = [name, *(f'{mean:.2f}' for mean in found.mean(axis=1))]
        is_first = name == next(iter(results))
        cells.append('-' if is_first else f'{change.mean():+.1f} % [{low:+.1f}, {high:+.1f}]')
        cells += [f'{result["parameters"]:,d}', f'{result["seconds"]:.0f}']
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def train_variant(config, workdir, minutes):
    """Trains and scores one variant; returns a dict of plain numbers."""
    import jax

    from seqface_jax import checkpoints, train

    progress = train.train_and_evaluate(config, workdir, minutes and 60 * minutes)
    trained = checkpoints.load(workdir, 'best_validation')
    return {
        'parameters': sum(leaf.size for leaf in jax.tree.leaves(trained[2]['params'])),
        'seconds': progress.seconds,
        'errors_mm': errors_mm(*trained, _frames()).tolist(),
    }


def _frames():
    return [int(count) for count in flags.FLAGS.frames]


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('data_dir', None, 'Where data_prep wrote the records.')
    flags.DEFINE_string('data_name', 'bu4dfe', 'Name of the records.')
    flags.DEFINE_string('out_dir', 'runs/ablation', 'One folder per variant, and the table.')
    flags.DEFINE_enum('family', 'flagship', list(FAMILIES), 'Whose variants.')
    flags.DEFINE_enum('scale', 'small', SCALES, 'How large.')
    flags.DEFINE_integer(
        'epochs',
        None,
        'Epochs of every variant, its decay in proportion; else as in fusion_cpu.py.',
    )
    flags.DEFINE_integer('image_size', None, 'Pixels of the frames; else as in fusion_cpu.py.')
    flags.DEFINE_float('minutes', None, 'Training of a variant ends with the epoch that passes it.')
    flags.DEFINE_list('variants', None, 'Only these; all if left out.')
    flags.DEFINE_list('frames', ['1', '2', '8'], 'Numbers of frames to score at.')
    flags.DEFINE_bool('table', False, 'Train nothing: print what has been trained.')


@errors.exit_on_user_error
def main(argv):
    """Trains the variants that are asked for and prints their table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    from seqface_jax.commands import compilation_cache
    from seqface_jax.training import cpu_devices

    values = flags.FLAGS
    compilation_cache.turn_on()  # A stopped run, started again, compiles nothing twice.
    variants = FAMILIES[values.family]
    cpu_devices.set_up(variant_config(values.family, next(iter(variants))))
    for name in values.variants or ():
        errors.check_choice(name, variants, 'variant')
    folder = os.path.join(values.out_dir, values.family)
    results = {}
    for number, name in enumerate(variants):
        path = os.path.join(folder, f'{number:02d}.json')
        if not values.table and (not values.variants or name in values.variants):
            config = variant_config(values.family, name, values.scale)
            config.data.update(dir=values.data_dir, name=values.data_name)
            if values.image_size is not None:
                config.data.image_size = values.image_size
            if values.epochs is not None:
                shorten(config, values.epochs)
            sys.stderr.write(f'{name}:\n')
            result = train_variant(config, path.removesuffix('.json'), values.minutes)
            with open(path, 'w', encoding='utf-8') as file:
                json.dump(result, file)
        if os.path.exists(path):
            with open(path, encoding='utf-8') as file:
                results[name] = json.load(file)
    if not results:
        raise errors.UserError(f'nothing has been trained in {folder}: leave out --table')
    sys.stdout.write(table(results, _frames()))


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['data_dir'])
    app.run(main)
