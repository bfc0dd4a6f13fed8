"""TFDS records (ArrayRecord files, no TensorFlow): one per frame and one per subject.

`tfds.builder_from_directory(f'{data_dir}/{dataset}/frames/1.1.0').as_data_source('train')` reads
them where this code is not installed. Frames lie in the order of subject, sequence and index.
The maps of the frames, where they were asked for, are records of their own, in the same order.
Version 1.1.0 added the pose of each frame and the maps; 1.0.0 is still read.
"""

import contextlib
import functools
import io
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data_prep import frame_scans
from data_prep.scans.unordered import NUM_POINTS
from data_prep.subject import load_frames, load_poses, read_info
from data_prep.work import work_files
from seqface_jax.data import frame_maps
from seqface_jax.geometry.map_grid import SIZE

VERSION = '1.1.0'
_PEOPLE_PER_FILE = 8  # TFDS keeps the records of one file in memory: 600 frames each are 70 MB.
FRAMES = tfds.features.FeaturesDict(
    {
        # JPEG bytes: decoding one frame takes 1 ms, so only what is sampled is decoded.
        'image': tfds.features.Tensor(shape=(), dtype=np.object_),
        'subject': tfds.features.Text(),
        'sequence': tfds.features.Text(),
        'frame': tfds.features.Scalar(dtype=np.int32),
        'crop_box': tfds.features.Tensor(shape=(4,), dtype=np.float32),  # x0 y0 x1 y1, pixels.
        # Canonical frame -> scan frame, mm, and the turn to the head's left; NaN if not known.
        'rotation': tfds.features.Tensor(shape=(3, 3), dtype=np.float32),
        'translation': tfds.features.Tensor(shape=(3,), dtype=np.float32),
        'yaw_deg': tfds.features.Scalar(dtype=np.float32),
    }
)
FRAME_MAPS = tfds.features.FeaturesDict(
    {
        # Bytes of seqface_jax.data.frame_maps; none where the frame has no usable scan.
        'maps': tfds.features.Tensor(shape=(), dtype=np.object_),
        'subject': tfds.features.Text(),
        'sequence': tfds.features.Text(),
        'frame': tfds.features.Scalar(dtype=np.int32),
    }
)
SUBJECTS = tfds.features.FeaturesDict(
    {
        'subject': tfds.features.Text(),
        'position_map': tfds.features.Tensor(shape=(SIZE, SIZE, 3), dtype=np.float32),  # mm
        'mask': tfds.features.Tensor(shape=(SIZE, SIZE), dtype=np.bool_),
        'points': tfds.features.Tensor(shape=(NUM_POINTS, 3), dtype=np.float32),  # mm
        'scan_vertices': tfds.features.Tensor(shape=(None, 3), dtype=np.float32),  # mm
        'scan_triangles': tfds.features.Tensor(shape=(None, 3), dtype=np.int32),
        'neutral_path': tfds.features.Text(),
        'has_truth': tfds.features.Scalar(dtype=np.bool_),
        'true_position_map': tfds.features.Tensor(shape=(SIZE, SIZE, 3), dtype=np.float32),
        'true_mask': tfds.features.Tensor(shape=(SIZE, SIZE), dtype=np.bool_),
        'true_vertices': tfds.features.Tensor(shape=(None, 3), dtype=np.float32),
        'true_triangles': tfds.features.Tensor(shape=(None, 3), dtype=np.int32),
    }
)


class _RecordsBuilder(tfds.core.ShardBasedBuilder):
    """Writes one file after the other; the subclass gives name and features.

    TFDS's usual builder collects a split in memory, and beyond 1 GB in files that it needs
    TensorFlow for.
    """

    VERSION = tfds.core.Version(VERSION)
    FEATURES = None

    def __init__(self, *, data_dir, parts, metadata):
        """Takes {split: [function that yields the examples of one file]}."""
        self._parts = parts
        self._description, self._metadata = metadata['description'], metadata
        super().__init__(data_dir=data_dir, file_format='array_record')

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self._description,
            features=self.FEATURES,
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,  # A subject's frames lie together, in order of time.
        )

    def _shard_iterators_per_split(self, dl_manager):
        def numbered(part):
            return lambda: enumerate(part())

        return {split: list(map(numbered, parts)) for split, parts in self._parts.items()}


class FramesBuilder(_RecordsBuilder):
    """Writes the records of frames."""

    name = 'frames'
    FEATURES = FRAMES


class FrameMapsBuilder(_RecordsBuilder):
    """Writes the records of frames' maps."""

    name = 'frame_maps'
    FEATURES = FRAME_MAPS


class SubjectsBuilder(_RecordsBuilder):
    """Writes the records of subjects."""

    name = 'subjects'
    FEATURES = SUBJECTS


class Member(NamedTuple):
    """A subject whose records are written, by its work files.

    maps_paths: {sequence: work file of frame_scans.make}; None: no maps were asked for.
    """

    subject_id: str
    read_path: str
    surface_path: str
    maps_paths: dict[str, str] | None = None


def write(data_dir, members, metadata, on_frame):
    """Writes data_dir/{frames,subjects}/VERSION, and frame_maps where the members have them.

    Args:
        data_dir: folder, without those.
        members: {split: [Member]}; no split is empty.
        metadata: plain values; what is kept beside the records.
        on_frame: called after each frame record, for the progress bar.
    """

    def frames(own):
        for member in own:
            true_poses = zip(*load_poses(member.surface_path), strict=True)
            rows = zip(_frame_rows(member), true_poses, strict=True)
            for (key, jpeg, box, pose, _), true_pose in rows:
                rotation, translation = pose or true_pose
                on_frame()
                yield key | {
                    'image': jpeg,
                    'crop_box': box,
                    'rotation': np.float32(rotation),
                    'translation': np.float32(translation),
                    'yaw_deg': np.float32(frame_maps.yaw_deg(rotation)),
                }

    def maps(own):
        for member in own:
            for key, _, _, _, data in _frame_rows(member):
                yield key | {'maps': data}

    def subjects(own):
        for subject_id, read_path, surface_path, _ in own:
            neutral_path = read_info(read_path)['neutral_path']
            names = set(SUBJECTS) - {'subject', 'neutral_path'}
            arrays = work_files.load(surface_path, sorted(names))
            has_truth = bool(arrays.pop('has_truth'))
            yield arrays | {
                'subject': subject_id,
                'neutral_path': neutral_path,
                'has_truth': has_truth,
            }

    writers = [(SubjectsBuilder, subjects), (FramesBuilder, frames)]
    if any(member.maps_paths is not None for rows in members.values() for member in rows):
        writers.append((FrameMapsBuilder, maps))
    with _quiet_tfds():
        for builder, examples in writers:
            parts = {
                split: [
                    functools.partial(examples, rows[start : start + _PEOPLE_PER_FILE])
                    for start in range(0, len(rows), _PEOPLE_PER_FILE)
                ]
                for split, rows in members.items()
            }
            builder(data_dir=data_dir, parts=parts, metadata=metadata).download_and_prepare()


def _frame_rows(member):
    """Yields (key fields, jpeg, box, pose or None, bytes of the maps) of every frame."""
    sequence_open, made = None, {}
    for sequence, index, jpeg, box in load_frames(member.read_path):
        if sequence != sequence_open:
            path = (member.maps_paths or {}).get(sequence)
            sequence_open, made = sequence, frame_scans.load(path) if path else {}
        pose, data = made.get(index, (None, b''))
        key = {'subject': member.subject_id, 'sequence': sequence, 'frame': index}
        yield key, jpeg, box, pose, data


@contextlib.contextmanager
def _quiet_tfds():
    """Silences TFDS's own bars and lines; ours tell more."""
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
