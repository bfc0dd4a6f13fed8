"""Records to batches, on the host; which frames make batch i is a function of (seed, epoch, i).

An epoch shows every frame of a split exactly once. Nothing here knows which dataset the records
came from. TFDS and grain are imported on use: they cost seconds.
"""

import collections
import copy
import dataclasses
import functools
import os
import threading

import numpy as np
from absl import logging

from seqface_jax.data import frame_maps
from seqface_jax.data.record_reader import (
    ON_BAD_RECORD,
    BadRecord,
    Records,
    decode_image,
    open_builder,
    readable,
)
from seqface_jax.errors import UserError
from seqface_jax.photos import crops

STACKED = ('position_map', 'mask', 'points', 'true_position_map', 'true_mask', 'has_truth')
RAGGED = ('scan_vertices', 'scan_triangles', 'true_vertices', 'true_triangles')


@dataclasses.dataclass(frozen=True)
class FrameIndex:
    """Where the frames of one subject are, sorted by sequence and frame number.

    Attributes:
        records: [F] int, position in the records of the split.
        sequences: [F] str, the sequence that each frame is of.
        numbers: [F] int, the frame's number in its sequence.
        yaw_deg: [F] float32, how far the head is turned to its left; NaN where not known.
    """

    records: np.ndarray
    sequences: np.ndarray
    numbers: np.ndarray
    yaw_deg: np.ndarray


class Dataset:
    """The records of one data set; `split` reads the table of one split."""

    def __init__(self, config):
        """Opens the records.

        Args:
            config: the `data` section of a config.

        Raises:
            UserError: there are no records, or no maps of frames where they are asked for.
        """
        if config.on_bad_record not in ON_BAD_RECORD:
            raise UserError(
                f"data.on_bad_record='{config.on_bad_record}' is not one of {ON_BAD_RECORD}"
            )
        self._config = config
        folder = os.path.join(config.dir, config.name)
        kinds = ['frames', 'subjects']
        if config.frame_maps:
            kinds.append('frame_maps')
        self._builders = {kind: open_builder(folder, kind, config) for kind in kinds}
        self._splits = {}

    def has(self, split):
        """Returns whether there is anybody in a TFDS split expression."""
        try:
            return self._builders['subjects'].info.splits[split].num_examples > 0
        except ValueError:  # TFDS knows no such split.
            return False

    def split(self, split):
        """Returns the Split of a TFDS split expression such as 'validation+test'; read once."""
        if split not in self._splits:
            records = {kind: Records(builder, split) for kind, builder in self._builders.items()}
            self._splits[split] = Split(split, records, self._config)
        return self._splits[split]


class Split:
    """The subjects of one split and their frames.

    Attributes:
        name: the split expression.
        subject_ids: list of S str, sorted.
        subjects: dict. Stacked arrays position_map [S, 128, 128, 3] mm, mask [S, 128, 128] bool,
            points [S, N, 3] mm, true_position_map, true_mask, has_truth [S] bool; lists of S
            arrays scan_vertices, scan_triangles, true_vertices, true_triangles; list of S str
            neutral_path.
        frame_index: list of S FrameIndex.
    """

    def __init__(self, name, records, config):
        frame_records, subject_records = records['frames'], records['subjects']
        self.name = name
        self.image_size = config.image_size
        self._config = config
        self._records = frame_records
        self._map_records = records.get('frame_maps')
        self._cache = _FrameCache(config.cache_mib * 2**20)
        frame_index = _index_frames(readable(frame_records, config.on_bad_record))
        rows = {
            _text(row['subject']): row for _, row in readable(subject_records, config.on_bad_record)
        }
        for subject in sorted(set(rows) ^ set(frame_index)):
            logging.warning('subject %s of %s is left out: no frames or no scan', subject, name)
        self.subject_ids = sorted(set(rows) & set(frame_index))
        if not self.subject_ids:
            raise UserError(
                f"no subject of split '{name}' of {frame_records.folder} has both frames and a "
                'scan: prepare again'
            )
        self.subjects = _subject_table([rows[subject] for subject in self.subject_ids])
        self.frame_index = [frame_index[subject] for subject in self.subject_ids]

    def evenly(self, count):
        """Returns the Split of `count` of its subjects, evenly over their ids; 0: of all."""
        places = np.arange(len(self.subject_ids))
        if not 0 < count < len(places):
            return self
        places = np.linspace(0, len(places) - 1, count).round().astype(int)
        few = copy.copy(self)
        few.subject_ids = [self.subject_ids[place] for place in places]
        few.frame_index = [self.frame_index[place] for place in places]
        few.subjects = {
            name: [column[place] for place in places]
            if isinstance(column, list)
            else column[places]
            for name, column in self.subjects.items()
        }
        return few

    @property
    def frames_by_subject(self):
        """The number of frames of each subject, [S] int."""
        return np.array([len(index.records) for index in self.frame_index])

    def frames(self, subject_index, frame_indices):
        """Returns frames of one subject, uint8 RGB [T, image_size, image_size, 3].

        Args:
            subject_index: which of `subject_ids`.
            frame_indices: [T] int, which of the subject's frames, as in `frame_index`.

        Raises:
            BadRecord: one of them has become unreadable since the split was opened. A restart
                leaves it out where data.on_bad_record is 'skip'.
        """
        records = self.frame_index[subject_index].records
        return np.stack([self._frame(int(records[index])) for index in frame_indices])

    def sample_frames(self, count):
        """Returns about `count` frames, or all, evenly over the subjects.

        Args:
            count: of frames.

        Returns:
            [M, image_size, image_size, 3] uint8 RGB, M at most `count`.
        """
        places = np.concatenate([index.records for index in self.frame_index])
        chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
        return np.stack([self._frame(int(places[index])) for index in chosen])

    def frame_maps(self, subject_index, frame_indices):
        """Returns the maps of frames of one subject, where the config asks for them.

        Args: as of `frames`.

        Returns:
            dict of frame_map [T, 128, 128, 3] float32 mm, frame_mask [T, 128, 128] bool,
            image_map [T, 128, 128, 3] float32 in units of the crop's width and image_mask
            [T, 128, 128] bool; see frame_maps.FrameMaps. A frame without a scan has empty masks.
        """
        records = self.frame_index[subject_index].records
        maps = [self._maps(int(records[index])) for index in frame_indices]
        return {
            name: np.stack([getattr(one, name) for one in maps])
            for name in frame_maps.FrameMaps._fields
        }

    @property
    def has_frame_maps(self):
        """Whether `frame_maps` can be asked."""
        return self._map_records is not None

    def sample_deformations(self, count):
        """Returns how about `count` frames, or all, differ from the neutral face of their subject.

        Args:
            count: of frames, evenly over the subjects.

        Returns:
            dict of deformation [M, 128, 128] float32, mm along the map's rays, M at most `count`,
            and deformation_mask [M, 128, 128] bool; for where the config asks for frame_maps.
        """
        places = [
            (subject, frame)
            for subject, index in enumerate(self.frame_index)
            for frame in range(len(index.records))
        ]
        chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
        deformations, masks = [], []
        for subject, frame in (places[index] for index in chosen):
            maps = self.frame_maps(subject, [frame])
            neutral = np.linalg.norm(self.subjects['position_map'][subject], axis=-1)
            deformations.append(np.linalg.norm(maps['frame_map'][0], axis=-1) - neutral)
            masks.append(maps['frame_mask'][0] & self.subjects['mask'][subject].astype(bool))
        return {'deformation': np.stack(deformations), 'deformation_mask': np.stack(masks)}

    def num_batches(self):
        """The number of batches of an epoch."""
        return -(-len(self._plan(0, 0)) // self._config.batch_size)

    def batch(self, seed, epoch, index, share=(0, 1)):
        """Returns batch `index` of an epoch: the same for the same arguments, always.

        The last batch of an epoch is filled from the epoch's start; `weight` is 0 there.

        Args:
            seed, epoch, index: which batch.
            share: (i, n) for the i-th of n equal parts of its rows: B is batch_size / n.

        Returns:
            dict of frames uint8 [B, T, H, W, 3], position_map [B, 128, 128, 3] mm, mask
            [B, 128, 128] bool, points [B, N, 3] mm, yaw_deg [B, T] float32 (NaN where not known),
            weight [B] float32, subject_index [B] int32, and row [B] int32, the place in the batch;
            with config.frame_maps also what `frame_maps` returns, each [B, T, ...].
        """
        config = self._config
        plan = self._plan(seed, epoch)
        part, num_parts = share
        size = config.batch_size // num_parts
        rows = np.arange(part * size, (part + 1) * size)
        places = index * config.batch_size + rows
        groups = [plan[place % len(plan)] for place in places]
        subject_index = np.array([subject for subject, _ in groups], np.int32)
        batch = {
            name: self.subjects[name][subject_index] for name in ('position_map', 'mask', 'points')
        }
        batch['frames'] = np.stack([self.frames(*group) for group in groups])
        batch['yaw_deg'] = np.stack(
            [self.frame_index[subject].yaw_deg[frames] for subject, frames in groups]
        )
        if self._map_records is not None:
            maps = [self.frame_maps(*group) for group in groups]
            batch |= {name: np.stack([one[name] for one in maps]) for name in maps[0]}
        batch['weight'] = (places < len(plan)).astype(np.float32)
        batch['subject_index'] = subject_index
        batch['row'] = rows.astype(np.int32)
        return batch

    def batches(self, seed, epoch, start=0, share=(0, 1)):
        """Iterates over the batches of an epoch from `start` on, read ahead by threads."""
        import grain

        make_batch = functools.partial(self.batch, seed, epoch, share=share)
        batches = grain.MapDataset.range(start, self.num_batches()).map(make_batch)
        options = grain.ReadOptions(
            num_threads=self._config.num_threads,
            prefetch_buffer_size=2 * self._config.num_threads,
        )
        return iter(batches.to_iter_dataset(options))

    def _plan(self, seed, epoch):
        """Returns the groups of frames of an epoch, as data.draw says."""
        config = self._config
        if config.draw == 'sequences':
            return epoch_plan(seed, epoch, self.frames_by_subject, config.num_frames)
        if config.draw != 'pairs':
            raise UserError(f"data.draw is {config.draw!r}: choose 'sequences' or 'pairs'")
        yaws = [index.yaw_deg for index in self.frame_index]
        limits = config.front_max_yaw_deg, config.side_min_yaw_deg
        plan = pair_plan(seed, epoch, yaws, *limits)
        if not plan:
            raise UserError(
                f"nobody in split '{self.name}' has a frame turned by less than {limits[0]} "
                f'degrees and one by more than {limits[1]}: set data.front_max_yaw_deg and '
                'data.side_min_yaw_deg, or prepare data of larger turns with --frame_maps'
            )
        return [(subject, frames[: config.num_frames]) for subject, frames in plan]

    def _frame(self, record):
        frame = self._cache.get(record)
        if frame is None:
            frame = self._decode(record)
            self._cache.add(record, frame)
        return frame

    def _decode(self, record):
        frame = decode_image(self._records[record])
        if frame is None:
            what = self._records.complaint(record, 'its image is not a JPEG')
            raise BadRecord(f'{what}: prepare again')
        frame = crops.at_size(frame, self.image_size)
        return np.ascontiguousarray(frame[..., ::-1])

    def _maps(self, record):
        try:
            return frame_maps.decode(self._map_records[record]['maps'])
        except ValueError as error:
            what = self._map_records.complaint(record, str(error))
            raise BadRecord(f'{what}: prepare again') from error


class _FrameCache:
    """Keeps decoded frames until it is full; an epoch visits all alike, so none is evicted."""

    def __init__(self, capacity_bytes):
        self._free = capacity_bytes
        self._frames = {}
        self._lock = threading.Lock()

    def get(self, key):
        return self._frames.get(key)

    def add(self, key, frame):
        with self._lock:
            if key not in self._frames and frame.nbytes <= self._free:
                self._free -= frame.nbytes
                self._frames[key] = frame


def open_dataset(config):
    """Opens the records that the `data` section of a config names.

    Raises:
        UserError: there are no records, or they cannot be read.
    """
    return Dataset(config)


def epoch_plan(seed, epoch, frames_by_subject, num_frames):
    """Deals all frames into groups of one subject each, in random order.

    Each subject's frames are permuted and cut into groups of `num_frames`; the last group is
    topped up with other frames of the same subject, repeated only if it has too few.

    Args:
        seed: of the run.
        epoch: from 0.
        frames_by_subject: [S] int, the number of frames of each subject.
        num_frames: T, the frames of a group.

    Returns:
        list of (subject index, [T] int frame indices): every frame once, but for the topping up.
    """
    rng = np.random.default_rng([seed, epoch])
    groups = []
    for subject, count in enumerate(frames_by_subject):
        order = rng.permutation(count)
        order = np.resize(order, -(-count // num_frames) * num_frames)
        groups += [(subject, order[i : i + num_frames]) for i in range(0, len(order), num_frames)]
    return [groups[i] for i in rng.permutation(len(groups))]


def pair_plan(seed, epoch, yaws, front_max_yaw_deg, side_min_yaw_deg):
    """Pairs every frontal frame with a random one from the side, in random order.

    Args:
        seed, epoch: as of `epoch_plan`.
        yaws: list of S arrays [F_s], how far each frame of a subject is turned, degrees; NaN where
            not known: such a frame is in no pair.
        front_max_yaw_deg: a frontal frame is turned by less, to either side.
        side_min_yaw_deg: one from the side by more.

    Returns:
        list of (subject index, [2] int frame indices, the frontal one first); none of a subject
        who lacks one of the two kinds.
    """
    rng = np.random.default_rng([seed, epoch])
    pairs = []
    for subject, yaw in enumerate(yaws):
        fronts = np.flatnonzero(np.abs(yaw) < front_max_yaw_deg)
        sides = np.flatnonzero(np.abs(yaw) > side_min_yaw_deg)
        if len(sides):
            pairs += [(subject, np.array([front, rng.choice(sides)])) for front in fronts]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def _index_frames(records):
    """Returns {subject id: FrameIndex} of (number, record) pairs."""
    found = collections.defaultdict(list)
    for index, record in records:
        yaw_deg = float(record.get('yaw_deg', np.nan))
        place = (_text(record['sequence']), int(record['frame']), index, yaw_deg)
        found[_text(record['subject'])].append(place)
    return {subject: _frame_index(sorted(places)) for subject, places in found.items()}


def _frame_index(places):
    sequences, numbers, records, yaw_deg = zip(*places, strict=True)
    return FrameIndex(
        np.array(records), np.array(sequences), np.array(numbers), np.array(yaw_deg, np.float32)
    )


def _subject_table(rows):
    table = {name: np.stack([row[name] for row in rows]) for name in STACKED}
    table |= {name: [np.asarray(row[name]) for row in rows] for name in RAGGED}
    table['neutral_path'] = [_text(row['neutral_path']) for row in rows]
    return table


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
