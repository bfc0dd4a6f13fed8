"""How the tests compile, and records of a few made-up people for what reads records."""

import functools
import gc
import os
import pathlib

import cv2
import numpy as np
import pytest

from seqface_jax.data import frame_maps
from seqface_jax.geometry import map_grid
from tests.helpers import compiling

SPLITS = {'train': ('F001', 'M001', 'F002', 'M002', 'F003'), 'validation': ('F004', 'M004')}
SPLITS['test'] = ('F005', 'M005')
NUM_POINTS = 16384


def pytest_cmdline_main(config):
    """Gives xdist's workers whole files, whose tests share fixtures, in the order chosen below."""
    if getattr(config.option, 'dist', None) == 'load':
        config.option.dist, config.option.loadscopereorder = 'loadfile', False


def pytest_configure(config):
    """Keeps compiled programs in .pytest_cache/d/compiled, if pytest keeps anything."""
    folder = config.cache.mkdir('compiled') if hasattr(config, 'cache') else None
    if folder is not None and not hasattr(config, 'workerinput'):  # Not in xdist's workers.
        compiling.empty_if_large(folder)
    compiling.set_up(folder)


def pytest_collection_finish():
    """Leaves what is imported out of every later search for garbage, and searches seldom.

    Programs of JAX are many small objects: every 700 of them would start a search.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_unconfigure():
    """Ends the process without a last search through all programs."""
    gc.freeze()


def make_person(subject):
    """Returns a record of a lumpy sphere, and the lump's strength in [-1, 1]."""
    lump = np.sin(sum(map(ord, subject)) * 1.7)
    directions = map_grid.ray_directions()
    radius = 90 + 8 * lump * directions[..., 1] + 5 * directions[..., 2] ** 8
    face = (radius[..., None] * directions).astype(np.float32)
    mask = np.ones(face.shape[:2], bool)
    mask[:3] = False
    vertices = face.reshape(-1, 3)[::16]
    record = {
        'subject': subject,
        'position_map': face,
        'mask': mask,
        'points': face.reshape(-1, 3)[:NUM_POINTS],
        'scan_vertices': face[::4, ::4].reshape(-1, 3),  # Coarse: scores look at every vertex.
        'scan_triangles': map_grid.grid_triangles(mask[::4, ::4]),
        'neutral_path': f'{subject}/Angry/000.wrl',
        'has_truth': True,
        'true_position_map': face,
        'true_mask': mask,
        'true_vertices': vertices,
        'true_triangles': np.array([[0, 1, 2]], np.int32),
    }
    return record, lump


def make_frames(subject, lump, count=7):
    """Yields records of frames whose colours tell the lump."""
    rng = np.random.default_rng(sum(map(ord, subject)))
    for index in range(count):
        image = rng.uniform(60, 90, (256, 256, 3))
        image[64:192, 64:192] += 60 + 60 * lump
        encoded = cv2.imencode('.jpg', image.astype(np.uint8))[1].tobytes()
        yield {
            'image': encoded,
            'subject': subject,
            'sequence': ('Angry', 'Happy')[index % 2],
            'frame': index // 2,
            'crop_box': np.array([0, 0, 256, 256], np.float32),
            'rotation': np.eye(3, dtype=np.float32),
            'translation': np.zeros(3, np.float32),
            'yaw_deg': np.float32(10 * index - 20),
        }


def make_maps(subject, count=7):
    """Yields records of the maps of `make_frames`; the last frame has none."""
    record, _ = make_person(subject)
    nearest = -record['position_map'][..., 2:]
    for index in range(count):
        image = np.concatenate([record['position_map'][..., :2] + 100, nearest - nearest.min()], -1)
        maps = frame_maps.FrameMaps(
            record['position_map'], record['mask'], np.float32(image / 200), record['mask']
        )
        yield {
            'maps': frame_maps.encode(maps) if index < count - 1 else b'',
            'subject': subject,
            'sequence': ('Angry', 'Happy')[index % 2],
            'frame': index // 2,
        }


def write_records(data_dir, name='tiny', splits=None):
    """Writes records through data_prep, of people who need no scan."""
    from data_prep import records

    splits = splits or SPLITS
    people = {subject: make_person(subject) for ids in splits.values() for subject in ids}

    def subjects(split):
        return (people[subject][0] for subject in splits[split])

    def frames(split):
        for subject in splits[split]:
            yield from make_frames(subject, people[subject][1])

    def maps(split):
        for subject in splits[split]:
            yield from make_maps(subject)

    for builder, examples in (
        (records.FramesBuilder, frames),
        (records.SubjectsBuilder, subjects),
        (records.FrameMapsBuilder, maps),
    ):
        builder(
            data_dir=os.path.join(data_dir, name),
            parts={split: [functools.partial(examples, split)] for split in splits},
            metadata={'description': 'Made-up people.'},
        ).download_and_prepare()


def pytest_collection_modifyitems(items):
    """Puts files with slow tests first: a worker that gets one last keeps the others waiting."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def shipped():
    """Compiles as a user's program does, and takes nothing that other tests have compiled."""
    with compiling.as_shipped():
        yield


@pytest.fixture(scope='session')
def tiny_records(tmp_path_factory):
    """Returns a data_dir with the records 'tiny': 5, 2 and 2 people of 7 frames each."""
    data_dir = tmp_path_factory.mktemp('records')
    write_records(data_dir)
    return data_dir


def quick_figures(patch):
    """Draws an evaluation's pictures small and leaves their files empty: layout takes seconds."""
    from seqface_jax.evaluation import figures

    patch.setattr(figures, '_RENDER_SIZE', 40)
    patch.setattr(figures, 'save', lambda picture, path: pathlib.Path(path).touch())


@pytest.fixture
def no_figures(monkeypatch):
    """Leaves the pictures out of an evaluation, which take as long as all the rest of it."""
    from seqface_jax.evaluation import figures

    monkeypatch.setattr(figures, 'write', lambda folder, *args: os.makedirs(folder, exist_ok=True))


def rough_registration(patch):
    """Registers scans by a quarter of the template's points, and refines a group's frame once."""
    from data_prep import stages
    from data_prep.registration import icp

    patch.setattr(icp, '_VOXEL_MM', 8.0)
    patch.setattr(stages, '_ROUNDS', 1)


@pytest.fixture
def registered_roughly(monkeypatch):
    """Makes registration quick, where a test is about what becomes of the scans."""
    rough_registration(monkeypatch)


@pytest.fixture(scope='session')
def packaged():
    """Returns the packaged run's Reconstructor, which takes seconds to trace."""
    from seqface_jax.reconstruct import Reconstructor

    return Reconstructor.restore()


@pytest.fixture(scope='session')
def small_reconstructor():
    """Returns the Reconstructor of a small run of the fusion network, traced once."""
    from seqface_jax.reconstruct import Reconstructor
    from tests.helpers import small_run

    return Reconstructor(*small_run.make())
