"""TFDS records (ArrayRecord files, no TensorFlow): one per frame and one per subject.

`tfds.builder_from_directory(f'{data_dir}/{dataset}/frames/1.0.0').as_data_source('train')` reads
them where this code is not installed. Frames lie in the order of subject, sequence and index.
"""

import contextlib
import io

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data_prep import subject as subject_lib
from data_prep import work_files
from data_prep.unordered import NUM_POINTS
from seqface_jax.position_map import SIZE

VERSION = '1.0.0'
FRAMES = tfds.features.FeaturesDict(
    {
        # JPEG bytes: decoding one frame takes 1 ms, so only what is sampled is decoded.
        'image': tfds.features.Tensor(shape=(), dtype=np.object_),
        'subject': tfds.features.Text(),
        'sequence': tfds.features.Text(),
        'frame': tfds.features.Scalar(dtype=np.int32),
        'crop_box': tfds.features.Tensor(shape=(4,), dtype=np.float32),  # x0 y0 x1 y1, pixels.
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


class _Builder(tfds.core.GeneratorBasedBuilder):
    """Writes what `examples(split)` yields; the subclass gives name and features."""

    VERSION = tfds.core.Version(VERSION)
    FEATURES = None

    def __init__(self, *, data_dir, splits, examples, metadata):
        self._splits, self._examples = splits, examples
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

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self._splits}

    def _generate_examples(self, split):
        yield from enumerate(self._examples(split))


class Frames(_Builder):
    FEATURES = FRAMES


class Subjects(_Builder):
    FEATURES = SUBJECTS


def write(data_dir, members, metadata, on_frame):
    """Writes data_dir/{frames,subjects}/VERSION.

    Args:
        data_dir: folder, without those two.
        members: {split: [(subject id, path of its read work file, of its surface work file)]};
            no split is empty.
        metadata: plain values; what is kept beside the records.
        on_frame: called after each frame record, for the progress bar.
    """

    def frames(split):
        for subject_id, read_path, _ in members[split]:
            for sequence, index, jpeg, box in subject_lib.load_frames(read_path):
                on_frame()
                yield {
                    'image': jpeg,
                    'subject': subject_id,
                    'sequence': sequence,
                    'frame': index,
                    'crop_box': box,
                }

    def subjects(split):
        for subject_id, read_path, surface_path in members[split]:
            arrays = work_files.load(surface_path)
            del arrays['error']
            neutral_path = subject_lib.read_info(read_path)['neutral_path']
            has_truth = bool(arrays.pop('has_truth'))
            yield arrays | {
                'subject': subject_id,
                'neutral_path': neutral_path,
                'has_truth': has_truth,
            }

    with _quiet_tfds():
        for builder, examples in ((Subjects, subjects), (Frames, frames)):
            builder(
                data_dir=data_dir, splits=list(members), examples=examples, metadata=metadata
            ).download_and_prepare()


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
