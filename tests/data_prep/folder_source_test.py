"""Anybody's folders: one a subject, photos and a scan in it."""

import pytest

from data_prep import prepare, sources
from data_prep.sources import splits
from seqface_jax.errors import UserError
from tests.helpers import small_source_trees


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    raw_dir = tmp_path_factory.mktemp('folder')
    small_source_trees.write_folder(raw_dir, ('anna', 'Boris 2', 'zoë'))
    (raw_dir / '.git').mkdir()
    (raw_dir / 'anna' / 'notes.txt').write_text('first try')
    small_source_trees.write_mjpg(raw_dir / 'anna' / 'talks.mjpg', 2)
    for path in (raw_dir / 'zoë').glob('scan*'):
        path.unlink()
    return raw_dir


def test_photos_are_in_natural_order_and_videos_are_sequences(tree):
    source = sources.open_source('folder', str(tree))
    anna, boris, zoe = sorted(source.subjects(), key=lambda subject: subject.id.lower())
    assert [subject.id for subject in (anna, boris, zoe)] == ['anna', 'Boris 2', 'zoë']
    assert [(f.sequence, f.index, (f.image_path or '')[-10:]) for f in anna.frames] == [
        ('photos', 0, '/IMG_8.jpg'),
        ('photos', 1, '/IMG_9.jpg'),
        ('photos', 2, 'IMG_10.jpg'),
        ('photos', 3, ''),
        ('video talks.mjpg', 0, 'talks.mjpg'),
    ]
    assert source.neutral('anna') == ('photos', 3) and source.neutral('zoë') is None


def test_a_scan_named_neutral_goes_first_and_one_named_as_a_photo_is_its_frame(tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('1.jpg', '1.obj', '2.ply', 'Neutral_face.obj'):
        (tmp_path / 'a' / name).write_bytes(b'x')
    source = sources.open_source('folder', str(tmp_path))
    (subject,) = source.subjects()
    found = [(bool(f.image_path), bool(f.scan_path)) for f in subject.frames]
    assert found == [(True, True), (False, True), (False, True)]
    assert source.neutral('a') == ('photos', 2)


def test_splits_are_by_a_hash_of_the_whole_name(tree):
    source = sources.open_source('folder', str(tree))
    for subject in source.subjects():
        assert source.split(subject.id) == splits.by_hash(subject.id)
    # Worked out by hand: int(sha256(name), 16) % 96, below 16 test, below 26 validation.
    places = {name: splits.by_hash(name) for name in ('anna', 'scan 3 of Boris', 'scan 3 of Eva')}
    assert places == {'anna': 'train', 'scan 3 of Boris': 'train', 'scan 3 of Eva': 'validation'}
    many = [splits.by_hash(f'2023-{n}') for n in range(960)]
    assert 130 < many.count('test') < 190 and 70 < many.count('validation') < 130


def test_it_is_prepared_and_a_table_of_splits_overrules(registered_roughly, tree, tmp_path):
    (tmp_path / 'splits.csv').write_text('subject,split\nanna,test\nBoris 2,train\n')
    report, _ = prepare.prepare(
        'folder', str(tree), str(tmp_path / 'data'), splits_csv=str(tmp_path / 'splits.csv')
    )
    assert report['counts']['test'] == {'subjects': 1, 'frames': 5}
    assert report['counts']['train'] == {'subjects': 1, 'frames': 3}
    (skipped,) = report['skipped']
    assert skipped == {'what': 'subject', 'where': 'zoë', 'why': 'it has no scans'}
    assert report['splits_by_rule'] == ['zoë']


def test_a_folder_without_folders_gives_one_sentence(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'x')
    with pytest.raises(UserError, match=r"holds no subject folder \(anna, boris, .*but 'a.jpg'"):
        sources.open_source('folder', str(tmp_path))


def _photo(path):
    small_source_trees.small_raw_tree.write_photo(path, small_source_trees.photo())


def test_a_file_is_what_its_content_says_and_nothing_is_passed_over_in_silence(tmp_path):
    anna = tmp_path / 'anna'
    for name in ('a.webp', 'b.tif', 'c.jpg', 'd.png'):
        _photo(anna / name)
    (anna / 'c.jpg').rename(anna / 'c')  # A photo without an ending.
    (anna / 'd.png').rename(anna / 'd.txt')
    scan_io = small_source_trees.scan_io
    scan_io.write_vrml(anna / 'x.vrml', small_source_trees.person(0))
    scan_io.write_ply(anna / 'y.dat', small_source_trees.person(0))
    (anna / 'e.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    (anna / 'z.stl').write_bytes(b'solid face')
    (anna / 'notes.txt').write_text('first try')
    (anna / 'face.ply').write_bytes(b'ply\nformat ascii 1.0\ncomment unit: mm\n')  # run_demo's.
    (anna / 'face.obj').write_bytes(b'# A scan of hers.\n')
    (anna / '.DS_Store').write_bytes(b'x')
    (anna / 'more').mkdir()
    (tmp_path / 'loose.jpg').write_bytes(b'x')
    source = sources.open_source('folder', str(tmp_path))
    (subject,) = source.subjects()
    used = [path for f in subject.frames for path in (f.image_path, f.scan_path) if path]
    assert [path.rpartition('/')[2] for path in used] == [
        *('a.webp', 'b.tif', 'c', 'd.txt', 'e.heic', 'face.obj', 'x.vrml', 'y.dat')
    ]
    passed_over = {e.where.rpartition('/')[2]: (e.what, e.why) for e in source.passed_over}
    assert set(passed_over) == {'z.stl', 'notes.txt', 'face.ply', 'more', 'loose.jpg'}
    assert 'it is a text file; photos of these kinds are read: JPEG' in passed_over['notes.txt'][1]
    assert passed_over['more'][0] == 'folder' and 'this program' in passed_over['face.ply'][1]


def test_two_photos_and_two_scans_of_one_name_are_all_used(tmp_path):
    for name in ('1.jpg', '1.png', '1.obj', '1.ply', '1.wrl'):
        (tmp_path / 'a').mkdir(exist_ok=True)
        (tmp_path / 'a' / name).write_bytes(b'x')
    source = sources.open_source('folder', str(tmp_path))
    (subject,) = source.subjects()
    names = [tuple((p or '')[-5:] for p in (f.image_path, f.scan_path)) for f in subject.frames]
    assert names == [('1.jpg', '1.wrl'), ('1.png', '1.ply'), ('', '1.obj')]
    assert [frame.index for frame in subject.frames] == [0, 1, 2]
    assert source.neutral('a') == ('photos', 0) and source.passed_over == []


def test_photos_of_a_folder_do_not_follow_each_other_in_time(tree):
    source = sources.open_source('folder', str(tree))
    assert not any(subject.in_time for subject in source.subjects())


def test_a_folder_of_folders_of_people_names_the_one_to_give(tmp_path):
    for name in ('anna', 'boris'):
        _photo(tmp_path / 'group 1' / name / 'a.jpg')
    with pytest.raises(UserError, match=r'only folders: .* did you mean --raw_dir=.*group 1\?'):
        sources.open_source('folder', str(tmp_path))
