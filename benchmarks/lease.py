"""What only a GPU can show, within a borrowed quarter of an hour: one command, results at once.

python -m benchmarks.lease --verb=pack --face_dir=FaceXModel --people=kinds.npz
python -m benchmarks.lease --verb=run --output=OUT --minutes=9

`pack` writes, here, the folder to carry there, data/lease: at most 64 MiB. `run`, there, does these
parts, in order of their worth; `--parts` names some.

    draw       hard pictures of made-up people, on all cores, and three kinds to measure on
    train      the flagship on them, for as many steps as the time is enough for
    measure    its errors by kind of people; the run, packaged
    systems    three of the other systems at --scale=short, where the pack holds records
    steps      the training steps of the networks, beside the rate of a matrix product
    streams    streamed frames
    float32    the flagship's loss in the GPU's usual precision and in full float32

Each part is a process of its own with a limit of its own; one that passes its limit is ended, with
its children, and the next one begins. After each part OUT/lease.json holds what it said, how long
it took and how it ended, and OUT/NAME.tar.gz what it wrote, so that a lease that ends early loses
nothing but the part that it ends in.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from typing import NamedTuple

from absl import app, flags, logging

from benchmarks import race
from seqface_jax import errors
from seqface_jax.evaluation import tables

RESULTS = 'lease.json'
_TAIL = 6000  # Characters of a part's words that are kept.
_LEAST_S = 5.0  # A part with less time than this is not begun.


class Part(NamedTuple):
    """One part of a lease.

    Attributes:
        name: str.
        limit: share of the whole time that it may take.
        arguments: of the Python interpreter; {work}, {pack} and {seconds} are filled in.
        keeps: paths below {work} that go to OUT, as one archive.
        needs: path that must be there for it to begin, or None.
    """

    name: str
    limit: float
    arguments: tuple
    keeps: tuple = ()
    needs: str | None = None


PARTS = (
    Part(
        'draw',
        0.3,
        ('-m', 'benchmarks.lease_flagship', 'draw', '{pack}', '{work}', '{seconds}'),
        needs='{pack}/shapes.npz',
    ),
    Part(
        'train',
        0.35,
        ('-m', 'benchmarks.lease_flagship', 'train', '{work}', '{seconds}'),
        needs='{work}/pictures/points.npz',
    ),
    Part(
        'measure',
        0.15,
        ('-m', 'benchmarks.lease_flagship', 'measure', '{work}'),
        keeps=('packaged', 'flagship/metrics.csv'),
        needs='{work}/flagship/config.json',
    ),
    Part(
        'systems',
        0.3,
        ('-m', 'benchmarks.systems', '--data_dir={pack}/records', '--scale=short')
        + ('--systems=thesis_ordered,prnet,r2n2_gru', '--hours=0.007', '--out_dir={work}/systems'),
        keeps=('systems/systems.md',),
        needs='{pack}/records',
    ),
    Part(
        'steps',
        0.15,
        ('-m', 'benchmarks.correspondence_race', '--contestants=ours', '--repetitions=5'),
    ),
    Part('streams', 0.15, ('-m', 'benchmarks.lease_flagship', 'streams', '{work}')),
    Part(
        'float32',
        0.1,
        ('-m', 'benchmarks.lease_flagship', 'float32', '{work}'),
        needs='{work}/flagship/config.json',
    ),
)


def run(parts, pack, output, seconds, work):
    """Does the parts in order until the time is up; writes results after each.

    Args:
        parts: list of Part.
        pack: folder of lease_pack.pack.
        output: folder of the results; made if missing.
        seconds: that all parts together may take.
        work: folder for what parts leave to each other.

    Returns:
        list of dict, what OUT/lease.json holds under `parts`.
    """
    os.makedirs(output, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    begin, done = time.perf_counter(), []
    for part in parts:
        left = seconds - (time.perf_counter() - begin)
        done.append(_do(part, min(part.limit * seconds, left), pack, work))
        _keep(part, work, output)
        text = json.dumps({'seconds': seconds, 'parts': done}, indent=1) + '\n'
        tables.write_text(os.path.join(output, RESULTS), text)
        sys.stderr.write(f'{part.name}: {done[-1]["result"]}, {done[-1]["seconds"]:.0f} s\n')
    return done


def _do(part, limit_s, pack, work):
    """Runs one part; returns its name, result, seconds, limit and last words."""
    answer = {'name': part.name, 'seconds': 0.0, 'limit_s': round(limit_s, 1), 'said': ''}
    places = {'pack': os.path.abspath(pack), 'work': os.path.abspath(work)}
    if part.needs and not os.path.exists(part.needs.format(**places)):
        return answer | {'result': f'skipped: there is no {part.needs.format(**places)}'}
    if limit_s < _LEAST_S:
        return answer | {'result': 'skipped: the time is up'}
    # A part that plans its time leaves some for its start and end.
    places['seconds'] = f'{0.85 * limit_s:.1f}'
    arguments = [argument.format(**places) for argument in part.arguments]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=race.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
        result = 'done' if process.returncode == 0 else f'status {process.returncode}'
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # Its session: its children too, and nobody else.
        said, _ = process.communicate()
        result = 'ended at its limit'
    taken = time.perf_counter() - begin
    return answer | {'seconds': round(taken, 1), 'said': said[-_TAIL:], 'result': result}


def _keep(part, work, output):
    """Puts what a part wrote into one archive of OUT, if there is any of it."""
    paths = [path for path in part.keeps if os.path.exists(os.path.join(work, path))]
    if not paths:
        return
    draft = os.path.join(output, f'.{part.name}.tar.gz')
    with tarfile.open(draft, 'w:gz') as archive:
        for path in paths:
            archive.add(os.path.join(work, path), arcname=path)
    os.replace(draft, os.path.join(output, f'{part.name}.tar.gz'))


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_enum('verb', 'run', ('pack', 'run'), 'Write the folder to carry, or use it.')
    flags.DEFINE_string('pack', 'data/lease', 'The folder to carry.')
    flags.DEFINE_string('face_dir', None, 'pack: FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'pack: file of data_prep.synthetic.template_kinds.')
    flags.DEFINE_string('records', None, 'pack: records of the other systems; none if left out.')
    flags.DEFINE_float('limit_mib', 64.0, 'pack: that the folder may have.')
    flags.DEFINE_string('output', 'out/lease', 'run: folder of the results.')
    flags.DEFINE_string('work', 'runs/lease', 'run: folder for what parts leave to each other.')
    flags.DEFINE_float('minutes', 9.0, 'run: for all parts together.')
    flags.DEFINE_list('parts', None, 'run: only these.')


@errors.exit_on_user_error
def main(argv):
    """Packs, or runs the parts."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)
    values = flags.FLAGS
    if values.verb == 'pack':
        from benchmarks import lease_pack

        for name in ('face_dir', 'people'):
            if values[name].value is None:
                raise errors.UserError(f'--{name} is missing: --verb=pack needs it')
        size = lease_pack.pack(
            values.face_dir, values.people, values.pack, values.records, values.limit_mib
        )
        sys.stdout.write(f'{values.pack}: {size:.1f} MiB\n')
        return
    names = [part.name for part in PARTS]
    for name in values.parts or ():
        errors.check_choice(name, names, 'part')
    parts = [part for part in PARTS if part.name in (values.parts or names)]
    run(parts, values.pack, values.output, 60 * values.minutes, values.work)


if __name__ == '__main__':
    define_flags()
    app.run(main)
