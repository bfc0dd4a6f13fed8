"""What the layouts share: folders by their names, files by their endings, one sentence if neither.

Case of names does not matter; files and folders that no layout asks for are passed over, and the
source says so.
"""

import os

from data_prep.scans import scan_io
from data_prep.sources import Skipped, video_frames
from seqface_jax.errors import UserError
from seqface_jax.photos import file_kinds

PHOTO, SCAN, VIDEO = 'photo', 'scan', 'video'
# Endings that are believed in trees of 100,000 files, and of files whose content tells nothing. Of
# several files of one frame the first ending is taken, then any other kind of photo or scan.
PHOTO_SUFFIXES = file_kinds.PHOTO_ENDINGS
SCAN_SUFFIXES = scan_io.SUFFIXES
NO_USE = 'this data set has no use for it'


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


def files(folder):
    """Returns the sorted paths of all that a folder holds, but for the system's own files."""
    names = sorted(name for name in os.listdir(folder) if not is_hidden(name))
    return [os.path.join(folder, name) for name in names]


def kind_of(path):
    """Returns PHOTO, SCAN or VIDEO, by the content of a file; None for anything else.

    Where the content tells nothing (damaged, a link to nowhere) the ending counts: the reader then
    says what is wrong with it.
    """
    if scan_io.is_scan(path):
        return SCAN
    if video_frames.is_video(path):
        return VIDEO
    try:
        is_photo = file_kinds.of_path(path).group == file_kinds.PHOTO
    except OSError:
        is_photo = False
    return PHOTO if is_photo or file_kinds.promises_photo(path) else None


def usual_kind(path):
    """Returns `kind_of` a file, without a look into it where its ending is a usual one."""
    name = path.lower()
    if name.endswith(PHOTO_SUFFIXES):
        return PHOTO
    return SCAN if name.endswith(SCAN_SUFFIXES) else kind_of(path)


def preference(path):
    """Returns a key that sorts the files of one frame, the one to take first."""
    ending = os.path.splitext(path)[1].lower()
    usual = PHOTO_SUFFIXES + SCAN_SUFFIXES
    return (usual.index(ending) if ending in usual else len(usual)), os.path.basename(path)


def what_it_is(path):
    """Returns the sentence why a file that is no photo, scan or video is not used."""
    try:
        name = file_kinds.of_path(path).name
    except OSError as error:
        name = error.strerror or 'not readable'
    return (
        f'it is {name}; photos of these kinds are read: {", ".join(file_kinds.PHOTO_KINDS)}; '
        f'scans that end in {", ".join(SCAN_SUFFIXES)}; videos'
    )


def unused(folder, used, why=NO_USE):
    """Returns a Skipped for each file and folder of a folder that is not `used`.

    Args:
        folder: path.
        used: iterable of paths.
        why: one sentence.
    """
    used = set(used)
    return [
        Skipped('folder' if os.path.isdir(path) else 'file', path, why)
        for path in files(folder)
        if path not in used
    ]


def is_hidden(name):
    """Returns whether a file is a system's own: macOS puts a `._photo.jpg`, Windows a Thumbs.db."""
    return name.startswith('.') or name.lower() in ('thumbs.db', 'desktop.ini')


def stem(path):
    """Returns a file's name without folder and ending."""
    return os.path.splitext(os.path.basename(path))[0]
