"""Records of made-up people, by a head that is an egg and pictures that are grey."""

import types

import numpy as np
import pytest

from data_prep import mapped_person, person_records
from data_prep.hard_pictures import camera, people, picture
from data_prep.registration.scan_motion import IDENTITY, ScanMotion
from data_prep.scans.scan import Scan
from seqface_jax import checkpoints
from seqface_jax.data import input_pipeline
from seqface_jax.geometry import image_space, map_grid, surface
from seqface_jax.photos import pose_regression
from tests.helpers import bumpy_face

_SIDE = 40
_TRIANGLES = surface.from_prediction(bumpy_face.position_map_of(0, _SIDE), ordered=True)[1]


def test_a_crop_is_the_square_of_a_detected_head_seen_from_where_it_was_seen():
    centre = np.array([1.0, -2.0, 50.0])
    view = camera.sample(np.random.default_rng(3), plain=True)
    pointed = mapped_person.pointed_at(view, centre)
    np.testing.assert_allclose(pointed.place(centre[None], 100), [[50.0, 50.0]], atol=1e-9)
    # The camera's place in the head's frame stays.
    before, after = (-own.rotation.T @ own.translation for own in (view, pointed))
    np.testing.assert_allclose(after, before, atol=1e-9)
    # Half of the square, at the head's distance, reaches the crop's rim.
    aside = pointed.rotation.T @ [pose_regression.SQUARE_MM / 2, 0, 0]
    np.testing.assert_allclose(pointed.place((centre + aside)[None], 100), [[100.0, 50.0]])


def test_a_map_lies_where_the_picture_shows_it_and_its_pose_is_the_heads():
    scan = Scan(bumpy_face.position_map_of(0, _SIDE).reshape(-1, 3), _TRIANGLES)
    view = mapped_person.pointed_at(
        camera.facing(30.0, 10.0, distance_mm=20_000.0), pose_regression.CENTRE
    )
    flip = np.diag([1.0, -1.0, -1.0])
    motion = ScanMotion(flip @ view.rotation, flip @ view.translation)
    maps = mapped_person.maps_of(scan, motion, view.half)
    mask = maps.image_mask
    expected = view.place(maps.frame_map[mask].astype(np.float64), 1.0)
    np.testing.assert_allclose(maps.image_map[mask][:, :2], expected, atol=1e-5)
    assert maps.image_map[mask][:, 2].min() == 0 and not maps.image_map[~mask].any()
    pose = image_space.fit_pose(maps.image_map, maps.frame_map, np.float32(mask))
    np.testing.assert_allclose(pose.rotation, motion.rotation, atol=0.01)  # Far: no perspective.
    assert pose.scale == pytest.approx(1 / pose_regression.SQUARE_MM, rel=0.01)


class _Model(types.SimpleNamespace):
    """An egg for a TemplateModel; its only expression moves everything by 1 mm to its left."""

    def with_inside(self, skin):
        return skin

    def with_expression(self, skin, weights):
        return skin + np.float32([weights[0], 0, 0])


def _egg(seed):
    return bumpy_face.position_map_of(seed, _SIDE).reshape(-1, 3)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """Returns the folder of records of eggs on grey pictures, and the eggs that were drawn."""
    folder, drawn = tmp_path_factory.mktemp('records'), []
    triangles = {'skin': _TRIANGLES, 'eyes': np.zeros((0, 3), np.int32)}
    kinds = people.Kinds(_Model(triangles=triangles), None, {'embedded': None}, None)
    world = picture.World(kinds, None, None)
    faces = mapped_person.template(kinds.model, lambda points: np.float32(points))

    def make(world, rng, *, plain, view, size):
        assert plain
        drawn.append(world.kinds.fixed[1])
        image = np.full((size, size, 3), rng.integers(255), np.uint8)
        return picture.Picture(image, None, None, True, 'ict', np.float32([1.0]), *view)

    def sample(kinds, rng):
        assert 'embedded' not in kinds.names
        return 'ict', _egg(rng.integers(1000))

    groups = [
        group._replace(count=8 if group.split == 'train' else 2)
        for group in person_records.groups_of(8, pictures=1)
    ]
    world_of = _world_files(folder / 'faces')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(person_records, '_open', lambda arguments: (world, faces))
        patch.setattr(person_records, '_FEW_TIMES', 2)
        patch.setattr(people, 'sample', sample)
        patch.setattr(people, 'of_kind', lambda kinds, name, rng: _egg(rng.integers(1000)))
        patch.setattr(picture, 'make', make)
        for _ in range(2):  # The second run finds everybody drawn but one, whose file is gone.
            person_records.write(groups, str(folder), world_of)
            (folder / '.work/several/train/train_00003.maps.npz').unlink()
    return folder, drawn


def _world_files(folder, mode=b'v 0 0 0'):
    """Writes what names a world, a FaceXModel with one mode and a file of people."""
    folder.mkdir()
    (folder / 'vertex_indices.json').write_text('{}')
    (folder / 'generic_neutral_mesh.obj').write_bytes(b'v 1 1 1')
    (folder / 'identity000.obj').write_bytes(mode)
    (folder / 'kinds.npz').write_bytes(b'people')
    return str(folder), (), str(folder / 'kinds.npz')


def test_people_of_another_face_are_drawn_anew(tmp_path):
    one, copy, other = (
        person_records.work_key(_world_files(tmp_path / name, mode), seed=0)
        for name, mode in (('one', b'v 0 0 0'), ('copy', b'v 0 0 0'), ('other', b'v 0 0 1'))
    )
    assert one == copy != other


def test_people_become_records_of_splits_kinds_and_eight_and_are_drawn_once(written):
    folder, drawn = written
    assert len(drawn) == 8 + 3 * 2 + 1
    splits = {name: _open(folder, name) for name in ('several', 'embedded', 'eight')}
    assert not splits['embedded'].has('train')
    several = {name: splits['several'].split(name) for name in ('train', 'validation', 'test')}
    assert [len(split.subject_ids) for split in several.values()] == [8, 2, 2]
    held_out = splits['embedded'].split('test')
    maps = [split.subjects['position_map'] for split in (*several.values(), held_out)]
    middles = np.concatenate(maps)[:, 64, 64, 2]
    assert len(np.unique(middles)) == len(middles)  # Nobody is in two splits.
    few, often = (splits['eight'].split(name) for name in ('validation', 'train'))
    np.testing.assert_array_equal(few.subjects['position_map'], maps[0])
    assert len(often.subject_ids) == 8 * 2
    np.testing.assert_array_equal(often.frames(2, [0]), few.frames(1, [0]))


def test_a_record_says_pose_face_and_face_of_the_frame(written):
    folder, drawn = written
    split = _open(folder, 'several').split('train')
    person = split.subjects
    points = person['position_map'][0][person['mask'][0].astype(bool)]
    np.testing.assert_array_equal(person['position_map'], person['true_position_map'])
    away = [np.linalg.norm(egg[:, None] - points[::7], axis=-1).min(axis=0).mean() for egg in drawn]
    assert np.argmin(away) == 0 and away[0] < 2.2  # Between vertices that are 4 mm apart.
    maps = split.frame_maps(0, [0])
    np.testing.assert_allclose(
        _rightmost(maps['frame_map'][0]) - _rightmost(person['position_map'][0]), 1.0, atol=0.3
    )
    assert np.isfinite(split.frame_index[0].yaw_deg).all()


def _rightmost(points):
    return points[map_grid.SIZE // 2, :, 0].max()


def _open(data_dir, name):
    options = checkpoints.record_options(str(data_dir), name)
    options.frame_maps = True
    return input_pipeline.open_dataset(options)


def test_a_template_moves_faces_to_the_canonical_frame_without_what_they_do_not_use():
    turn = ScanMotion(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2, 3]))
    model = _Model(
        triangles={'skin': np.array([[0, 1, 3], [0, 1, 20_000]]), 'eyes': np.zeros((0, 3), int)}
    )
    faces = mapped_person.template(model, lambda points: np.float32(turn.apply(points)))
    scan = faces.scan(np.float32([[1, 0, 0], [0, 1, 0], [5, 5, 5], [0, 0, 1]]))
    np.testing.assert_allclose(scan.vertices, [[1, 3, 3], [0, 2, 3], [1, 2, 4]], atol=1e-5)
    np.testing.assert_array_equal(scan.triangles, [[0, 1, 2]])
    assert faces.canonical.angle_to(IDENTITY) == pytest.approx(np.pi / 2)
