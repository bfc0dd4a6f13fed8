"""Preparing raw data: frames and scans a second and core, scaling over workers, memory.

python -m benchmarks.data_preparation --raw_dir=RAW --subjects=F001,F002 --workers=1,2

Prepares the same people of a tree in the layout of BU-4DFE once for each number of workers, each
in a process and a folder of its own. CPU seconds count all workers; the hours for BU-4DFE (60,600
frames, of which one scan for each of 101 people is aligned) follow from them, and assume cores of
this kind that nobody else uses. `--beam` prepares them again on Apache Beam's local runner, with
the last number of workers (pip install -e '.[beam]'). All records must be the same. A CPU-only job.
"""

import json
import os
import resource
import sys
import tempfile

from absl import app, flags

from benchmarks import race
from benchmarks.torture.kill import check_equal, records_digest
from seqface_jax import errors

BU4DFE_FRAMES = 60_600
BEAM = 'runner=FnApiRunner,direct_running_mode=multi_processing,direct_num_workers='


def prepare(raw_dir, subjects, workers, frame_maps, beam=False):
    """Prepares once in a fresh process; returns a dict of plain numbers and the records' digest."""
    with tempfile.TemporaryDirectory() as folder:
        command = ['-m', 'data_prep', 'bu4dfe', f'--raw_dir={raw_dir}']
        command += [f'--data_dir={folder}', f'--workers={workers}']
        command += [f'--subjects={",".join(subjects)}'] if subjects else []
        command += ['--frame_maps'] if frame_maps else []
        command += [f'--beam_pipeline_options={BEAM}{workers}'] if beam else []
        seconds, cpu_seconds, process = race.run(command)
        if process.returncode:
            raise errors.UserError(f'the preparation failed: {process.stderr.strip()[-300:]}')
        with open(os.path.join(folder, 'bu4dfe', 'report.json')) as file:
            counts = json.load(file)['counts'].values()
        digest = records_digest(folder)
    frames = sum(count['frames'] for count in counts)
    numbers = {
        'workers': f'{workers} of Beam' if beam else workers,
        'frames': frames,
        'seconds': seconds,
        'cpu_seconds': cpu_seconds,
        'frames_per_cpu_second': frames / cpu_seconds,
        'largest_process_mb': race.peak_mb(resource.RUSAGE_CHILDREN),  # Over all runs so far.
        'bu4dfe_hours_on_2_cores': BU4DFE_FRAMES * cpu_seconds / frames / 2 / 3600,
        'bu4dfe_hours_on_16_cores': BU4DFE_FRAMES * cpu_seconds / frames / 16 / 3600,
    }
    return numbers, digest


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('raw_dir', None, 'A raw tree, such as `data_prep synthetic_raw` writes.')
    flags.DEFINE_list('subjects', [], 'Only these; all if left out.')
    flags.DEFINE_list('workers', ['1', '2'], 'Numbers of processes.')
    flags.DEFINE_bool('frame_maps', False, 'As of data_prep: a map of every scan, too.')
    flags.DEFINE_bool('beam', False, "Once more, on Apache Beam's local runner.")


@errors.exit_on_user_error
def main(argv):
    """Prepares a raw tree with each number of workers and prints what it took."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    if not values.raw_dir:
        raise errors.UserError('give --raw_dir=FOLDER, a raw tree')
    runs = [(int(count), False) for count in values.workers]
    runs += [(runs[-1][0], True)] if values.beam else []
    raw_dir = os.path.abspath(values.raw_dir)
    rows, digests = zip(
        *(
            prepare(raw_dir, values.subjects, workers, values.frame_maps, beam)
            for workers, beam in runs
        ),
        strict=True,
    )
    sys.stdout.write(json.dumps(rows, indent=2) + '\n')
    for digest in digests[1:]:
        check_equal(digests[0], digest)
    sys.stdout.write(f'the {len(digests[0])} parts of the records are the same in all\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
