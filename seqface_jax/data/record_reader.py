"""Records on disk, one by one; what is damaged is named by file and number.

TFDS is imported on use: it costs seconds.
"""

import difflib
import os
import re

import cv2
import numpy as np
from absl import logging

from seqface_jax import errors
from seqface_jax.errors import UserError
from seqface_jax.photos import photo_file

# Versions of records that are read, newest first; 1.0.0 has no pose and no maps.
VERSIONS = ('1.1.0', '1.0.0')
ON_BAD_RECORD = ('fail', 'skip')
# Data sets that `python -m data_prep` prepares, by name.
DATA_SETS = ('bu3dfe', 'bu4dfe', 'florence', 'folder', 'w300lp')


class BadRecord(UserError):
    """Raised for a record that is damaged: its checksum or its content is wrong."""


class Records:
    """The records of a split by number; an unreadable one is named by file and index."""

    def __init__(self, builder, split):
        self.folder = str(builder.data_path)
        try:
            info = builder.info.splits[split]
            num_records = info.num_examples
        except ValueError as error:
            legal = ', '.join(builder.info.splits) or 'none'
            raise UserError(f"no split '{split}' in {self.folder}; there are: {legal}") from error
        if not num_records:
            raise UserError(
                f"split '{split}' of {self.folder} is empty: prepare more subjects, or choose "
                'another split'
            )
        self._files = info.file_instructions
        self._source = builder.as_data_source(split)

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        try:
            record = self._source[index]
            check_record(record)
            return record
        except record_errors() as error:
            if (unread := errors.unread(error)) is not None:
                raise UserError(
                    f'{self.complaint(index, unread)}: see that it may be read'
                ) from error
            reason = str(error).partition('\n')[0]
            raise BadRecord(
                f'{self.complaint(index, reason)}: prepare again, or leave it out with '
                '--config.data.on_bad_record=skip'
            ) from error

    def complaint(self, index, reason):
        """Says which record of which file cannot be read."""
        place = index
        for file in self._files:
            if place < file.take:
                name = os.path.join(self.folder, os.path.basename(file.filename))
                return f'cannot read record {file.skip + place} of {name} ({reason})'
            place -= file.take
        return f'cannot read record {index} of {self.folder} ({reason})'


def check_record(record):
    """Raises ValueError for a record that lacks a feature: what was never written reads as None."""
    absent = sorted(name for name, value in record.items() if value is None)
    if absent:
        raise ValueError(f'it has no {", ".join(absent)}')


def decode_image(record):
    """Returns the image of a frame's record, [H, W, 3] uint8 BGR, or None if it is no JPEG."""
    try:
        photo_file.check_size('the image', record['image'])  # A header may announce gigabytes.
        return cv2.imdecode(np.frombuffer(record['image'], np.uint8), cv2.IMREAD_COLOR)
    except (UserError, cv2.error):
        return None


def have_frame_maps(config):
    """Returns whether the records of a `data` section hold maps of single frames."""
    folder = os.path.join(config.dir, config.name, 'frame_maps')
    return any(os.path.isdir(os.path.join(folder, version)) for version in VERSIONS)


def open_builder(folder, kind, config):
    """Opens records with TFDS.

    Args:
        folder: of one data set.
        kind: 'frames', 'subjects' or 'frame_maps'.
        config: the `data` section of a config, for the messages.

    Returns:
        a tfds.core.DatasetBuilder.

    Raises:
        UserError: there are none, or those of another version.
    """
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    parent = os.path.join(os.path.abspath(folder), kind)
    paths = [os.path.join(parent, version) for version in VERSIONS]
    path = next(filter(os.path.isdir, paths), None)
    # Not the name of the records: they may have been given another one than their data set's.
    command = f'python -m data_prep DATASET --raw_dir=RAW --data_dir={config.dir}'
    others = _subfolders(parent)
    if path is None and others:
        raise UserError(
            f'the records in {parent} have version {", ".join(others)}, this program reads '
            f'{" and ".join(VERSIONS)}: prepare again, or use the program that wrote them'
        )
    if path is None and kind == 'frame_maps' and os.path.isdir(folder):
        raise UserError(
            f'the records in {folder} hold no maps of single frames, which data.frame_maps asks '
            f'for: prepare them with `{command} --frame_maps`'
        )
    if path is None:
        raise UserError(_no_records(config, parent, command))
    try:
        _check_features(os.path.join(path, 'features.json'))
        return tfds.builder_from_directory(path)
    except (ValueError, KeyError, OSError, json_format.ParseError) as error:
        if (reason := errors.unread(error)) is not None:
            raise UserError(f'cannot read the records in {path}: {reason}') from error
        raise UserError(f'the records in {path} are damaged or foreign: prepare again') from error


def _no_records(config, parent, command):
    """Says what records there are, and how to make others."""
    what = f"no records of '{config.name}' in {parent}"
    there = [
        name
        for name in _subfolders(config.dir)
        if os.path.isdir(os.path.join(config.dir, name, 'frames'))
    ]
    known, data_sets = ', '.join(there), ', '.join(DATA_SETS)
    near = difflib.get_close_matches(config.name, there, 1)
    if near:
        return (
            f"{what}: did you mean data.name='{near[0]}' (run_eval: --data_name)? There are {known}"
        )
    if there and config.name not in DATA_SETS:
        return f'{what}: there are {known}; data sets that can be prepared are {data_sets}'
    if not os.path.isdir(config.dir):
        what += f', because {config.dir} is no folder'
    return f'{what}: prepare them with `{command}`, where DATASET is one of {data_sets}'


def _check_features(path):
    """Raises ValueError for features that are not TFDS's own: it imports the class they name."""
    with open(path, encoding='utf-8') as file:
        names = re.findall(r'"(?:type|pythonClassName)": *"([^"]*)"', file.read())
    foreign = [name for name in names if not name.startswith('tensorflow_datasets.core.features.')]
    if foreign or not names:
        raise ValueError(f'{path} names {", ".join(foreign) or "no class"}')


def _subfolders(folder):
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


def record_errors():
    """Returns what ArrayRecord (RuntimeError: checksum, cut off) and TFDS raise on reading."""
    from google.protobuf import message

    return (RuntimeError, ValueError, OSError, KeyError, IndexError, message.DecodeError)


def readable(records, on_bad_record):
    """Yields (number, record) of all records; a damaged one is named and left out, or raises."""
    for index in range(len(records)):
        try:
            record = records[index]
        except BadRecord as error:
            if on_bad_record == 'fail':
                raise
            logging.warning('left out, as data.on_bad_record says: %s', error)
            continue
        yield index, record
