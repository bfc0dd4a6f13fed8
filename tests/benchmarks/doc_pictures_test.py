import pathlib
import types

import cv2
import numpy as np

from benchmarks import doc_pictures
from seqface_jax import checkpoints
from seqface_jax.photos import sharpness
from seqface_jax.reconstruction import flagship

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


def test_the_pictures_of_how_it_works_are_small_and_said_to_be_made_up():
    text = (_DOCS / 'HOW_IT_WORKS.md').read_text()
    for name in ('points.jpg', 'more_pictures.jpg'):
        (line,) = (line for line in text.splitlines() if f'({name})' in line)
        assert 'made-up' in line
        assert (_DOCS / name).stat().st_size < 300_000


def test_points_that_the_network_sees_and_guesses_are_told_apart():
    picture = np.zeros((104, 104, 3), np.uint8)
    sighting = types.SimpleNamespace(
        places=np.array([[20.0, 30.0], [70.0, 80.0]]), seen=np.array([0.9, 0.1])
    )
    drawn = doc_pictures.with_points(picture, sighting)
    assert drawn[120, 80].tolist() == [60, 230, 235]  # Enlarged four times.
    assert drawn[320, 280].tolist() == [255, 140, 0]


def test_the_faces_after_more_pictures_have_their_eyes(monkeypatch):
    workdir = checkpoints.pretrained()
    geometry = flagship.read_geometry(flagship.geometry_path(workdir))
    mean = np.asarray(geometry.basis.mean)
    stream = types.SimpleNamespace(geometry=geometry, initial_state=lambda: None)
    known = dict.fromkeys((1, 4, 16))
    monkeypatch.setattr(doc_pictures.calibrate, 'run_people', lambda *_: [known])
    monkeypatch.setattr(doc_pictures.calibrate, 'said', lambda *_: None)
    monkeypatch.setattr(doc_pictures.calibrate, 'read', lambda *_: (mean, None))
    drawn, size = [], 2 * doc_pictures._TILE_PX

    def render(vertices, triangles, **_):
        drawn.append(len(vertices) == triangles.max() + 1 == len(mean) + len(geometry.eyes.side))
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(doc_pictures.rendering, 'render', render)
    doc_pictures.more_pictures(stream, {'faces': [mean]}, np.arange(100))
    assert len(drawn) == 10 and all(drawn)
