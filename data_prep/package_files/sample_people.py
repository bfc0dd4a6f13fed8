"""Pictures of one made-up person of each kind, to try the demo on.

python -m data_prep.package_files.sample_people --face_dir=FaceXModel --people=kinds.npz
    --out_dir=seqface_jax/sample_photos

Nobody has these faces: skin, hair and light are drawn, and each folder says so.
"""

import pathlib

import cv2
import numpy as np
from absl import app, flags

from data_prep.hard_pictures import camera, people, picture, workers

SIZE = 208  # Pixels a side.
# Yaw and pitch in degrees and the weight of a smile, of each picture.
POSES = ((0, 0, 0.0), (28, 2, 0.0), (-28, -2, 0.0), (8, 4, 0.6))
_JPEG_QUALITY = 92
_SOURCES = {
    'ict': 'a head of ICT-FaceKit (MIT licence, USC ICT)',
    'makehuman': 'a head of MakeHuman (CC0)',
    'embedded': 'a head that is code of seqface_jax (MIT licence)',
}
_NOTE = """This person does not exist. The pictures are no photographs: they were drawn by
data_prep/package_files/sample_people.py from {source}.
"""


def draw(world, kind, seed, size=SIZE, poses=POSES, *, is_studio=True):
    """Draws the pictures of one person.

    Args:
        world: picture.World.
        kind: of person, one of `world.kinds.names`.
        seed: int, of the person, its looks and the light.
        size: pixels a side.
        poses: as POSES.
        is_studio: as of picture.Portrait.

    Returns:
        list of [size, size, 3] uint8 RGB, one of each of the poses.
    """
    names = world.kinds.model.expression_names
    skin = people.of_kind(world.kinds, kind, np.random.default_rng([seed, 1]), spread=(1.0, 1.0))
    own = world.of_person(kind, skin)
    smiles = np.array([name.startswith('mouthSmile') for name in names])
    made = []
    for number, (yaw_deg, pitch_deg, smile) in enumerate(poses):
        view = camera.facing(yaw_deg, pitch_deg)
        portrait = picture.Portrait(view, np.float32(smile * smiles), seed, is_studio)
        rng = np.random.default_rng([seed, 2, number])
        made.append(picture.make(own, rng, plain=True, portrait=portrait, size=size).image)
    return made


def write(folder, kind, pictures):
    """Writes the pictures as JPEG files, and README.txt, which says that they are drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(pictures, start=1):
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        data = cv2.imencode('.jpg', image[..., ::-1], options)[1].tobytes()
        (folder / f'{number}.jpg').write_bytes(data)
    (folder / 'README.txt').write_text(_NOTE.format(source=_SOURCES[kind]))


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_string('out_dir', None, 'Folder that gets a folder for each kind.')
    flags.DEFINE_list('seeds', ['107', '206', '302'], 'Of the three people.')


def main(argv):
    """Writes the folders."""
    del argv
    world = workers.load_world(flags.FLAGS.face_dir, workers.KINDS, flags.FLAGS.people)
    for kind, seed in zip(workers.KINDS, flags.FLAGS.seeds, strict=True):
        folder = pathlib.Path(flags.FLAGS.out_dir) / f'made_up_{kind}'
        write(folder, kind, draw(world, kind, int(seed)))


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['face_dir', 'people', 'out_dir'])
    app.run(main)
