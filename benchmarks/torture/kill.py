"""SIGKILL at random moments: what is run again ends bit for bit as what was never stopped.

    python -m benchmarks.torture.kill preparation --raw_dir=RAW --out_dir=/tmp/torture
    python -m benchmarks.torture.kill training --data_dir=DATA --out_dir=/tmp/torture

Runs the real command once without a stop, then again and again with a kill of its whole process
group, then to its end, and compares: all records and the report, or all checkpoints and curves.
Half of the kills of a training wait for a half-written checkpoint. Exit status 1 if anything
differs. RAW is a tree of data_prep synthetic_raw, DATA what data_prep bu4dfe made of it.
"""

import csv
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
from absl import app, flags, logging

from data_prep.work import work_files
from seqface_jax import checkpoints
from seqface_jax.errors import UserError, exit_on_user_error

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAX_ENDS = 4  # Runs that may end before their moment, for each kill that is wanted.
_POLL_S = 0.001  # A checkpoint is half-written for some milliseconds.


def preparation_command(out_dir):
    """Returns the command and the pattern of what it leaves half-written."""
    command = [
        '-m',
        'data_prep',
        'bu4dfe',
        f'--raw_dir={flags.FLAGS.raw_dir}',
        f'--data_dir={out_dir}',
    ]
    return [sys.executable, *command], os.path.join(out_dir, '.work', '*', '*.tmp')


def training_command(out_dir):
    """Returns the command and the pattern of what it leaves half-written."""
    command = ['run_train.py', f'--config={flags.FLAGS.config}', f'--workdir={out_dir}']
    command += [
        f'--config.data.dir={flags.FLAGS.data_dir}',
        '--config.train.checkpoint_every_steps=2',
    ]
    return [sys.executable, *command], os.path.join(out_dir, 'checkpoints', '*', '*-tmp*')


def records_digest(out_dir):
    """Returns {what: digest} of records and report."""
    import tensorflow_datasets as tfds

    digests = {}
    for part in ('frames', 'subjects'):
        builder = tfds.builder_from_directory(
            glob.glob(os.path.join(out_dir, 'bu4dfe', part, '*'))[0]
        )
        for split in builder.info.splits:
            for number, row in enumerate(builder.as_data_source(split)):
                arrays = [np.asarray(row[name]) for name in sorted(row)]
                content = [a.tobytes() if a.dtype.kind not in 'OS' else a.item() for a in arrays]
                digests[f'{part}/{split}/{number}'] = work_files.key_of(*content)
    with open(os.path.join(out_dir, 'bu4dfe', 'report.json'), encoding='utf-8') as file:
        report = json.load(file)
    for name in set(report) - {'prepared', 'folder'}:
        digests[f'report/{name}'] = work_files.key_of(report[name])
    return digests


def run_digest(workdir):
    """Returns {what: digest} of checkpoints and curves, without the seconds they took."""
    digests = {}
    for which in checkpoints.WHICH:
        _, _, variables = checkpoints.load(workdir, which)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
            place = f'{which}{jax.tree_util.keystr(path)}'
            digests[place] = work_files.key_of(np.asarray(leaf))
        meta = checkpoints.read_meta(workdir, which)
        meta.pop('seconds', None)
        digests[f'{which}/meta'] = work_files.key_of(meta)
    with open(os.path.join(workdir, 'metrics.csv'), newline='') as file:
        rows = [{k: v for k, v in row.items() if k != 'seconds'} for row in csv.DictReader(file)]
    digests['metrics.csv'] = work_files.key_of(rows)
    return digests


def run(command, *, seconds=None, pattern=None):
    """Runs a command; kills it after `seconds`, or later, when a file of `pattern` is there.

    Returns:
        its exit status, and how long it ran in seconds.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    if seconds is not None:
        while process.poll() is None:
            late = time.monotonic() - started > seconds
            if late and (pattern is None or glob.glob(pattern)):
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(_POLL_S)
    _, complaint = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise UserError(f'{" ".join(command)} failed: {complaint.decode()[-2000:]}')
    return process.returncode, time.monotonic() - started


def check_equal(expected, found):
    """Raises UserError unless two dicts of digests are the same."""
    differing = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
    if differing:
        raise UserError(f'{len(differing)} differ: {", ".join(differing[:10])}')


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('raw_dir', None, 'preparation: a raw tree in the layout of BU-4DFE.')
    flags.DEFINE_string('data_dir', None, 'training: records of bu4dfe.')
    flags.DEFINE_string('out_dir', None, 'Folder for both runs; must not exist.')
    flags.DEFINE_integer('kills', 20, 'How often to kill.', lower_bound=1)
    flags.DEFINE_integer('seed', 0, 'Seed of the moments.')
    flags.DEFINE_string('config', 'configs/tiny.py', 'training: config of the run.')


@exit_on_user_error
def main(argv):
    """Kills runs at random moments and checks how they end."""
    kinds = {
        'preparation': (preparation_command, records_digest, flags.FLAGS.raw_dir),
        'training': (training_command, run_digest, flags.FLAGS.data_dir),
    }
    if len(argv) != 2 or argv[1] not in kinds or not kinds[argv[1]][2] or not flags.FLAGS.out_dir:
        raise UserError('say preparation with --raw_dir, or training with --data_dir; --out_dir')
    if os.path.exists(flags.FLAGS.out_dir):
        raise UserError(f'{flags.FLAGS.out_dir} exists: name a new folder')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    make_command, digest, _ = kinds[argv[1]]
    whole, killed = (os.path.join(flags.FLAGS.out_dir, name) for name in ('whole', 'killed'))
    _, seconds = run(make_command(whole)[0])
    expected = digest(whole)
    rng = np.random.default_rng(flags.FLAGS.seed)
    command, pattern = make_command(killed)
    kills = ends = 0
    span = seconds
    while kills < flags.FLAGS.kills and ends < MAX_ENDS * flags.FLAGS.kills:
        is_patient = kills % 2 == 1
        status, ran = run(
            command, seconds=rng.uniform(0, span), pattern=pattern if is_patient else None
        )
        if status == 0:  # It came to its end before the moment: begin again, and draw earlier ones.
            ends += 1
            span = min(span, ran)
            check_equal(expected, digest(killed))
            shutil.rmtree(killed)
        else:
            kills += 1
        sys.stdout.write(f'{"ended" if status == 0 else f"kill {kills}"} after {ran:.1f} s\n')
        sys.stdout.flush()
    run(command)
    check_equal(expected, digest(killed))
    sys.stdout.write(f'{kills} kills, {ends} earlier ends; all {len(expected)} parts are equal\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
