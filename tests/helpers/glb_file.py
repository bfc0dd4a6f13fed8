"""A GLB read back without the library that wrote it."""

import json

import numpy as np


def read(path):
    """Returns the header of a GLB, and a function of an accessor's index and its width: [N, width].

    Sparse accessors are filled up with zeros.
    """
    with open(path, 'rb') as file:
        data = file.read()
    length = int.from_bytes(data[12:16], 'little')
    header, body = json.loads(data[20 : 20 + length]), data[20 + length + 8 :]

    def view(index, kind):
        own = header['bufferViews'][index]
        start = own['byteOffset']
        return np.frombuffer(body[start : start + own['byteLength']], kind)

    def array(index, width):
        accessor = header['accessors'][index]
        if 'bufferView' in accessor:
            return view(accessor['bufferView'], '<f4').reshape(-1, width)
        values = np.zeros((accessor['count'], width))
        if 'sparse' in accessor:
            sparse = accessor['sparse']
            chosen = view(sparse['indices']['bufferView'], '<u4')
            values[chosen] = view(sparse['values']['bufferView'], '<f4').reshape(-1, width)
            assert len(chosen) == sparse['count']
        return values

    return header, array
