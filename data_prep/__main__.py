"""Prepares a raw data set, or writes a synthetic one.

python -m data_prep bu4dfe --raw_dir=RAW --data_dir=DATA
    BU-4DFE, or a tree of its layout (RAW/F001/Angry/000.wrl + 000.jpg) -> records in
    DATA/bu4dfe. Run it again after a stop: finished subjects are not read again.
python -m data_prep bu3dfe|florence|w300lp --raw_dir=RAW --data_dir=DATA
    The same for BU-3DFE, MICC Florence and 300W-LP, as their owners distribute them;
    data_prep/sources/NAME.py tells each layout.
python -m data_prep folder --raw_dir=RAW --data_dir=DATA [--splits=CSV]
    The same for your own: RAW/anna/*.jpg (or videos) + RAW/anna/scan.ply (.obj, .wrl), mm.
python -m data_prep synthetic_raw --out_dir=RAW
    Writes a raw tree of synthetic people in the layout of BU-4DFE.
python -m data_prep synthetic_raw --out_dir=RAW --face=ict --face_dir=ICT-FaceKit/FaceXModel
    The same with the face of ICT-FaceKit Light (github.com/ICT-VGL/ICT-FaceKit, MIT licence).
"""

import difflib
import os
import sys

from absl import app, flags

from data_prep import sources
from seqface_jax import files
from seqface_jax.commands import command_line, extras
from seqface_jax.errors import UserError, exit_on_user_error

_RAW_DIR = flags.DEFINE_string('raw_dir', None, 'The raw tree, as its owners distribute it.')
_DATA_DIR = flags.DEFINE_string('data_dir', 'data', 'Records go to <data_dir>/<data set>.')
_SUBJECTS = flags.DEFINE_list('subjects', [], 'Only these, such as F001,F002; all if left out.')
_SPLITS = flags.DEFINE_string(
    'splits',
    None,
    'CSV subject,split (train, validation, test); default: data_prep/sources/splits.',
)
_NEUTRAL = flags.DEFINE_string(
    'neutral', None, 'CSV subject,sequence,frame of neutral scans; overrules the choice.'
)
_FRAME_MAPS = flags.DEFINE_bool(
    'frame_maps', False, 'Also a map of every frame that has a scan; about 1 s of a core each.'
)
_WORKERS = flags.DEFINE_integer(
    'workers', None, 'Processes; one per CPU core if left out.', lower_bound=1
)
_BEAM = flags.DEFINE_string(
    'beam_pipeline_options',
    None,
    'Prepare on Apache Beam, such as runner=FlinkRunner,flink_master=HOST:8081; see '
    'data_prep/work/beam_workers.py.',
)
_OUT_DIR = flags.DEFINE_string('out_dir', None, 'synthetic_raw: folder of the new raw tree.')
_NUM_SUBJECTS = flags.DEFINE_integer(
    'num_subjects', 96, 'synthetic_raw: number of people.', lower_bound=1
)
_FRAMES = flags.DEFINE_integer(
    'frames',
    20,
    'synthetic_raw: frames of each of the 6 expressions; with --scans=all the first and the last '
    'are neutral.',
    lower_bound=1,
)
_SEED = flags.DEFINE_integer('seed', 0, 'synthetic_raw: another seed, other people.')
_SCAN_VERTICES = flags.DEFINE_integer(
    'scan_vertices', 30000, 'synthetic_raw: vertices of a scan, about.', lower_bound=500
)
_PHOTO_HEIGHT = flags.DEFINE_integer(
    'photo_height', 1392, 'synthetic_raw: pixels; the width follows.', lower_bound=64
)
_TURN_DEG = flags.DEFINE_integer(
    'turn_deg', 0, 'synthetic_raw: how far heads turn to their sides; 0 as in BU-4DFE.', 0, 80
)
_FACE = flags.DEFINE_enum(
    'face', 'embedded', ['embedded', 'ict'], 'synthetic_raw: the kind of face.'
)
_FACE_DIR = flags.DEFINE_string(
    'face_dir', None, "synthetic_raw: folder of that face's files; --face=ict: FaceXModel."
)
_SCANS = flags.DEFINE_enum(
    'scans',
    'all',
    ['all', 'neutral'],
    'synthetic_raw: neutral writes only the scan of the first frame of each sequence.',
)
_TEST_FRAMES = flags.DEFINE_integer(
    'test_frames',
    None,
    'synthetic_raw: frames of each expression of the people of the test split.',
    lower_bound=1,
)
_FIRST = flags.DEFINE_integer(
    'first', 1, 'synthetic_raw: number of the first person to write; earlier ones stay.', 1
)
_SPLIT = flags.DEFINE_enum(
    'split',
    None,
    ['train', 'validation', 'test'],
    'synthetic_raw: write the people of this split only.',
)
_SEQUENCES = flags.DEFINE_integer(
    'sequences', None, 'synthetic_raw: each person has so many of the 6 expressions.', 1, 6
)
_SPREAD = flags.DEFINE_float(
    'spread', None, 'synthetic_raw: faces lie so many times further from the mean face.', 0.0
)
_DEFORM_MM = flags.DEFINE_float(
    'deform_mm', None, 'synthetic_raw: faces are smoothly deformed by about so much.', 0.0
)
_OF_PREPARE = (
    'raw_dir',
    'data_dir',
    'subjects',
    'splits',
    'neutral',
    'frame_maps',
    'beam_pipeline_options',
)
_OF_SYNTHETIC = (
    'out_dir',
    'num_subjects',
    'frames',
    'seed',
    'scan_vertices',
    'photo_height',
    'turn_deg',
    'face',
    'face_dir',
    'scans',
    'test_frames',
    'first',
    'split',
    'sequences',
    'spread',
    'deform_mm',
)
_STOPPED = 130  # The exit status of a program that Ctrl-C ended.


@exit_on_user_error
def main(argv):
    """Prepares the data set that is named, or writes a synthetic one."""
    if len(argv) != 2:
        raise UserError(f'give one command: {_commands()}; --help tells more')
    extras.require('data')
    try:
        if argv[1] == 'synthetic_raw':
            _write_synthetic()
        else:
            _prepare(argv[1])
    except KeyboardInterrupt:
        sys.stderr.write('\nstopped; the same command goes on from here\n')
        sys.exit(_STOPPED)


def _commands():
    return ', '.join([*sources.names(), 'synthetic_raw'])


def _prepare(dataset):
    if dataset not in sources.names():
        near = difflib.get_close_matches(dataset, [*sources.names(), 'synthetic_raw'], 1)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise UserError(f'unknown data set {dataset!r}; known commands are: {_commands()}{hint}')
    _check_flags(dataset, 'raw_dir', _OF_SYNTHETIC)
    # Seconds of imports that --help does not need.
    from data_prep import preparation_report, prepare

    report, up_to_date = prepare.prepare(
        dataset,
        _RAW_DIR.value,
        _DATA_DIR.value,
        num_workers=_num_workers(),
        subject_ids=_SUBJECTS.value,
        splits_csv=_SPLITS.value,
        neutral_csv=_NEUTRAL.value,
        with_maps=_FRAME_MAPS.value,
        beam_options=_BEAM.value,
    )
    sys.stdout.write(files.printable(preparation_report.summary(report, up_to_date)))


def _write_synthetic():
    _check_flags('synthetic_raw', 'out_dir', _OF_PREPARE)
    from data_prep.registration import ray_casting

    ray_casting.check_open3d()
    from data_prep import synthetic_raw

    settings = synthetic_raw.Settings(
        frames=_FRAMES.value,
        seed=_SEED.value,
        scan_vertices=_SCAN_VERTICES.value,
        photo_height=_PHOTO_HEIGHT.value,
        turn_deg=_TURN_DEG.value,
        face=_FACE.value,
        face_dir=_FACE_DIR.value,
        scans=_SCANS.value,
        test_frames=_TEST_FRAMES.value,
        sequences=_SEQUENCES.value,
        spread=_SPREAD.value,
        deform_mm=_DEFORM_MM.value,
    )
    if _FIRST.value > _NUM_SUBJECTS.value:
        raise UserError(
            f'--first={_FIRST.value} is beyond --num_subjects={_NUM_SUBJECTS.value}: that is the '
            'number of the last person'
        )
    synthetic_raw.write(
        _OUT_DIR.value,
        _NUM_SUBJECTS.value,
        _num_workers(),
        settings,
        first=_FIRST.value,
        only_split=_SPLIT.value,
    )


def _check_flags(command, required, foreign):
    """Raises UserError for a flag that is needed and absent, or present and not used."""
    if not flags.FLAGS[required].value:
        raise UserError(f'{command} needs --{required}=FOLDER')
    for name in foreign:
        if flags.FLAGS[name].present:
            raise UserError(f'--{name} is not a flag of {command}; --help tells which are')


def _num_workers():
    return _WORKERS.value or len(os.sched_getaffinity(0))


if __name__ == '__main__':
    app.run(main, flags_parser=command_line.parse)
