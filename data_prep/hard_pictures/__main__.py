"""Draws hard pictures of made-up people for the correspondence network.

python -m data_prep.hard_pictures --face_dir=ICT-FaceKit/FaceXModel --out_dir=data/pictures

A stopped run goes on where it was; a shard depends on its number, the seed and the kinds alone.
"""

import multiprocessing
import os
import pathlib

from absl import app, flags
from tqdm import tqdm

from data_prep.hard_pictures import shards, workers

_FACE_DIR = flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
_PEOPLE = flags.DEFINE_string(
    'people', None, 'File of further kinds, carried over to the template; none if left out.'
)
_KINDS = flags.DEFINE_list('kinds', ['ict', 'makehuman'], 'Kinds of people to draw.')
_OUT_DIR = flags.DEFINE_string('out_dir', None, 'Folder of the pictures.')
_FIRST = flags.DEFINE_integer('first', 0, 'Number of the first shard.')
_NUM_SHARDS = flags.DEFINE_integer('num_shards', 120, f'Shards of {shards.SHARD} pictures.')
_WORKERS = flags.DEFINE_integer('workers', os.cpu_count() or 1, 'Processes.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of everything.')


def main(argv):
    """Draws what is missing."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    numbers = range(_FIRST.value, _FIRST.value + _NUM_SHARDS.value)
    missing = [n for n in numbers if not shards.path_of(_OUT_DIR.value, n).is_file()]
    pathlib.Path(_OUT_DIR.value).mkdir(parents=True, exist_ok=True)
    workers.write_points(_OUT_DIR.value, _FACE_DIR.value)
    jobs = [(_OUT_DIR.value, n, _SEED.value) for n in missing]
    arguments = (_FACE_DIR.value, tuple(_KINDS.value), _PEOPLE.value)
    with multiprocessing.get_context('spawn').Pool(
        _WORKERS.value, workers.start, arguments
    ) as pool:
        for _ in tqdm(pool.imap_unordered(workers.draw, jobs), total=len(jobs), unit='shard'):
            pass


if __name__ == '__main__':
    flags.mark_flags_as_required(['face_dir', 'out_dir'])
    app.run(main)
