"""A run on disk: its config and its checkpoints, through orbax.

    <workdir>/config.json
    <workdir>/checkpoints/{best_validation,best_training,latest}/<step>/{variables,meta}

`latest` holds besides, in `training`, all that a run needs to go on. Arrays are saved from the
host, so that a checkpoint does not depend on the devices that it was made on. `meta` holds the
SHA-256 of every array and of itself; what is read is checked against them.
"""

import contextlib
import functools
import glob
import os
import shutil

import jax
import numpy as np
from flax import traverse_util

from seqface_jax import errors, files, models
from seqface_jax.checkpoints import backend, checksums
from seqface_jax.checkpoints.config_file import FLAGSHIP as FLAGSHIP
from seqface_jax.checkpoints.config_file import differing_fields as differing_fields
from seqface_jax.checkpoints.config_file import read_config as read_config
from seqface_jax.checkpoints.config_file import record_options as record_options
from seqface_jax.checkpoints.config_file import write_config as write_config
from seqface_jax.errors import UserError

FORMAT = 2  # Version of what is saved; raised when an older program could not read it.
_UNCHECKED_FORMAT = 1  # Still read: without checksums.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRETRAINED = os.path.join(_PACKAGE, 'pretrained')
WHICH = ('best_validation', 'best_training', 'latest')
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
)  # Raised by orbax and tensorstore; `_complaint` tells damaged files from unread whole ones.
_INSTEAD = (
    'restore it from a copy, use another checkpoint of the run, or train in another workdir '
    '(--config.train.start_from=RUN goes on from the best_validation of a run)'
)


class Store:
    """The checkpoints of one workdir, for the loop that writes them."""

    def __init__(self, workdir, *, reads_only=False):
        """Opens the checkpoints; what a run that was killed while saving has left is removed.

        `reads_only` leaves it: another process may be saving there.
        """
        self._workdir = os.path.abspath(workdir)
        self._managers = {}
        pattern = os.path.join(glob.escape(self._folder('')), '*', '*.orbax-checkpoint-tmp*')
        for leftover in [] if reads_only else glob.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)

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
            if step >= meta['step']:  # A killed run saved it, and now computes it again.
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
        backend.require_devices()  # Orbax asks JAX: a missing GPU is no damage.
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
            raise UserError(_complaint(place, error)) from error
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
    is_known = os.path.abspath(workdir) == PRETRAINED  # The tests hold that it fits.
    if not is_known and not fits(model, config.data.image_size, variables):
        raise UserError(
            f'the checkpoint {which} of {workdir} does not fit the model of its config.json: '
            'restore the two from one run'
        )
    return config, model, variables


def fits(model, image_size, variables):
    """Returns whether a model has variables of these names and shapes; takes a quarter second."""
    return _shapes(variables) == _shapes(
        jax.eval_shape(lambda: init_variables(model, image_size, 0))
    )


def load_recurrent(workdir, which):
    """Returns the same as `load`, of a run whose network answers to frames with position maps.

    Raises:
        UserError: likewise, or the run is the flagship's, whose network finds points only.
    """
    if read_config(workdir).model.name == FLAGSHIP:
        raise UserError(
            f'{workdir} is a run of the flagship, whose network finds points on photos and is no '
            'face by itself: measure it with run_eval.py, use it with run_demo.py, or give the '
            '--workdir of another system'
        )
    return load(workdir, which)


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


@contextlib.contextmanager
def lock(workdir):
    """Keeps other processes from training in the same workdir; ends with the process.

    Raises:
        UserError: another process has it, or it cannot be a folder.
    """
    try:
        os.makedirs(workdir, exist_ok=True)
        file = files.lock(os.path.join(workdir, '.lock'))
    except BlockingIOError as error:
        raise UserError(
            f'{workdir} is in use by another process: wait for it, or choose another workdir'
        ) from error
    except OSError as error:
        raise UserError(
            f'cannot write to the workdir {workdir} ({error.strerror}): choose another'
        ) from error
    with file:
        yield


def _restore(workdir, which):
    with contextlib.closing(Store(workdir, reads_only=True)) as store:
        restored = store.restore(which)
    if restored is None:
        raise UserError(f'{workdir} has no checkpoint {which} yet: train first')
    return restored


def _complaint(place, error):
    """Says why the checkpoint in `place` was not read: only evidence of damage is called so."""
    elsewhere = errors.device_error(error) or errors.disk_error(error)
    if elsewhere is not None:
        return f'the checkpoint in {place} was not read: {elsewhere}'
    reason = errors.unread(error)
    if reason is not None:
        return (
            f'the checkpoint in {place} cannot be read ({reason}): see that its files may be read, '
            'and run the same command again'
        )
    return f'the checkpoint in {place} is damaged or foreign: {_INSTEAD}'


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
            f'was saved): {_INSTEAD}'
        )
    return values


def _copy_to_host(tree):
    """Copies arrays to the host: the next step may reuse the memory of the device's."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), jax.device_get(tree))


def _shapes(variables):
    return {
        path: np.shape(leaf) for path, leaf in traverse_util.flatten_dict(dict(variables)).items()
    }
