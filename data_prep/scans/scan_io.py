"""Raw scans from and to disk: VRML 2.0 (.wrl), PLY and OBJ."""

import os
import pathlib
import stat

from data_prep.scans import obj, ply, vrml
from data_prep.scans.scan import Scan, ScanError

__all__ = ['Scan', 'ScanError', 'read_scan', 'write_obj', 'write_ply', 'write_vrml']

_PARSERS = {'.wrl': vrml.parse, '.vrml': vrml.parse, '.ply': ply.parse, '.obj': obj.parse}
SUFFIXES = tuple(_PARSERS)
MAX_BYTES = 1 << 27  # A BU-4DFE scan has 5 MB.
MEMORY_FACTOR = 100  # Memory that the worst content makes a reader take, over its size.
_GZIP = b'\x1f\x8b'


def read_scan(path):
    """Reads one scan; polygons become fans of triangles, vertices keep their order.

    Args:
        path: a .wrl, .ply or .obj file.

    Returns:
        A Scan, in the file's unit (mm in every raw layout we read).

    Raises:
        ScanError: the file is missing, of another kind, cut off or damaged; the message is one
            sentence that names the file and the place in it.
    """
    path = os.fspath(path)
    parse = _PARSERS.get(os.path.splitext(path)[1].lower())
    if parse is None:
        raise ScanError(f'{path}: not a scan; files that end in {", ".join(SUFFIXES)} are read.')
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # A pipe would be waited for, a device has no end.
            raise ScanError(f'{path}: cannot be read (not a file).')
        if status.st_size > MAX_BYTES:
            raise ScanError(f'{path}: larger than {MAX_BYTES} bytes; it is no scan of a face.')
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ScanError(f'{path}: cannot be read ({error.strerror}).') from None
    except ValueError:  # A zero byte in the name.
        raise ScanError(f'{path!r}: cannot be read (not a file name).') from None
    if data.startswith(_GZIP):
        raise ScanError(f'{path}: is compressed with gzip; unpack it first.')
    if not data.strip():
        raise ScanError(f'{path}: the file is empty.')
    return parse(path, data)


def write_vrml(path, scan):
    """Writes `scan` as VRML 2.0 text, laid out as in BU-4DFE, to 0.0001 mm."""
    pathlib.Path(path).write_bytes(vrml.serialize(scan))


def write_ply(path, scan):
    """Writes `scan` as binary little endian PLY."""
    pathlib.Path(path).write_bytes(ply.serialize(scan))


def write_obj(path, scan):
    """Writes `scan` as OBJ text, to 0.0001 mm."""
    pathlib.Path(path).write_bytes(obj.serialize(scan))
