import pytest

from data_prep import sources
from seqface_jax.errors import UserError


def _touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b'x')


def _open(root):
    return sources.open_source('bu4dfe', str(root))


def test_frames_are_the_files_that_exist_whatever_their_start_count_and_gaps(tmp_path):
    _touch(tmp_path, *[f'F001/Angry/{n:03d}.{e}' for n in (3, 4, 9) for e in ('wrl', 'jpg')])
    (subject,) = _open(tmp_path).subjects()
    assert [frame.index for frame in subject.frames] == [3, 4, 9]
    frame = subject.frames[0]
    assert frame[:3] == ('F001', 'Angry', 3)
    assert frame.image_path == str(tmp_path / 'F001/Angry/003.jpg')
    assert frame.scan_path == str(tmp_path / 'F001/Angry/003.wrl')


def test_photos_without_scan_and_scans_without_photo_are_frames(tmp_path):
    _touch(tmp_path, 'M002/Sad/000.png', 'M002/Sad/001.PLY', 'M002/Sad/notes.txt', 'M002/Sad/a.jpg')
    (subject,) = _open(tmp_path).subjects()
    assert [(bool(f.image_path), bool(f.scan_path)) for f in subject.frames] == [
        (True, False),
        (False, True),
    ]


def test_wrl_and_jpg_are_preferred_where_a_frame_has_several_files(tmp_path):
    _touch(tmp_path, *[f'F001/Fear/000.{e}' for e in ('obj', 'WRL', 'ply', 'png', 'JPG')])
    (subject,) = _open(tmp_path).subjects()
    assert subject.frames[0].scan_path.endswith('000.WRL')
    assert subject.frames[0].image_path.endswith('000.JPG')


def test_extra_folders_are_ignored_and_case_does_not_matter(tmp_path):
    _touch(
        tmp_path,
        'f001/happy/000.jpg',
        'F002/HAPPY/000.jpg',
        'F002/neutral_old/000.jpg',
        'BU_WrlViewer_V2/F003/000.wrl',
        'F0041/Happy/000.jpg',
        'truth/F001.npz',
        'readme.txt',
    )
    subjects = _open(tmp_path).subjects()
    assert [subject.id for subject in subjects] == ['F001', 'F002']
    assert [len(subject.frames) for subject in subjects] == [1, 1]
    assert subjects[0].frames[0].sequence == 'Happy'


def test_people_beyond_999_have_a_fourth_digit(tmp_path):
    _touch(tmp_path, 'F999/Happy/000.jpg', 'F1000/Happy/000.jpg')
    assert {subject.id for subject in _open(tmp_path).subjects()} == {'F999', 'F1000'}


def test_gaps_in_the_numbers_and_absent_expressions_are_reported(tmp_path):
    six = ('Angry', 'Disgust', 'Fear', 'Happy', 'Sad', 'Surprise')
    for subject in ('F001', 'F002', 'F005', 'M001'):
        _touch(tmp_path, *[f'{subject}/{name}/000.jpg' for name in six])
    (tmp_path / 'M001/Sad/000.jpg').unlink()
    (tmp_path / 'M001/Sad').rmdir()
    assert _open(tmp_path).missing == ['F003', 'F004', 'M001/Sad']


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ((), 'is empty'),
        (('photos/a.jpg',), 'holds no subject folder'),
        (('BU4DFE/F001/Angry/000.jpg',), r'did you mean --raw_dir=.*BU4DFE\?'),
    ],
)
def test_a_wrong_tree_gives_one_clear_sentence(tmp_path, content, sentence):
    _touch(tmp_path, *content)
    with pytest.raises(UserError, match=sentence):
        _open(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match='nowhere is not a folder'):
        _open(tmp_path / 'nowhere')


def test_an_unknown_data_set_lists_the_known_ones():
    with pytest.raises(
        UserError, match="unknown data set 'bu5dfe'; known are: bu3dfe, bu4dfe, florence, "
    ):
        sources.open_source('bu5dfe', '.')
