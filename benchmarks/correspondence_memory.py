"""What a memory over frames is worth to the correspondence network, on loose photos and on videos.

python -m benchmarks.made_up_videos --face_dir=FaceXModel --people=data/people/kinds.npz
    --out=data/videos.npz
python -m benchmarks.correspondence_memory --pictures=data/pictures --videos=data/videos.npz
    --sequences=data/sequences/ict.npz,data/sequences/makehuman.npz

The network stays as it is, and looks at each frame once. The memory
(seqface_jax/models/correspondence_memory.py) is trained on loose photos of people of the stored
shards, and as often on windows that drift over one of their photos, each frame damaged anew. It is
scored on other people: hard loose photos (the shard that no training sees), plain ones
(--sequences) and made-up videos (--videos). The arms are the network as it is, the memory with its
state reset at every frame, which is what its parameters alone are worth, and the memory.
"""

import sys

import numpy as np
from absl import app, flags, logging

from benchmarks import memory_arms, memory_scores, memory_sequences
from benchmarks.memory_arms import MEMORY, PLAIN, RESET
from benchmarks.memory_sequences import NUM_FRAMES
from seqface_jax import checkpoints, errors
from seqface_jax.commands import command_line, compilation_cache
from seqface_jax.data import pictures
from seqface_jax.models.correspondence_memory import CorrespondenceMemory
from seqface_jax.training import picture_supply

_TURNS = (0, 2, 4)  # Frames by which the order of loose photos is rolled for scoring.


def training_looks(model, variables, folder, first_shard, num_people):
    """Returns the Looks of loose photos and of drifting windows to train on."""
    source, index = memory_sequences.of_shards(pictures.Pictures(folder, first_shard))
    rng = np.random.default_rng(0)
    index = rng.permutation(index)[:num_people]
    one = np.array([rng.choice(own[source.is_face[own]]) for own in index])
    windows = np.repeat(one[:, None], NUM_FRAMES, 1)
    reference, made = variables['constants']['layout_mean'], []
    for numbers, is_video in ((index, False), (windows, True)):
        sequences = memory_sequences.cut(
            source, numbers, model.image_size, reference, rng, is_video=is_video
        )
        made.append(memory_sequences.look(model, variables, sequences, is_damaged=is_video))
    return made


def tested_looks(model, variables, sources, *, is_video):
    """Returns the Looks of people to score on, of a list of sources and their numbers."""
    reference, rng = variables['constants']['layout_mean'], np.random.default_rng(1)
    cuts = [
        memory_sequences.cut(source, index, model.image_size, reference, rng, is_video=is_video)
        for source, index in sources
    ]
    joined = memory_sequences.Sequences(*map(np.concatenate, zip(*cuts, strict=True)))
    return memory_sequences.look(model, variables, joined, with_local=True)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'Run of the network; the packaged one if left out.')
    flags.DEFINE_string('pictures', None, 'Folder of data_prep.hard_pictures.')
    flags.DEFINE_list('sequences', [], 'Files of data_prep.hard_pictures.sequences: plain photos.')
    flags.DEFINE_string('videos', None, 'File of benchmarks.made_up_videos.')
    flags.DEFINE_integer('first_shard', 1, 'First of the shards to train on.', lower_bound=1)
    flags.DEFINE_integer('num_people', 1000, 'People to train on.', lower_bound=2)
    flags.DEFINE_integer('num_steps', 500, 'Optimiser steps of each arm.', lower_bound=1)


@errors.exit_on_user_error
def main(argv):
    """Trains and scores the arms and prints their tables."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    compilation_cache.turn_on()
    values = flags.FLAGS
    workdir = values.workdir or checkpoints.pretrained()
    config, model, variables = checkpoints.load(workdir, 'best_validation')
    layouts = variables['constants']['layouts']
    kinds = training_looks(model, variables, values.pictures, values.first_shard, values.num_people)
    sys.stderr.write(f'looked at {len(kinds[0].is_face)} people to train on\n')
    directions = memory_scores.identities(kinds[0], layouts)
    memory = CorrespondenceMemory(model.num_points, model.num_layouts)
    params = {PLAIN: None}
    for arm in (RESET, MEMORY):
        params[arm], losses = memory_arms.train(
            memory, arm, kinds, layouts, values.num_steps, config.train.loss_weights
        )
        tenth = -(-len(losses) // 10)
        first, last = np.mean(losses[:tenth]), np.mean(losses[-tenth:])
        sys.stderr.write(f'{arm}: loss {first:.3f}, {last:.3f} in the last tenth\n')
    held_out = pictures.Pictures(values.pictures, 0, picture_supply.VALIDATION_SHARDS)
    tests = {'hard loose photos': [memory_sequences.of_shards(held_out)]}
    tests['plain loose photos'] = [memory_sequences.of_file(path) for path in values.sequences]
    tests['made-up videos'] = [memory_sequences.of_file(values.videos)] if values.videos else []
    for name, sources in tests.items():
        if not sources:
            continue
        is_video = name == 'made-up videos'
        looks = tested_looks(model, variables, sources, is_video=is_video)
        turns = (0,) if is_video else _TURNS
        scores = {
            arm: memory_scores.score(model, variables, memory, own, arm, looks, turns=turns)
            for arm, own in params.items()
        }
        table = [
            f'{name}, {len(looks.is_face)} people',
            *memory_scores.lines(scores, directions),
            '',
            '',
        ]
        sys.stdout.write('\n'.join(table))
        sys.stdout.flush()


if __name__ == '__main__':
    define_flags()
    command_line.require(pictures='FOLDER of data_prep.hard_pictures')
    app.run(main, flags_parser=command_line.parse)
