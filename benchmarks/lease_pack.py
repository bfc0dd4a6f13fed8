"""What a borrowed GPU needs of made-up people, small enough to carry: packed here, unpacked there.

A FaceXModel of ICT-FaceKit has a quarter of a gigabyte of text. Its shapes are the neutral mesh and
what each moves: whole numbers of 0.0002 cm, which compress well. Of the other kinds of people the
file of data_prep.synthetic.template_kinds is compressed, with lengths as half floats, and without
what the model's own files say again.
"""

import os
import pathlib
import shutil

import numpy as np

from data_prep.synthetic import ict_facekit
from seqface_jax import files
from seqface_jax.errors import UserError

NEUTRAL, INDICES = 'generic_neutral_mesh.obj', 'vertex_indices.json'
SHAPES, PEOPLE, RECORDS = 'shapes.npz', 'kinds.npz', 'records'
LIMIT_MIB = 64.0
_STEPS_PER_CM = 5e3  # Whole numbers that vertices are moved by.
_AS_HALVES = ('makehuman_deltas', 'embedded_identity')
_LEFT_OUT = ('ict_identity',)  # Not needed to draw people.


def pack(face_dir, people, out, records=None, limit_mib=LIMIT_MIB):
    """Writes the folder to carry.

    Args:
        face_dir: FaceXModel of ICT-FaceKit, or the folder that holds it.
        people: file of data_prep.synthetic.template_kinds.
        out: folder, made new.
        records: a folder of data_prep for the other systems, or None.
        limit_mib: that the folder may have.

    Returns:
        [] MiB that it has.

    Raises:
        UserError: something cannot be read, or it gets too large.
    """
    source = pathlib.Path(ict_facekit.find(face_dir))
    out = pathlib.Path(out)
    if out.exists():
        raise UserError(f'{out} is there already: give another --pack, or remove it')
    out.mkdir(parents=True)
    for name in (NEUTRAL, INDICES):
        shutil.copyfile(source / name, out / name)
    neutral, _ = ict_facekit.read_mesh(source / NEUTRAL)
    shapes = {}
    for path in sorted(source.glob('*.obj')):
        if path.name != NEUTRAL:
            moved = ict_facekit.read_vertices(path, len(neutral)) - neutral
            shapes[path.stem] = _steps(path, moved)
    files.write_arrays(out / SHAPES, shapes, compressed=True)
    with np.load(people) as file:
        kinds = {
            name: file[name].astype(np.float16) if name in _AS_HALVES else file[name]
            for name in file
            if name not in _LEFT_OUT
        }
    files.write_arrays(out / PEOPLE, kinds, compressed=True)
    if records:
        shutil.copytree(records, out / RECORDS)
    size = sum(path.stat().st_size for path in out.rglob('*') if path.is_file()) / 2**20
    if size > limit_mib:
        raise UserError(
            f'{out} has {size:.1f} MiB, more than the {limit_mib:.0f} that may be carried: leave '
            'out --records, or prepare fewer'
        )
    return size


def _steps(path, moved):
    """Returns how far vertices [V, 3] are moved, cm, as whole numbers of 16 bits."""
    steps = np.rint(moved * _STEPS_PER_CM)
    if np.abs(steps).max(initial=0) > np.iinfo(np.int16).max:
        raise UserError(f'{path} moves a vertex by more than 6 cm: it is no shape of ICT-FaceKit')
    return steps.astype(np.int16)


def unpack(packed, face_dir):
    """Writes a FaceXModel again, whose vertices differ by at most 0.0001 cm.

    Args:
        packed: folder of `pack`.
        face_dir: folder, made if missing.

    Raises:
        UserError: the folder holds no pack.
    """
    packed, face_dir = pathlib.Path(packed), pathlib.Path(face_dir)
    face_dir.mkdir(parents=True, exist_ok=True)
    try:
        for name in (NEUTRAL, INDICES):
            shutil.copyfile(packed / name, face_dir / name)
        with np.load(packed / SHAPES) as file:
            shapes = dict(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f'{packed} holds no pack ({error}): write it with benchmarks.lease --verb=pack'
        ) from error
    neutral, _ = ict_facekit.read_mesh(face_dir / NEUTRAL)
    for name, steps in shapes.items():
        values = (neutral + steps / _STEPS_PER_CM).ravel().tolist()
        text = ('v %.5f %.5f %.5f\n' * len(steps)) % tuple(values)
        with open(os.path.join(face_dir, f'{name}.obj'), 'w', encoding='utf-8') as file:
            file.write(text)
