"""Draws hard pictures of made-up people for the correspondence network.

python -m data_prep.hard_pictures --face_dir=ICT-FaceKit/FaceXModel --people=kinds.npz
    --out_dir=data/pictures

A stopped run goes on where it was; a shard depends on its number, the seed, the kinds, `--plain`,
`--no_face` and `--wide` alone. `--first` adds plain shards, or such without a face, after hard
ones.
"""

import multiprocessing
import os
import pathlib
from concurrent import futures

from absl import app, flags
from tqdm import tqdm

from data_prep.hard_pictures import people, shards, workers
from seqface_jax import errors
from seqface_jax.commands import command_line

_FACE_DIR = flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
_PEOPLE = flags.DEFINE_string(
    'people', None, 'File of template_kinds, of the kinds but ict; --kinds=ict needs none.'
)
_KINDS = flags.DEFINE_list('kinds', ['ict', 'makehuman'], 'Kinds of people to draw.')
_OUT_DIR = flags.DEFINE_string('out_dir', None, 'Folder of the pictures.')
_FIRST = flags.DEFINE_integer('first', 0, 'Number of the first shard.')
_NUM_SHARDS = flags.DEFINE_integer('num_shards', 120, f'Shards of {shards.SHARD} pictures.')
_WORKERS = flags.DEFINE_integer('workers', os.cpu_count() or 1, 'Processes.')
_PLAIN = flags.DEFINE_bool('plain', False, 'Pictures like own photos: see picture.make.')
_NO_FACE = flags.DEFINE_bool('no_face', False, 'Pictures without a face: see still_life.make.')
_WIDE = flags.DEFINE_bool('wide', False, 'People farther from all kinds: see people.WIDE.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of everything.')


@errors.exit_on_user_error
def main(argv):
    """Draws what is missing."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    if _PLAIN.value and _NO_FACE.value:
        raise app.UsageError(
            'give --plain or --no_face: half of the pictures without face are plain'
        )
    # Here first: a worker that cannot load it would be started again for ever.
    variety = people.WIDE if _WIDE.value else people.NEAR
    arguments = (_FACE_DIR.value, tuple(_KINDS.value), _PEOPLE.value, variety)
    workers.load_world(*arguments)
    numbers = range(_FIRST.value, _FIRST.value + _NUM_SHARDS.value)
    missing = [n for n in numbers if not shards.path_of(_OUT_DIR.value, n).is_file()]
    pathlib.Path(_OUT_DIR.value).mkdir(parents=True, exist_ok=True)
    workers.write_points(_OUT_DIR.value, _FACE_DIR.value)
    kind = _SEED.value, _PLAIN.value, _NO_FACE.value
    jobs = [(_OUT_DIR.value, n, *kind) for n in missing]
    spawn = multiprocessing.get_context('spawn')
    try:
        with futures.ProcessPoolExecutor(_WORKERS.value, spawn, workers.start, arguments) as pool:
            drawn = [pool.submit(workers.draw, job) for job in jobs]
            try:
                for done in tqdm(futures.as_completed(drawn), total=len(jobs), unit='shard'):
                    done.result()
            except BaseException:  # Ctrl-C, a full disk: what was not begun is not drawn.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except futures.process.BrokenProcessPool as error:
        raise errors.UserError(
            'a process that draws died, perhaps out of memory: run the same command again, with '
            'fewer --workers'
        ) from error


if __name__ == '__main__':
    command_line.require(face_dir='FaceXModel of ICT-FaceKit', out_dir='FOLDER to write')
    app.run(main, flags_parser=command_line.parse)
