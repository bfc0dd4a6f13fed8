import cv2
import numpy as np
import pytest
from skimage import data

from seqface_jax import samples
from seqface_jax.errors import UserError


def test_the_astronaut_is_written_as_she_is(tmp_path):
    folder = samples.write(str(tmp_path / 'new'))[0]
    picture = cv2.imread(f'{folder}/astronaut.png')[..., ::-1]
    np.testing.assert_array_equal(picture, data.astronaut())


def test_each_made_up_person_gets_a_folder(tmp_path, monkeypatch):
    (tmp_path / 'samples' / 'anna').mkdir(parents=True)
    (tmp_path / 'samples' / 'anna' / '1.jpg').write_bytes(b'1')
    monkeypatch.setattr(samples, '_FOLDER', str(tmp_path / 'samples'))
    for _ in range(2):  # Again is no error.
        folders = samples.write(str(tmp_path / 'out'))
    assert folders[1:] == [str(tmp_path / 'out' / 'anna')]
    assert (tmp_path / 'out' / 'anna' / '1.jpg').read_bytes() == b'1'


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to .*choose another --output'):
        samples.write(str(tmp_path / 'file' / 'out'))
