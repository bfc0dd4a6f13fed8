import pathlib

import cv2
import numpy as np

from benchmarks import doc_pictures
from seqface_jax.photos import sharpness

_DOCS = pathlib.Path(doc_pictures.__file__).parent.parent / 'docs'


def test_the_guide_shows_four_photos_that_work_and_four_that_do_not():
    photos = doc_pictures.photos_of()
    drawn = doc_pictures.guide(photos)
    tiles = [drawn[10:218, 10 + 218 * k : 218 + 218 * k] for k in range(4)]
    for tile, photo in zip(tiles, photos, strict=True):
        assert np.abs(tile.astype(int) - photo).mean() < 1
    # What is said not to work is spoilt: the packaged threshold refuses the blurred one.
    spoilt = doc_pictures.spoilt(photos[0])
    assert sharpness.sharpness(spoilt['blurred']) < sharpness.sharpness(photos[0]) / 2
    assert all(np.abs(p.astype(int) - photos[0]).mean() > 3 for p in spoilt.values())


def test_the_pictures_of_docs_are_those_and_say_that_nobody_looks_so():
    written = cv2.imread(str(_DOCS / 'photos.png'))[..., ::-1]
    drawn = doc_pictures.guide(doc_pictures.photos_of())
    assert written.shape == drawn.shape
    assert np.abs(written.astype(int) - drawn).mean() < 1
    assert (_DOCS / 'made_up.png').exists()
    text = (_DOCS / 'PHOTOS.md').read_text()
    for name in ('photos.png', 'made_up.png'):
        (line,) = (line for line in text.splitlines() if f'({name})' in line)
        assert 'made-up' in line and 'no photograph' in line
