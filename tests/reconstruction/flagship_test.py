"""A Stream of photos with one geometry and with another."""

import numpy as np
from skimage import data

from seqface_jax import checkpoints
from seqface_jax.reconstruction import flagship


def test_a_stream_of_another_geometry_fits_by_it_and_leaves_the_first_as_it_was():
    _, model, variables = checkpoints.load(checkpoints.PRETRAINED, 'best_validation')
    geometry = flagship.read_geometry(flagship.geometry_path(checkpoints.PRETRAINED))
    stream = flagship.Stream(model, variables, geometry)
    photo = data.astronaut()
    (sighting, *_) = stream.finder.find(photo)
    first, _ = stream.fit(photo, sighting)
    doubtful = geometry._replace(
        settings=geometry.settings.replace(tempering=geometry.settings.tempering / 10)
    )
    other = stream.with_geometry(doubtful)
    less, _ = other.fit(photo, sighting)
    assert np.trace(less.information) < 0.5 * np.trace(first.information)
    assert other.finder is stream.finder
    again, _ = stream.fit(photo, sighting)
    np.testing.assert_array_equal(again.information, first.information)
