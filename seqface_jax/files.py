"""Files that are there whole or not at all."""

import fcntl
import os
import tempfile


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
