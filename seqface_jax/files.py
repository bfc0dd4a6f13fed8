"""Files that are there whole or not at all."""

import os
import tempfile


def write_atomically(path, write):
    """Calls write(file) on a binary file that becomes `path` when it is whole, and else is gone."""
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        try:
            write(file)
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
