"""What the layouts share: folders by their names, files by their endings, one sentence if neither.

Case of names does not matter; files and folders that no layout asks for are passed over.
"""

import os

from seqface_jax.errors import UserError

PHOTO_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')  # The first that exists is taken.
SCAN_SUFFIXES = ('.wrl', '.ply', '.obj')  # So here.


def subject_folders(raw_dir, pattern, title, example):
    """Finds the folders of the subjects.

    Args:
        raw_dir: the raw tree.
        pattern: compiled; the whole name of a subject's folder.
        title: what the data set is called.
        example: names of such folders, for the message.

    Returns:
        {name: path}.

    Raises:
        UserError: there is none; one sentence that says what to give instead.
    """
    if not os.path.isdir(raw_dir):
        raise UserError(f'--raw_dir={raw_dir} is not a folder; give the one that holds {example}')
    folders = match_folders(raw_dir, pattern)
    if folders:
        return folders
    names = sorted(os.listdir(raw_dir))
    if not names:
        raise UserError(f'--raw_dir={raw_dir} is empty; unpack {title} there: {example}')
    below = [os.path.join(raw_dir, name) for name in names]
    below = [path for path in below if os.path.isdir(path) and match_folders(path, pattern)]
    hint = f'; did you mean --raw_dir={below[0]}?' if below else ''
    raise UserError(
        f'--raw_dir={raw_dir} holds no subject folder ({example}), but {names[0]!r}'
        f'{" and others" if len(names) > 1 else ""}{hint}'
    )


def match_folders(parent, pattern):
    """Returns {name: path} of the folders whose whole name matches."""
    return {
        entry.name: entry.path
        for entry in sorted(os.scandir(parent), key=lambda entry: entry.name)
        if pattern.fullmatch(entry.name) and entry.is_dir()
    }


def gaps(subject_ids, digits):
    """Returns the ids such as F027 that are absent below the highest number of each sex."""
    missing = []
    for letter in 'FM':
        numbers = {int(name[1:]) for name in subject_ids if name[0] == letter}
        expected = range(1, max(numbers, default=0) + 1)
        missing += [f'{letter}{n:0{digits}d}' for n in expected if n not in numbers]
    return missing


def absent(subject_id, names, found):
    """Returns 'F003/Angry' for each of a subject's `names` that is not in `found`."""
    return [f'{subject_id}/{name}' for name in names if name not in found]


def subfolder(folder, name):
    """Returns the path of a folder below, whatever its case; None if there is none."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.lower() == name.lower() and entry.is_dir():
            return entry.path
    return None


def files(folder, suffixes):
    """Returns the sorted paths of the files of a folder that end in one of `suffixes`.

    Hidden files are left out: macOS puts a `._photo.jpg`.
    """
    return [
        os.path.join(folder, name)
        for name in sorted(os.listdir(folder))
        if not name.startswith('.') and name.lower().endswith(suffixes)
    ]


def stem(path):
    """Returns a file's name without folder and ending."""
    return os.path.splitext(os.path.basename(path))[0]
