import numpy as np
import pytest

from configs import cpu
from seqface_jax.errors import UserError
from seqface_jax.training import picture_supply

_POINTS = 10


@pytest.fixture
def folder(tmp_path):
    """Draws three files of pictures; the last person of the first goes on in the second."""
    rng = np.random.default_rng(0)
    count = 16
    for shard in range(3):
        np.savez(
            tmp_path / f'pictures_{shard:05d}.npz',
            images=rng.integers(0, 256, (count, 56, 56, 3), np.uint8),
            places=(16 + 24 * rng.random((count, _POINTS, 2))).astype(np.float32),
            seen=np.ones((count, _POINTS), bool),
            is_face=np.ones(count, bool),
            person=np.arange(count) // 4 + 3 * shard,
            plain=np.zeros(count, bool),
        )
    np.savez(tmp_path / 'points.npz', mirror=np.arange(_POINTS))
    return str(tmp_path)


def _config():
    config = cpu.get_config()
    config.data.image_size, config.data.batch_size, config.model.num_layouts = 16, 8, 4
    return config


def _equal(one, two):
    return all(np.array_equal(one[name], two[name]) for name in one)


def test_the_batch_of_a_step_does_not_depend_on_where_a_run_began(folder):
    pictures, config = picture_supply.read(folder), _config()
    constants = pictures.constants(config)
    assert constants['layouts'].shape == (4, _POINTS, 2)
    whole = pictures.batches(config, constants, 0)
    first, second, third = (next(whole) for _ in range(3))
    later = pictures.batches(config, constants, 2)
    assert _equal(next(later), third) and not _equal(first, second)


def test_every_validation_sees_every_held_out_picture_alike(folder):
    pictures, config = picture_supply.read(folder), _config()
    constants = pictures.constants(config)
    one, two = (list(pictures.validation_batches(config, constants)) for _ in range(2))
    assert sum(len(batch['frames']) for batch in one) == len(pictures.held_out)
    assert all(_equal(*pair) for pair in zip(one, two, strict=True))


def test_no_person_who_is_held_out_is_learnt_from(folder):
    pictures = picture_supply.read(folder)
    shared = np.isin(pictures.training.person, pictures.held_out.person)
    assert shared.any() and not pictures.training.is_face[shared].any()
    assert not pictures.training.seen[shared].any() and pictures.training.seen[~shared].all()


def test_a_folder_without_points_says_what_writes_them(tmp_path):
    with pytest.raises(UserError, match=r'points\.npz.*data_prep\.hard_pictures'):
        picture_supply.read(str(tmp_path))
