"""BU-3DFE: its tree as it is, and what becomes of it."""

import pytest

from data_prep import prepare, sources
from data_prep.sources import bu3dfe
from seqface_jax.errors import UserError
from tests.helpers import small_source_trees


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    raw_dir = tmp_path_factory.mktemp('bu3dfe')
    small_source_trees.write_bu3dfe(raw_dir, ('F0001', 'F0003'))
    for path in (raw_dir / 'F0003').glob('*.wrl'):
        path.write_text('#VRML V2.0 utf8\n')
    (raw_dir / 'F0001/F0001_AN01WH_F2D.bmp').write_bytes(b'BM')
    (raw_dir / 'readme.txt').write_text('by agreement')
    return raw_dir


def test_names_tell_expression_level_and_kind_and_the_neutral_scan(tmp_path):
    names = ('F0001_AN01WH_F3D.wrl', 'F0001_AN01WH_RAW.wrl', 'F0001_AN01WH_F2D.bmp')
    names += ('F0001_AN02WH_RAW.wrl', 'F0001_ne00wh_f3d.wrl', 'F0001_AN01WH_F3D.bnd')
    names += ('F0002_SU01WH_F3D.wrl', 'F0001_XX01WH_F3D.wrl', '._F0001_HA01WH_F3D.wrl')
    (tmp_path / 'f0001').mkdir()
    (tmp_path / 'M0002').mkdir()
    for name in names:
        (tmp_path / 'f0001' / name).write_bytes(b'x')
    source = sources.open_source('bu3dfe', str(tmp_path))
    first, second = source.subjects()
    found = [(f.sequence, f.index, f.image_path and f.image_path[-7:]) for f in first.frames]
    assert found == [('Angry', 1, 'F2D.bmp'), ('Angry', 2, None), ('Neutral', 0, None)]
    assert [frame.scan_path[-7:] for frame in first.frames] == ['F3D.wrl', 'RAW.wrl', 'f3d.wrl']
    assert source.neutral('F0001') == ('Neutral', 0) and source.neutral('M0002') is None
    assert source.missing[:2] == ['M0001', 'F0001/Disgust'] and 'M0002/Neutral' in source.missing
    assert second.frames == ()


def test_it_is_prepared_with_maps_and_what_is_broken_is_listed(registered_roughly, tree, tmp_path):
    report, _ = prepare.prepare('bu3dfe', str(tree), str(tmp_path), with_maps=True)
    assert report['counts']['train'] == {'subjects': 1, 'frames': 2}
    assert report['subjects']['F0001']['neutral'] == ['Neutral', 0]
    why = {entry['where']: entry['why'] for entry in report['skipped']}
    assert 'none of its scans could be used' in why['F0003']
    assert 'not a readable picture' in why[str(tree / 'F0001/F0001_AN01WH_F2D.bmp')]
    assert not [where for where in why if where.endswith('wrl') and 'F0001' in where]
    assert report['missing'][:2] == ['F0002', 'F0001/Disgust']


def test_a_tree_of_something_else_gives_one_sentence(tmp_path):
    (tmp_path / 'F001').mkdir()
    with pytest.raises(UserError, match=r'no subject folder \(F0001, M0001, ...\), but'):
        bu3dfe.Source(str(tmp_path))
