"""The files that this program writes into an output folder, and how it knows them again.

An output folder may lie among a person's photos, or be that folder: what this program drew of a
face must not come back as a photo of it.
"""

import fnmatch
import os

# Text of the PNG keyword `Software`, or comment of a JPEG, in every picture that is drawn here.
SOFTWARE = 'seqface_jax'
TABLE, STATE = 'frames.csv', 'state.npz'
# Files of a face that `run_demo` writes; the last are drafts that a killed run may leave.
FACE_FILES = ('face.ply', 'face.obj', 'face.mtl', 'face_texture.png', 'face.glb', 'face.png')
FACE_FILES += ('face_animated.glb', 'face_expressions.glb', 'faces.npy')
# The face on a whole head.
FACE_FILES += ('head.glb', 'head.obj', 'head.ply', 'head.mtl', 'head_texture.png')
# What shows and holds a flagship's run besides: see reconstruction/result_files.py.
RESULT_FILES = ('face.html', 'overlay.jpg', 'overlay.mp4', 'landmarks.json', 'expression.csv')
RESULT_FILES += ('face_rigged.glb',)
PREVIOUS = 'previous'  # Folder for what an earlier run made and this one would lose.
OVERLAYS, OVERLAYS_DRAFT = 'overlay', 'overlay.draft'  # Folders with an overlay per photo.
_NAMES = (*FACE_FILES, *RESULT_FILES, TABLE, STATE, TABLE + '.tmp', 'faces.tmp', 'faces.npy.tmp')
# Those that the page's save button writes.
_PATTERNS = ('face_[0-9][0-9][0-9][0-9][0-9]*.*',)
# A person's own photo may be called so: that one is known by its mark, which earlier versions left
# to the library that draws it.
_PICTURE = 'face.png'
_PNG = b'\x89PNG\r\n\x1a\n'
_MARK, _OLD_MARK = b'tEXtSoftware\0' + SOFTWARE.encode(), b'tEXtSoftware\0Matplotlib'
_JPEG, _COMMENT = b'\xff\xd8', b'\xff\xfe' + (2 + len(SOFTWARE)).to_bytes(2, 'big')
_HEAD_BYTES = 4096


def marked_jpeg(data):
    """Returns the bytes of a JPEG picture with the mark of this program."""
    return data[:2] + _COMMENT + SOFTWARE.encode() + data[2:]


def products(folder):
    """Returns the sorted paths of what shows and holds the face of an earlier run in a folder.

    Its table and its state are none of them: the one is written anew by every run, the other is
    what a run goes on from.
    """
    paths = [os.path.join(folder, name) for name in (*FACE_FILES, *RESULT_FILES)]
    return sorted(path for path in [*paths, *overlays(folder)] if os.path.isfile(path))


def overlays(folder):
    """Returns the sorted paths of the overlays of photos in an output folder."""
    place = os.path.join(folder, OVERLAYS)
    names = os.listdir(place) if os.path.isdir(place) else []
    return sorted(path for name in names if is_own(path := os.path.join(place, name)))


def is_marked(data, name=''):
    """Returns whether a file is a picture that this program drew, by its bytes and name."""
    head = data[:_HEAD_BYTES]
    if head.startswith(marked_jpeg(_JPEG)):
        return True
    if not head.startswith(_PNG):
        return False
    return _MARK in head or (os.path.basename(name) == _PICTURE and _OLD_MARK in head)


def is_own(path):
    """Returns whether this program wrote a file, by its name or mark."""
    name = os.path.basename(path)
    if name != _PICTURE and (
        name in _NAMES or any(fnmatch.fnmatchcase(name, pattern) for pattern in _PATTERNS)
    ):
        return True
    if not os.path.isfile(path):
        return False
    try:
        with open(path, 'rb') as file:
            return is_marked(file.read(_HEAD_BYTES), path)
    except OSError:  # Its reader says what is wrong with it.
        return False
