"""A frozen network: one file that turns face crops into a face, with JAX and flatbuffers alone.

This module is all that a file written by `python -m seqface_jax.freeze` needs: copy the two, and
this project's other code is not needed.

    network = frozen.load('face.frozen')
    state = network.initial_state()
    state, vertices, confidence = network.step(state, crop)  # For every frame of one person.
    network.triangles

A crop is what the network was trained on: cut square around the face (`crop` in the file's
`settings` says how large), resized to `network.image_size` pixels, uint8 RGB.
"""

import io
import json
import zipfile

import jax
import numpy as np
from jax import export

FORMAT = 1  # Version of the file's layout.
META, STEP, ARRAYS = 'meta.json', 'step.stablehlo', 'arrays.npz'


class FrozenNetwork:
    """One step of a network, compiled from StableHLO on first use.

    Attributes:
        image_size: side of a crop, in pixels.
        triangles: [F, 3] int32, counter-clockwise from outside; [0, 3] if the network gives points
            without a surface (the thesis's).
        settings: dict of what is said about the network: where from, how crops are cut, versions.
    """

    def __init__(self, meta, step, arrays):
        self.image_size = meta['image_size']
        self.settings = meta['settings']
        self.triangles = arrays['triangles']
        self._step = jax.jit(export.deserialize(bytearray(step)).call)
        # Put on a device that is named, as the states that steps return: to JAX arrays without one
        # are of another kind, for which it would compile the network a second time.
        self._device = jax.devices()[0]
        self._weights = jax.device_put(_numbered(arrays, 'weight'), self._device)
        self._initial = _numbered(arrays, 'state')

    def initial_state(self):
        """Returns the state before the first frame, a list of arrays of constant size."""
        return jax.device_put(self._initial, self._device)

    def step(self, state, crop):
        """Takes one more frame of a person into account.

        Args:
            state: what `initial_state` or the last `step` returned.
            crop: [image_size, image_size, 3] uint8 RGB.

        Returns:
            The next state, vertices [V, 3] float32 mm (+x to the subject's left, +y up, +z out of
            the face) and confidence [V] float32 in (0, 1], 1 / (1 + standard deviation in mm).

        Raises:
            ValueError: the crop has another shape or type.
        """
        crop = np.asarray(crop)
        if crop.shape != (self.image_size, self.image_size, 3) or crop.dtype != np.uint8:
            raise ValueError(
                f'a crop must be uint8 RGB [{self.image_size}, {self.image_size}, 3], got '
                f'{crop.dtype} {crop.shape}'
            )
        state, vertices, confidence = self._step(self._weights, state, crop[None])
        return state, np.asarray(vertices), np.asarray(confidence)


def load(path):
    """Reads a file that `python -m seqface_jax.freeze` wrote.

    Raises:
        ValueError: it is another file, damaged, or of a newer format.
    """
    try:
        with zipfile.ZipFile(path) as file:
            meta = json.loads(file.read(META))
            step = file.read(STEP)
            with np.load(io.BytesIO(file.read(ARRAYS)), allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, EOFError) as error:
        raise ValueError(f'{path} is not a frozen network, or is damaged') from error
    if meta.get('format') != FORMAT:
        raise ValueError(f'{path} has format {meta.get("format")}, this loader reads {FORMAT}')
    return FrozenNetwork(meta, step, arrays)


def _numbered(arrays, kind):
    """Returns the arrays '<kind>/0', '<kind>/1', ... as a list."""
    count = sum(name.startswith(f'{kind}/') for name in arrays)
    return [arrays[f'{kind}/{number}'] for number in range(count)]
