"""A run on disk: its config and its checkpoints, through orbax.

    <workdir>/config.json
    <workdir>/checkpoints/{best_validation,best_training,latest}/<step>/{variables,meta}

`latest` holds besides, in `training`, all that a run needs to go on. Arrays are saved from the
host, so that a checkpoint does not depend on the devices that it was made on. `meta` holds the
SHA-256 of every array and of itself; what is read is checked against them.
"""

import contextlib
import fcntl
import functools
import glob
import json
import os
import shutil

import jax
import ml_collections
import numpy as np
from flax import traverse_util

from seqface_jax import models
from seqface_jax.checkpoints import checksums
from seqface_jax.errors import UserError

FORMAT = 2  # Of what is saved; raised when an older program could not read it.
_UNCHECKED_FORMAT = 1  # Still read: without checksums.
SECTIONS = ('data', 'model', 'optimizer', 'train', 'eval')
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRETRAINED = os.path.join(_PACKAGE, 'pretrained')
WHICH = ('best_validation', 'best_training', 'latest')
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
    'eval.',
)
# Options that a config.json of an older program lacks, with the value that means what it did.
_ADDED_FIELDS = {
    'data.on_bad_record': 'fail',
    'data.frame_maps': False,
    'data.augmentation.jpeg': 0.0,
    'data.draw': 'sequences',
    'train.start_from': '',
    'train.frame_weight': 0.0,
    'train.cpu_devices': 1,
}
# Options of older programs, each with the values that mean what this program does. Another value
# changed how the run was trained, not what its network is: such a run is read, but cannot go on.
_DROPPED_FIELDS = {
    'data.augmentation.deform_mm': (0.0,),  # Up to so much training faces were smoothly deformed.
    'data.augmentation.per_frame': (True,),  # False: frames of a sequence were moved and lit alike.
    'train.compute_dtype': ('float32',),  # Or 'bfloat16', of the thesis's network only.
    'model.remat': (True, False),  # Gradients were computed with less memory, and equal.
}
_READ_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    AttributeError,
    AssertionError,
    IndexError,
    RuntimeError,  # NotImplementedError, too.
    OverflowError,
    MemoryError,
)  # Of orbax and tensorstore, from what is in damaged files.


class Store:
    """The checkpoints of one workdir, for the loop that writes them."""

    def __init__(self, workdir):
        self._workdir = os.path.abspath(workdir)
        pattern = os.path.join(glob.escape(self._folder('')), '*', '*.orbax-checkpoint-tmp*')
        for leftover in glob.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)  # Of a run that was killed while saving.
        self._managers = {}

    def save(self, which, variables, meta, training=None):
        """Starts saving; the checkpoint appears whole or not at all.

        Args:
            which: one of WHICH; its older checkpoint goes when the new one is there.
            variables: collections of arrays, as for `model.apply`.
            meta: dict of plain values; 'step' is the number of the checkpoint.
            training: a tree of dicts and arrays that a run needs to go on, or None.
        """
        import orbax.checkpoint as ocp

        manager = self._manager(which)
        manager.wait_until_finished()
        for step in manager.all_steps():
            if step >= meta['step']:  # Of a run that was killed and computes it again.
                manager.delete(step)
        trees = {'variables': variables} | ({} if training is None else {'training': training})
        trees = {name: _copy_to_host(tree) for name, tree in trees.items()}
        meta = {'format': FORMAT} | meta
        sums = {name: checksums.of_arrays(tree) for name, tree in trees.items()}
        sums['meta'] = checksums.of_values(meta)
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        items['meta'] = ocp.args.JsonSave(meta | {'sha256': sums})
        manager.save(meta['step'], args=ocp.args.Composite(**items), force=True)

    def restore(self, which, variables=None, training=None):
        """Reads the newest checkpoint.

        Args:
            which: one of WHICH.
            variables, training: trees to fit the result to, or None to take what is there.

        Returns:
            (variables, training or None, meta), or None if there is no checkpoint.

        Raises:
            UserError: it is damaged, foreign, or does not fit.
        """
        import orbax.checkpoint as ocp

        if not os.path.isdir(self._folder(which)):
            return None
        place = self._folder(which)
        try:
            manager = self._manager(which)
            step = manager.latest_step()
            if step is None:
                return None
            place = os.path.join(place, str(step))
            items = {
                'variables': ocp.args.StandardRestore(_copy_to_host(variables)),
                'meta': ocp.args.JsonRestore(),
            }
            if training is not None:
                items['training'] = ocp.args.StandardRestore(_copy_to_host(training))
            restored = manager.restore(step, args=ocp.args.Composite(**items))
            meta = restored['meta']
        except _READ_ERRORS as error:
            raise UserError(
                f'the checkpoint in {place} is damaged or foreign: delete that folder, or choose '
                'another workdir'
            ) from error
        _check_format(meta, place)
        names = ['variables'] + ['training'] * (training is not None)
        meta = _check_sums(meta, {name: restored[name] for name in names}, place)
        return restored['variables'], restored['training'] if training is not None else None, meta

    def wait(self):
        """Waits until everything is on disk."""
        for manager in self._managers.values():
            manager.wait_until_finished()

    def close(self):
        """Waits, and lets go of the folders."""
        for manager in self._managers.values():
            manager.close()
        self._managers = {}

    def _folder(self, which):
        return os.path.join(self._workdir, 'checkpoints', which)

    def _manager(self, which):
        import orbax.checkpoint as ocp

        if which not in self._managers:
            options = {}
            if jax.process_count() > 1:  # No other process takes part: orbax need not wait.
                alone = jax.process_index()
                options['multiprocessing_options'] = ocp.options.MultiprocessingOptions(
                    primary_host=alone, active_processes={alone}, barrier_sync_key_prefix=which
                )
                options['create'] = False  # Orbax demands it.
                os.makedirs(self._folder(which), exist_ok=True)
            self._managers[which] = ocp.CheckpointManager(
                self._folder(which),
                options=ocp.CheckpointManagerOptions(max_to_keep=1, **options),
            )
        return self._managers[which]


def save(workdir, which, variables, meta):
    """Saves one checkpoint and waits for it; `meta` are plain values, 'step' 0 if left out."""
    with contextlib.closing(Store(workdir)) as store:
        store.save(which, variables, {'step': 0} | meta)


def load(workdir, which):
    """Returns the config, the model and the variables of a checkpoint.

    Args:
        workdir: of a run.
        which: 'best_validation', 'best_training' (averaged weights where train.ema_decay is on),
            or 'latest' (the weights in training).

    Returns:
        (ConfigDict, nn.Module, dict of collections of numpy arrays).

    Raises:
        UserError: there is no such run or checkpoint, or it cannot be read.
    """
    if which not in WHICH:
        raise ValueError(f'checkpoint {which!r} is not one of {WHICH}')
    config = read_config(workdir)
    model = models.create(
        config.model, config.data.image_size, scan_unroll=config.train.scan_unroll
    )
    restored = _restore(workdir, which)
    variables = restored[0]
    expected = jax.eval_shape(lambda: init_variables(model, config.data.image_size, 0))
    if _shapes(variables) != _shapes(expected):
        raise UserError(
            f'the checkpoint {which} of {workdir} does not fit the model of its config.json: '
            'restore the two from one run'
        )
    return config, model, variables


def pretrained():
    """Returns the workdir of the run that comes with the package.

    Raises:
        UserError: this installation has none.
    """
    if not os.path.exists(os.path.join(PRETRAINED, 'config.json')):
        raise UserError(
            f'this installation has no pretrained run in {PRETRAINED}: give the --workdir of a '
            'run that you trained'
        )
    return PRETRAINED


def read_meta(workdir, which):
    """Returns the plain values saved with a checkpoint: step, epoch, losses."""
    return _restore(workdir, which)[2]


def init_variables(model, image_size, seed):
    """Draws the variables of a model; the collection batch_stats may be empty."""
    key = jax.random.key(seed)
    frames = np.zeros((1, 1, image_size, image_size, 3), np.float32)
    return dict(model.init({'params': key, 'dropout': key}, frames, train=False))


def draw_variables(model, image_size, seed):
    """Returns the same as `init_variables`, compiled: one by one takes several times as long."""
    # It runs once: without optimisation XLA takes a fifth of the time.
    init = jax.jit(
        functools.partial(init_variables, model, image_size, seed),
        compiler_options={'xla_backend_optimization_level': 0},
    )
    return init()


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
                'another workdir, or delete it'
            )
    os.makedirs(workdir, exist_ok=True)
    with open(path + '.tmp', 'w') as file:
        file.write(config.to_json(indent=2) + '\n')
    os.replace(path + '.tmp', path)


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
        config = ml_collections.ConfigDict(_lists_to_tuples(content))
        missing = [name for name in SECTIONS if name not in config]
    except FileNotFoundError as error:
        raise UserError(f'{workdir} is not the workdir of a run: it has no config.json') from error
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise UserError(f'{path} cannot be read ({error}): restore it from the run') from error
    if missing:
        raise UserError(f'{path} has no section {", ".join(missing)}: restore it from the run')
    for place, value in _ADDED_FIELDS.items():
        section, name = _find(config, place)
        if name not in section:
            section[name] = value
    for place in _DROPPED_FIELDS:
        section, name = _find(config, place)
        if name in section:
            del section[name]
    return _complete_fusion(config)


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


def _read_dropped(workdir):
    """Returns the _DROPPED_FIELDS that changed how a run was trained, a list of 'name=value'."""
    with open(os.path.join(workdir, 'config.json')) as file:
        content = json.load(file)
    found = []
    for place, same in _DROPPED_FIELDS.items():
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


@contextlib.contextmanager
def lock(workdir):
    """Keeps other processes from training in the same workdir; ends with the process.

    Raises:
        UserError: another process has it, or it cannot be a folder.
    """
    try:
        os.makedirs(workdir, exist_ok=True)
        file = open(os.path.join(workdir, '.lock'), 'w')
    except OSError as error:
        raise UserError(
            f'cannot write to the workdir {workdir} ({error.strerror}): choose another'
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f'{workdir} is in use by another process: wait for it, or choose another workdir'
            ) from error
        yield


def _restore(workdir, which):
    with contextlib.closing(Store(workdir)) as store:
        restored = store.restore(which)
    if restored is None:
        raise UserError(f'{workdir} has no checkpoint {which} yet: train first')
    return restored


def _check_format(meta, place):
    if not isinstance(meta, dict) or meta.get('format') not in (_UNCHECKED_FORMAT, FORMAT):
        known = meta.get('format') if isinstance(meta, dict) else 'no'
        raise UserError(
            f'the checkpoint in {place} has format {known}, this program reads '
            f'{_UNCHECKED_FORMAT} and {FORMAT}: use the version of the program that wrote it'
        )


def _check_sums(meta, trees, place):
    """Returns the plain values without their checksums, which those and the trees have passed."""
    if meta['format'] == _UNCHECKED_FORMAT and 'sha256' not in meta:
        return meta
    expected = meta.get('sha256')
    values = {name: value for name, value in meta.items() if name != 'sha256'}
    if not isinstance(expected, dict) or expected.get('meta') != checksums.of_values(values):
        damaged = ['meta']
    else:
        damaged = [
            f'{name}/{path}'
            for name, tree in trees.items()
            for path in checksums.differing(expected[name], checksums.of_arrays(tree))
        ]
    if damaged:
        more = f' and {len(damaged) - 3} more' if len(damaged) > 3 else ''
        raise UserError(
            f'the checkpoint in {place} is damaged ({", ".join(damaged[:3])}{more} are not what '
            'was saved): delete that folder, or restore it from a copy'
        )
    return values


def _copy_to_host(tree):
    """Copies arrays to the host: the next step may reuse the memory of the device's."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), jax.device_get(tree))


def _shapes(variables):
    return {
        path: np.shape(leaf) for path, leaf in traverse_util.flatten_dict(dict(variables)).items()
    }


def _flatten(content):
    return traverse_util.flatten_dict(content, sep='.', keep_empty_nodes=True)


def _lists_to_tuples(value):
    if isinstance(value, dict):
        return {name: _lists_to_tuples(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(entry) for entry in value)
    return value
