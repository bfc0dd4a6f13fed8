"""Coverage-guided fuzzing (atheris, libFuzzer) of everything that reads foreign bytes.

    python -m benchmarks.torture.fuzz vrml -runs=10000            # seconds, as in the tests
    python -m benchmarks.torture.fuzz ply -max_total_time=3600    # an hour, by hand

Targets: vrml, ply, obj (scans), record (what is in a record; the bytes say how to change a good
one). Whatever follows goes to libFuzzer; a folder is a corpus to keep. An input passes if it is
read into something sound or refused with the reader's own error, within 10 s and 1 GB. A finding is
written to crash-*, timeout-* or oom-* in the current folder: it becomes a test.
"""

import functools
import os
import random
import sys
import tempfile

import atheris
import cv2
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LIMITS = ['-timeout=10', '-rss_limit_mb=1024', '-max_len=4096']

with atheris.instrument_imports(include=['data_prep']):
    from data_prep.scans import obj, ply, scan_io, vrml

_PARSERS = {'vrml': vrml.parse, 'ply': ply.parse, 'obj': obj.parse}
_WORDS = {  # What a mutation should find without luck.
    'vrml': b'{ } [ ] DEF USE Shape Group Transform IndexedFaceSet Coordinate coord point '
    b'coordIndex texCoord texCoordIndex geometry children level LOD Switch whichChoice -1 nan 1e9 '
    b'" # scale rotation appearance texture url ROUTE PROTO',
    'ply': b'ply format ascii binary_little_endian binary_big_endian element property list uchar '
    b'int float double vertex face vertex_indices texcoord x y z s t end_header comment '
    b'TextureFile nan 0 3 255',
    'obj': b'v vt vn f mtllib usemtl / // -1 \\ # nan 0 1 2 3',
}


def scan_target(parse):
    """Returns the function that libFuzzer calls with bytes of a scan."""

    def run(data):
        try:
            scan = parse('fuzz', data)
        except scan_io.ScanError as error:
            if '\n' in str(error):
                raise AssertionError(f'not one sentence: {error}') from error
            return
        check_scan(scan)

    return run


def check_scan(scan):
    """Raises AssertionError unless a Scan keeps what its class promises."""
    assert scan.vertices.dtype == np.float32 and scan.vertices.shape[1:] == (3,)
    assert scan.triangles.dtype == np.int32 and scan.triangles.shape[1:] == (3,)
    assert len(scan.triangles) and np.isfinite(scan.vertices).all()
    assert 0 <= scan.triangles.min() and scan.triangles.max() < len(scan.vertices)
    if scan.uv is not None:
        assert scan.uv.shape == (len(scan.vertices), 2) and np.isfinite(scan.uv).all()


def scan_seeds(name):
    """Yields small files of a kind, as real tools write them."""
    from tests.helpers import scan_variants

    suffix = {'vrml': '.wrl', 'ply': '.ply', 'obj': '.obj'}[name]
    for variant in scan_variants.VARIANTS:
        if variant.suffix == suffix and len(variant.content) < 1024:  # Small and quick ones.
            yield variant.content
    yield b'\n'.join(_WORDS[name].split(b' '))


def changed_record(record, recipe):
    """Returns a record with some of its bytes changed, removed or doubled, as a recipe says.

    TFDS parses records in C++, where no coverage guides: of 12 million inputs of its own libFuzzer
    kept one, of one byte.

    Args:
        record: bytes of a good one.
        recipe: bytes; each recipe changes the record in its own way.
    """
    rng = random.Random(recipe)
    changed = bytearray(record)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        start = rng.randrange(len(changed) + 1)
        end = min(start + rng.choice((0, 1, 1, 1, 2, 8, 64)), len(changed))
        part = rng.choice((rng.randbytes(end - start), b'', changed[start:end] * 2, b'\xff'))
        changed[start:end] = part
    return bytes(changed)


def record_target():
    """Returns the function that libFuzzer calls with a recipe for a frame's record."""
    from data_prep import records
    from seqface_jax.data import record_reader

    decode = records.FRAMES.deserialize_example_np
    errors = record_reader.record_errors()
    (good,) = record_seeds()

    def run(data):
        try:
            record = decode(changed_record(good, data))
            record_reader.check_record(record)
        except errors:
            return
        record_reader.decode_image(record)

    return run


def record_seeds():
    """Yields the bytes of one record."""
    from data_prep import records

    yield records.FRAMES.serialize_example(
        {
            'image': cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes(),
            'subject': 'F001',
            'sequence': 'Angry',
            'frame': 7,
            'crop_box': np.arange(4, dtype=np.float32),
            'rotation': np.eye(3, dtype=np.float32),
            'translation': np.zeros(3, np.float32),
            'yaw_deg': np.float32(0),
        }
    )


def main(argv):
    """Fuzzes the reader that is named, until libFuzzer ends."""
    targets = {name: (lambda name=name: scan_target(_PARSERS[name])) for name in _PARSERS}
    targets['record'] = record_target
    if len(argv) < 2 or argv[1] not in targets:
        sys.exit(f'error: name a target: {", ".join(targets)}')
    name, options = argv[1], argv[2:]
    seeds = record_seeds if name == 'record' else functools.partial(scan_seeds, name)
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(seeds()):
            with open(os.path.join(folder, f'seed_{number:03d}'), 'wb') as file:
                file.write(content)
        corpora = [option for option in options if not option.startswith('-')] or [
            tempfile.mkdtemp(dir=folder)
        ]
        flags = [option for option in options if option.startswith('-')]
        atheris.Setup([argv[0], *_LIMITS, *flags, *corpora, folder], targets[name]())
        atheris.Fuzz()


if __name__ == '__main__':
    main(sys.argv)
