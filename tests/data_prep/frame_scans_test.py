"""Maps of single frames: their bytes, and how they are made of a frame's own scan."""

import numpy as np
import pytest

from data_prep import frame_scans, preparation_report, prepare, records, stages, subject
from data_prep.registration import ray_casting
from data_prep.registration.scan_motion import ScanMotion
from data_prep.scans.scan import Scan
from seqface_jax.data import frame_maps
from seqface_jax.errors import UserError
from tests.helpers import small_raw_tree

SIZE = (180, 140)  # Height and width of the photos.


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Returns raw and data folders of one person of whom each frame has its maps."""
    raw_dir, data_dir = tmp_path_factory.mktemp('raw'), tmp_path_factory.mktemp('data')
    small_raw_tree.write(raw_dir, ('F001',), photo_size=SIZE)
    for sequence in ('Angry', 'Disgust', 'Fear', 'Sad'):  # Happy and Surprise are enough.
        for path in (raw_dir / 'F001' / sequence).iterdir():
            path.unlink()
    (raw_dir / 'F001' / 'Happy' / '002.wrl').write_text('#VRML V2.0 utf8 cut short')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, '_ROUNDS', 1)  # Nobody else's frame is to be met.
        prepare.prepare('bu4dfe', str(raw_dir), str(data_dir), with_maps=True)
    return raw_dir, data_dir


def _rows(made, part):
    import tensorflow_datasets as tfds

    folder = made[1] / 'bu4dfe' / part / records.VERSION
    return list(tfds.builder_from_directory(folder).as_data_source('train'))


def _frames(made):
    """Yields (frame record, its FrameMaps, row of the truth) of the frames that have maps."""
    truth = np.load(made[0] / 'truth' / 'F001.npz')
    for row, maps in zip(_rows(made, 'frames'), _rows(made, 'frame_maps'), strict=True):
        assert (row['sequence'], row['frame']) == (maps['sequence'], maps['frame'])
        if maps['maps']:
            same = truth['sequences'] == row['sequence'].decode()
            place = np.flatnonzero(same & (truth['frames'] == row['frame']))[0]
            yield row, frame_maps.decode(maps['maps']), {k: truth[k][place] for k in (
                'rotations', 'translations', 'centers')}  # fmt: skip


def test_every_frame_has_a_record_and_a_broken_scan_leaves_its_own_empty(made):
    empty = [row['frame'] for row in _rows(made, 'frame_maps') if not row['maps']]
    assert len(_rows(made, 'frame_maps')) == len(_rows(made, 'frames')) == 6
    assert empty == [2]
    report = preparation_report.read(str(made[1] / 'bu4dfe'))
    assert [entry['where'][-13:] for entry in report['skipped']] == ['Happy/002.wrl']


def test_the_photo_shows_a_map_where_its_image_map_says(made):
    for row, maps, truth in _frames(made):
        pose = ScanMotion(row['rotation'], row['translation'])
        in_scan = pose.apply(maps.frame_map[maps.image_mask].astype(np.float64))
        pixels = small_raw_tree.project(in_scan, truth['translations'], truth['centers'], SIZE)
        x0, y0, x1, _ = row['crop_box']
        places = maps.image_map[maps.image_mask]
        apart = np.linalg.norm(places[:, :2] * (x1 - x0) + [x0, y0] - pixels, axis=1)
        assert apart.mean() < 0.05 and apart.max() < 0.5
        assert maps.image_mask.sum() > 0.9 * maps.frame_mask.sum()
        # Depth has the scale of the picture: 0.32 of the photo's width are 85 mm.
        depth_mm = places[:, 2] * (x1 - x0) / (0.32 * SIZE[1] / 85)
        np.testing.assert_allclose(depth_mm, in_scan[:, 2] - in_scan[:, 2].min(), atol=0.2)


def test_a_pose_is_the_true_one_whatever_the_expression(made):
    rows = list(_frames(made))
    head = np.stack([truth['rotations'] for _, _, truth in rows])
    found = np.stack([row['rotation'] for row, _, _ in rows]).astype(np.float64)
    # Both differ by the same turn, that of the head's own frame in the canonical one.
    turns = np.einsum('nji,njk->nik', head, found)
    cosines = (np.einsum('nij,ij->n', turns, turns[0]) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 0.7
    true_yaw = np.degrees(np.arctan2(head[:, 0, 2], head[:, 2, 2]))
    np.testing.assert_allclose([row['yaw_deg'] for row, _, _ in rows], true_yaw, atol=3)


def test_the_map_of_the_neutral_frame_is_that_of_its_subject(made):
    (person,) = _rows(made, 'subjects')
    sequence, index = person['neutral_path'].decode().split('/')[1:]
    for row, maps, _ in _frames(made):
        if (row['sequence'].decode(), f'{row["frame"]:03d}.wrl') == (sequence, index):
            np.testing.assert_array_equal(maps.frame_mask, person['mask'])
            np.testing.assert_allclose(maps.frame_map, person['position_map'], atol=0.006)
            break
    else:
        pytest.fail('the neutral frame has no map')


def test_the_map_of_a_frame_shows_its_expression(made):
    (person,) = _rows(made, 'subjects')
    apart = {}
    for row, maps, _ in _frames(made):
        both = maps.frame_mask & person['mask']
        apart[row['sequence'].decode(), row['frame']] = np.linalg.norm(
            maps.frame_map - person['position_map'], axis=-1
        )[both].max()
    assert apart['Surprise', 1] > 5 > 2 > apart['Surprise', 0]


def _neutral_scan(made):
    path = str(made[1] / '.work' / 'bu4dfe' / 'F001')
    scan = subject.load_scan(f'{path}.read.npz')[0]
    uv = np.full((len(scan.vertices), 2), 0.5, np.float32)
    return Scan(scan.vertices, scan.triangles, uv), subject.load_transform(f'{path}.surface.npz')


def test_a_scan_without_texture_coordinates_has_a_map_and_no_place_in_the_photo(made):
    scan, transform = _neutral_scan(made)
    bare = Scan(scan.vertices, scan.triangles)
    maps = frame_scans.frame_maps_of(bare, transform, np.array([0, 0, 100, 100]), SIZE[::-1])
    assert maps.frame_mask.mean() > 0.5 and not maps.image_mask.any()


def test_a_texture_that_is_not_the_photo_is_refused(made):
    scan, transform = _neutral_scan(made)
    atlas = Scan(scan.vertices, scan.triangles, 0.5 + scan.vertices[:, [1, 2]] / 500)
    with pytest.raises(UserError, match='not places in the photo'):
        frame_scans.frame_maps_of(atlas, transform, np.array([0, 0, 100, 100]), SIZE[::-1])


def test_another_head_does_not_fit_the_neutral_face(made, registered_roughly):
    scan, transform = _neutral_scan(made)
    neutral = transform.apply_to_scan(scan)
    longer = Scan(neutral.vertices * np.float32([1, 1.25, 0.8]), neutral.triangles)
    with pytest.raises(UserError, match='does not fit the neutral face'):
        frame_scans._register(scan, longer, None)


def test_a_frame_is_found_from_a_bad_start_too(made):
    scan, transform = _neutral_scan(made)
    points, mask = ray_casting.position_map(transform.apply_to_scan(scan))
    neutral = ray_casting.map_surface(points, mask)
    before = ScanMotion(np.diag([-1.0, 1.0, -1.0]), np.zeros(3))  # Half round.
    assert np.degrees(frame_scans._register(scan, neutral, before).angle_to(transform)) < 0.4


def test_bytes_keep_maps_to_a_hundredth_of_a_millimetre_and_a_sixtieth_of_a_pixel():
    rng = np.random.default_rng(0)
    directions = frame_maps.map_grid.ray_directions(16)
    image = np.float32(rng.uniform(-1.4, 2.4, (16, 16, 3)))
    image[..., 2] += 1.4
    known = rng.random((16, 16)) < 0.5
    maps = frame_maps.FrameMaps(
        np.float32(rng.uniform(60, 130, (16, 16, 1)) * directions), ~known, image, known
    )
    back = frame_maps.decode(frame_maps.encode(maps))
    np.testing.assert_allclose(back.frame_map, maps.frame_map, atol=0.0051)
    np.testing.assert_array_equal(back.frame_mask, maps.frame_mask)
    np.testing.assert_array_equal(back.image_mask, known)
    np.testing.assert_allclose(back.image_map[known], image[known], atol=0.51 / 16384)
    np.testing.assert_array_equal(back.image_map[~known], 0)


def test_no_bytes_are_a_frame_without_a_scan_and_foreign_ones_are_refused():
    assert not frame_maps.decode(b'').frame_mask.any()
    data = frame_maps.encode(frame_maps.empty(8))
    for broken in (data[:-4], b'nonsense', data[:3]):
        with pytest.raises(ValueError, match='no maps of a frame'):
            frame_maps.decode(broken)


def test_a_head_turned_to_its_left_has_positive_yaw():
    to_left = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # Its nose points to +x.
    assert frame_maps.yaw_deg(to_left) == 90
    assert frame_maps.yaw_deg(np.eye(3)) == 0
