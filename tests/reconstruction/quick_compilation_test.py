import os

import cv2
import jax
import numpy as np
import pytest
from skimage import data

from seqface_jax import demo
from seqface_jax.errors import UserError
from seqface_jax.photos import video
from seqface_jax.reconstruct import Reconstructor
from seqface_jax.reconstruction import quick_compilation
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor


def test_what_is_compiled_quickly_says_the_same(packaged):
    model, variables = packaged._stream.finder._model, packaged._variables
    quick = PointReconstructor(packaged.config, model, variables, packaged.geometry, quick=True)
    _, face = quick.update(quick.initial_state(), data.astronaut())
    _, expected = packaged.update(packaged.initial_state(), data.astronaut())
    # Rounding moves the crop by little, and its pixels are whole numbers.
    np.testing.assert_allclose(face.vertices, expected.vertices, atol=0.02)  # mm.
    np.testing.assert_allclose(face.frame_vertices, expected.frame_vertices, atol=0.02)
    np.testing.assert_allclose(face.confidence, expected.confidence, atol=1e-4)
    np.testing.assert_allclose(face.frame.rotation, expected.frame.rotation, atol=1e-3)


def test_programs_of_few_photos_are_kept(packaged, tmp_path, monkeypatch):
    if quick_compilation.jit_of(True) is jax.jit:
        pytest.skip('this XLA compiles nothing quickly')
    folder = jax.config.jax_compilation_cache_dir
    model, variables = packaged._stream.finder._model, packaged._variables
    faces = []
    try:
        jax.config.update('jax_compilation_cache_dir', str(tmp_path))
        for _ in range(2):
            quick = PointReconstructor(
                packaged.config, model, variables, packaged.geometry, quick=True
            )
            faces.append(quick.update(quick.initial_state(), data.astronaut())[1])
            assert len(faces[-1].confidence)
            monkeypatch.setattr(type(model), 'apply', None)  # What follows must not be traced.
    finally:
        jax.config.update('jax_compilation_cache_dir', folder)
    np.testing.assert_array_equal(faces[0].vertices, faces[1].vertices)
    programs = tmp_path / 'programs'
    assert sum(os.path.getsize(path) for path in programs.iterdir()) < 400e3


def test_nothing_is_quick_where_xla_does_not_know_how(monkeypatch):
    options = quick_compilation.OPTIONS | {'xla_cpu_no_such_option': True}
    monkeypatch.setattr(quick_compilation, 'OPTIONS', options)
    assert quick_compilation.jit_of(True)(lambda number: 2 * number)(3.0) == 6


@pytest.mark.parametrize(
    ('kind', 'count', 'expected'),
    [('photos', 1, True), ('photos', 1000, False), ('video', 1, False), ('camera', None, False)],
)
def test_compiling_quickly_pays_for_few_photos(kind, count, expected):
    assert quick_compilation.pays(video.FrameSource(kind, count, iter(()))) is expected


@pytest.mark.parametrize('quick', [True, False])
def test_few_photos_are_not_preceded_by_a_look_at_nothing(monkeypatch, quick):
    compiled = []

    class Restored:
        def compile(self):
            compiled.append(self)

    monkeypatch.setattr(Reconstructor, 'restore', lambda *_, **options: Restored())
    demo._restore(None, 'latest', quick=quick)
    assert len(compiled) == (not quick)


def test_a_demo_of_one_photo_compiles_quickly(tmp_path, monkeypatch):
    asked = []

    def restore(*_, **options):
        asked.append(options['quick'])
        raise UserError('that will do')

    monkeypatch.setattr(Reconstructor, 'restore', restore)
    path = str(tmp_path / 'photo.png')
    cv2.imwrite(path, data.astronaut())
    with pytest.raises(UserError, match='that will do'):
        demo.run(None, path, str(tmp_path / 'out'))
    assert asked == [True]
