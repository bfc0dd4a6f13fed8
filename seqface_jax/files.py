"""Files that are there whole or not at all; their names; files of arrays that may be damaged."""

import fcntl
import os
import tempfile
import zipfile
import zlib

import numpy as np

from seqface_jax import errors

# What NumPy and zipfile raise on a file of arrays that was changed or cut, or is one array (.npy).
DAMAGED_ARRAYS = (ValueError, KeyError, EOFError, NotImplementedError, TypeError)
DAMAGED_ARRAYS += (zipfile.BadZipFile, zlib.error)


def printable(text):
    """Returns a text as it can be written: names of files may hold bytes that are no UTF-8."""
    return str(text).encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def for_opencv(path):
    """Returns the path of a video as OpenCV can open it, whole.

    FFmpeg takes what stands before a colon in another for a protocol.

    Raises:
        UserError: it is no UTF-8: OpenCV ends the program there.
    """
    path = os.path.abspath(path)
    if path != printable(path):
        raise errors.UserError(f'OpenCV opens no video whose name is no UTF-8: rename {path}')
    return path


def read_arrays(path, advice, names=None):
    """Reads a .npz file.

    Args:
        path: of the file.
        advice: what to do where it cannot be read, for the message.
        names: of the arrays that are read; all if left out.

    Returns:
        {name: array}.

    Raises:
        UserError: it is missing, damaged, another file, or lacks one of the arrays.
    """
    try:
        # NumPy would leave a damaged file open.
        with open(path, 'rb') as opened, np.load(opened) as file:
            return {name: file[name] for name in names or file.files}
    except (OSError, *DAMAGED_ARRAYS) as error:
        why = errors.unread(error) or getattr(error, 'strerror', None) or f'damaged: {error}'
        raise errors.UserError(f'{path}: cannot be read ({why}); {advice}') from error


def write_atomically(path, write):
    """Calls write(file) on a binary file that becomes `path` when it is whole, and else is gone.

    A process that is killed meanwhile leaves NAME.*.tmp beside it.
    """
    folder, name = os.path.split(os.path.abspath(path))
    with tempfile.NamedTemporaryFile(
        dir=folder, prefix=f'{name}.', suffix='.tmp', delete=False
    ) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # Temporary files are for their owner's eyes only.
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def write_arrays(path, arrays, *, compressed=False):
    """Writes a dict of arrays as a .npz file, whole or not at all."""
    save = np.savez_compressed if compressed else np.savez
    write_atomically(path, lambda file: save(file, **arrays))


def write_text(path, text):
    """Writes `text` (str) as a UTF-8 file, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def lock(path):
    """Opens a file for this process alone; who closes it, or ends, gives it free.

    Returns:
        the file, open for writing.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened.
    """
    file = open(path, 'w', encoding='utf-8')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file
