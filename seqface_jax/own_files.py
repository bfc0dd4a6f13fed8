"""The files that this program writes into an output folder, and how it knows them again.

An output folder may lie among a person's photos, or be that folder: what this program drew of a
face must not come back as a photo of it.
"""

import fnmatch
import os

# Text of the PNG keyword `Software` in every picture that is drawn here.
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
_NAMES = (*FACE_FILES, *RESULT_FILES, TABLE, STATE, TABLE + '.tmp', 'faces.tmp', 'faces.npy.tmp')
# Those that the page's save button writes.
_PATTERNS = ('face_[0-9][0-9][0-9][0-9][0-9]*.*',)
# A person's own photo may be called so: that one is known by its mark, which earlier versions left
# to the library that draws it.
_PICTURE = 'face.png'
_PNG = b'\x89PNG\r\n\x1a\n'
_MARK, _OLD_MARK = b'tEXtSoftware\0' + SOFTWARE.encode(), b'tEXtSoftware\0Matplotlib'
_HEAD_BYTES = 4096


def is_marked(data, name=''):
    """Returns whether a file is a PNG picture that this program drew, by its bytes and name."""
    head = data[:_HEAD_BYTES]
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
