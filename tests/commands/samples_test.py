import pathlib

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
    monkeypatch.setattr(samples, 'FOLDER', str(tmp_path / 'samples'))
    for _ in range(2):  # Again is no error.
        folders = samples.write(str(tmp_path / 'out'))
    assert folders[1:] == [str(tmp_path / 'out' / 'anna')]
    assert (tmp_path / 'out' / 'anna' / '1.jpg').read_bytes() == b'1'


def test_the_packaged_made_up_people_are_few_bytes_and_said_to_be_made_up(tmp_path):
    folders = [pathlib.Path(folder) for folder in samples.write(str(tmp_path / 'out'))[1:]]
    assert [folder.name for folder in folders] == [
        'made_up_embedded',
        'made_up_ict',
        'made_up_makehuman',
    ]
    files = [path for folder in folders for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < 300_000
    for folder in folders:
        assert 'does not exist' in (folder / 'README.txt').read_text()
        pictures = [cv2.imread(str(path)) for path in sorted(folder.glob('*.jpg'))]
        assert len(pictures) == 4
        assert all(min(picture.shape[:2]) >= 200 for picture in pictures)
        differences = [np.abs(pictures[0].astype(int) - other).mean() for other in pictures[1:]]
        assert min(differences) > 5  # Four views, no copies.


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to .*choose another --output'):
        samples.write(str(tmp_path / 'file' / 'out'))
