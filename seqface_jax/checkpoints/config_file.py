"""The config.json of a run: written, compared, and read, also that of an older program."""

import functools
import glob
import json
import os
import runpy

import ml_collections
from flax import traverse_util

from seqface_jax import files
from seqface_jax.errors import UserError

FLAGSHIP = 'correspondence'  # The name of the flagship's model.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CONFIGS = os.path.join(os.path.dirname(_PACKAGE), 'configs')  # Beside it, installed or not.
SECTIONS = ('data', 'model', 'optimizer', 'train', 'eval')
# What may differ when a run goes on: none of these changes what has been computed so far.
FREE_FIELDS = (
    'data.dir',
    'data.num_threads',
    'data.cache_mib',
    'data.on_bad_record',
    'data.test_split',
    'train.num_epochs',
    'train.early_stop_epochs',
    'train.checkpoint_every_steps',
    'train.log_every_steps',
    'train.scan_unroll',
    'train.cpu_devices',
    'eval',
)


def _loss_weights(loss):
    """Returns the weights that train.loss of an older program stands for, by name."""
    weights = {'masked_l1': 0.0, loss: 1.0}
    if loss == 'rotated_views':
        weights = {'masked_l1': 0.0, 'image_mse': 1.0, loss: 1e-3}
    return {f'train.loss_weights.{name}': weight for name, weight in weights.items()}


# Options of older programs that are said otherwise now, each with a function of its value, which
# returns values of options by name. An option that only lacks has the value of configs/default.py.
_CHANGED_FIELDS = {
    'train.loss': _loss_weights,
    'train.uncertainty_weight': lambda weight: {'train.loss_weights.gaussian_nll': weight},
    'optimizer.keras_adam': lambda is_so: {'optimizer.name': 'keras_adam' if is_so else 'adam'},
    'train.frame_weight': lambda weight: {'train.loss_weights.frame_l1': weight},
}
# Options of older programs, each with the values that mean what this program does. Another value
# changed how the run was trained, not what its network is: such a run is read, but cannot go on.
_DROPPED_FIELDS = {
    'data.augmentation.deform_mm': (0.0,),  # Up to so much training faces were smoothly deformed.
    'data.augmentation.per_frame': (True,),  # False: frames of a sequence were moved and lit alike.
    'train.compute_dtype': ('float32',),  # Or 'bfloat16', of the thesis's network only.
    'model.remat': (True, False),  # Gradients were computed with less memory, and equal.
}
# The same of the flagship alone: its frames are always scaled to [0, 1].
_DROPPED_FROM_FLAGSHIP = {'data.normalization': ('unit',)}


def write_config(workdir, config):
    """Writes config.json; where there are checkpoints, they must be of the same config.

    Raises:
        UserError: the workdir holds a run whose config differs in more than FREE_FIELDS.
    """
    path = os.path.join(workdir, 'config.json')
    if os.path.exists(path) and glob.glob(f'{glob.escape(workdir)}/checkpoints/*/*'):
        differing = [
            name
            for name in differing_fields(read_config(workdir), config)
            if not name.startswith(FREE_FIELDS)
        ]
        trained_with = _read_dropped(workdir)
        if trained_with:
            raise UserError(
                f'{workdir} holds a run of an older program with {", ".join(trained_with)}, which '
                'this program does not know: choose another workdir to train in; that run can '
                'still be evaluated and used'
            )
        if differing:
            raise UserError(
                f'{workdir} holds a run of another config ({", ".join(differing)} differ): choose '
                'another workdir, or the config of that run to go on with it'
            )
    os.makedirs(workdir, exist_ok=True)
    files.write_text(path, config.to_json(indent=2) + '\n')


def differing_fields(one, other):
    """Returns the sorted names, such as 'model.name', of the fields in which two configs differ."""
    one, other = (_flatten(json.loads(config.to_json())) for config in (one, other))
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def read_config(workdir):
    """Returns the config of a run, as it was given to it; that of an older program, completed."""
    path = os.path.join(workdir, 'config.json')
    try:
        with open(path) as file:
            content = json.load(file)
        missing = [name for name in SECTIONS if name not in content]
        config = ml_collections.ConfigDict(_lists_to_tuples(_with_changed_fields(content)))
    except FileNotFoundError as error:
        raise UserError(f'{workdir} is not the workdir of a run: it has no config.json') from error
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise UserError(f'{path} cannot be read ({error}): restore it from the run') from error
    if missing:
        raise UserError(f'{path} has no section {", ".join(missing)}: restore it from the run')
    defaults = _defaults(config.model.get('name'))
    for section in SECTIONS:
        if section != 'model':  # The class of the network has the defaults of its own fields.
            _complete(config[section], defaults[section])
    for place in _dropped(config):
        section, name = _find(config, place)
        if name in section:
            del section[name]
    return _complete_fusion(config)


def record_options(data_dir, data_name):
    """Returns a `data` section for records of that name, for a run that learned from none."""
    data = _defaults(None).data
    data.update(dir=data_dir, name=data_name)
    return data


def _with_changed_fields(content):
    """Returns the content of a config.json with _CHANGED_FIELDS said as this program does."""
    for place, translate in _CHANGED_FIELDS.items():
        section, name = _find(content, place)
        if name in section:
            for new_place, value in translate(section.pop(name)).items():
                *sections, new_name = new_place.split('.')
                _make_sections(content, sections)[new_name] = value
    return content


def _make_sections(content, sections):
    return functools.reduce(lambda found, part: found.setdefault(part, {}), sections, content)


def _defaults(model_name):
    """Returns the config that completes that of an older program.

    It is read by its path: where a person works there may be another package `configs`.
    """
    name = 'cpu.py' if model_name == FLAGSHIP else 'default.py'
    return runpy.run_path(os.path.join(_CONFIGS, name))['get_config']()


def _complete(section, defaults):
    """Sets the options that a section lacks, in place."""
    for name, value in defaults.items():
        if name not in section:
            section[name] = value
        elif isinstance(value, ml_collections.ConfigDict):
            _complete(section[name], value)


def _complete_fusion(config):
    """Returns the config; `fusion` once took a list of layers, of which the first had no weights.

    The field `norm` was of the others.

    Raises:
        UserError: there are more, which had.
    """
    encoder = config.model.get('encoder')
    if config.model.get('name') != 'fusion' or not isinstance(encoder, tuple):
        return config
    if len(encoder) != 1:
        raise UserError(
            f'this run has {len(encoder) - 1} learned layers after the fixed gradients in '
            'model.encoder, which this program does not know: train it again without them'
        )
    values = config.model.to_dict() | {'encoder': dict(encoder[0])}
    values.pop('norm', None)
    config.model = ml_collections.ConfigDict(values)
    return config


def _dropped(config):
    """Returns the _DROPPED_FIELDS of a config's network."""
    is_flagship = config['model'].get('name') == FLAGSHIP
    return _DROPPED_FIELDS | (_DROPPED_FROM_FLAGSHIP if is_flagship else {})


def _read_dropped(workdir):
    """Returns the dropped fields that changed how a run was trained, a list of 'name=value'."""
    with open(os.path.join(workdir, 'config.json')) as file:
        content = json.load(file)
    found = []
    for place, same in _dropped(content).items():
        section, name = _find(content, place)
        if name in section and section[name] not in same:
            found.append(f'{place}={section[name]}')
    return found


def _find(config, place):
    """Returns the section that a name such as 'data.augmentation.jpeg' lies in, and its last part.

    The section is empty where there is none.
    """
    *sections, name = place.split('.')
    return functools.reduce(lambda found, part: found.get(part, {}), sections, config), name


def _flatten(content):
    return traverse_util.flatten_dict(content, sep='.', keep_empty_nodes=True)


def _lists_to_tuples(value):
    if isinstance(value, dict):
        return {name: _lists_to_tuples(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(entry) for entry in value)
    return value
