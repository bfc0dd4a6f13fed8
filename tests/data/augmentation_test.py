import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from seqface_jax.data import augmentation
from seqface_jax.geometry import map_grid
from tests.helpers.compiling import quick_jit

resample = quick_jit(augmentation.resample)
move_image_map = quick_jit(augmentation.move_image_map)


def options(**changes):
    result = default.get_config().data.augmentation
    with result.unlocked():
        for name in ('shift', 'scale', 'rotation_deg', 'brightness', 'contrast', 'color', 'noise'):
            result[name] = 0.0
        result.mirror, result.occlusion = False, 0.0
        result.update(changes)
    return result


def augment(seed, batch, options):
    """Augments compiled as one, as training does."""
    return jax.jit(lambda key, batch: augmentation.augment(key, batch, options))(
        jax.random.key(seed), batch
    )


def make_batch(batch=4, frames=3, size=16):
    rng = np.random.default_rng(0)
    return {
        'frames': rng.integers(0, 256, (batch, frames, size, size, 3), np.uint8),
        'position_map': rng.normal(size=(batch, 8, 8, 3)).astype(np.float32),
        'mask': rng.random((batch, 8, 8)) < 0.7,
        'points': rng.normal(size=(batch, 20, 3)).astype(np.float32),
        'image_map': rng.random((batch, frames, 8, 8, 3), np.float32),
        'image_mask': rng.random((batch, frames, 8, 8)) < 0.7,
        'frame_map': rng.normal(size=(batch, frames, 8, 8, 3)).astype(np.float32),
        'frame_mask': rng.random((batch, frames, 8, 8)) < 0.7,
        'yaw_deg': rng.normal(size=(batch, frames)).astype(np.float32),
        'row': np.arange(batch),
    }


def test_mirroring_twice_changes_nothing():
    example = {name: value[0] for name, value in make_batch().items() if name != 'row'}
    twice = augmentation.mirror(augmentation.mirror(example))
    for name, value in example.items():
        np.testing.assert_allclose(twice[name], value, atol=1e-6, err_msg=name)
    changed = augmentation.mirror(example)
    assert all(not np.array_equal(changed[name], value) for name, value in example.items())


def test_mirroring_a_map_puts_each_pixel_where_its_mirrored_direction_is():
    directions = map_grid.ray_directions().astype(np.float32)
    mirrored = augmentation.mirror({'position_map': jnp.asarray(directions)})['position_map']
    np.testing.assert_allclose(mirrored, directions, atol=1e-6)


def test_all_changes_off_leave_the_batch_as_it_is():
    batch = make_batch()
    changed = augment(0, batch, options())
    np.testing.assert_allclose(changed['frames'] * 255, batch['frames'], atol=1e-4)
    for name in set(batch) - {'frames'}:
        np.testing.assert_array_equal(changed[name], batch[name])


def test_a_share_of_the_frames_is_compressed_each_at_its_own_quality():
    batch = make_batch(batch=16, frames=4, size=32)
    shades = np.linspace(64, 192, 32)[:, None, None] + 30 * np.sin(np.arange(32))[:, None]
    batch['frames'] = np.broadcast_to(shades, batch['frames'].shape).astype(np.uint8)
    frames = batch['frames'] / np.float32(255)
    changed = np.asarray(augment(0, batch, options(jpeg=0.5))['frames'])
    lost = np.abs(changed - frames).mean(axis=(2, 3, 4)).ravel()
    is_compressed = lost > 1e-3
    assert 0.3 < is_compressed.mean() < 0.7
    assert lost[is_compressed].max() > 1.5 * lost[is_compressed].min()
    moved = np.abs(np.roll(frames, 1, axis=2) - frames).mean()
    assert lost.max() < 0.5 * moved  # The picture is where it was.


def test_half_of_the_sequences_are_mirrored_as_a_whole_together_with_their_targets():
    batch = make_batch(batch=64)
    changed = augment(0, batch, options(mirror=True))
    flipped = [
        not np.array_equal(a, b) for a, b in zip(changed['mask'], batch['mask'], strict=True)
    ]
    assert 20 < sum(flipped) < 44
    for row, flip in enumerate(flipped):
        x = batch['frames'][row][:, :, ::-1] if flip else batch['frames'][row]
        np.testing.assert_allclose(changed['frames'][row] * 255, x, atol=1e-4)
        sign = [-1, 1, 1] if flip else [1, 1, 1]
        np.testing.assert_array_equal(changed['points'][row], batch['points'][row] * sign)


def test_shifting_by_a_quarter_moves_the_picture_right_and_down():
    frames = np.zeros((1, 16, 16, 3), np.float32)
    frames[0, 4, 2] = 1
    moved = resample(frames, jnp.array([[0.25, 0.125]]), jnp.ones(1), jnp.zeros(1))
    assert np.unravel_index(np.argmax(moved[0, ..., 0]), (16, 16)) == (6, 6)


def test_a_place_of_the_image_map_stays_on_what_is_seen_there():
    size, dot = 33, (10, 20)  # Row and column.
    frames = np.zeros((1, size, size, 3), np.float32)
    frames[0][dot] = 1
    place = (np.array([dot[1], dot[0], 0]) + [0.5, 0.5, 0]) / size
    place[2] = 0.25
    motion = jnp.array([[2 / size, -1 / size]]), jnp.array([2.0]), jnp.array([np.pi / 2])
    moved = resample(frames, *motion)[0, ..., 0]
    row, column = np.unravel_index(np.argmax(moved), moved.shape)
    image_map = np.float32(place)[None, None, None]
    x, y, z = move_image_map(image_map, *motion)[0, 0, 0]
    np.testing.assert_allclose([x * size - 0.5, y * size - 0.5], [column, row], atol=1e-4)
    assert z == 0.5  # Twice as large, twice as deep.


def test_a_mirrored_image_map_points_at_the_mirrored_picture():
    example = {name: value[0] for name, value in make_batch(size=8).items() if name != 'row'}
    mirrored = augmentation.mirror(example)
    np.testing.assert_allclose(
        mirrored['image_map'][:, :, 0, 0], 1 - example['image_map'][:, :, -1, 0], atol=1e-6
    )
    np.testing.assert_array_equal(mirrored['yaw_deg'], -example['yaw_deg'])


def test_a_quarter_turn_is_clockwise():
    frames = np.random.default_rng(0).random((1, 9, 9, 3)).astype(np.float32)
    turned = resample(frames, jnp.zeros((1, 2)), jnp.ones(1), jnp.array([np.pi / 2]))
    np.testing.assert_allclose(turned[0], np.rot90(frames[0], -1), atol=1e-5)


def test_scaling_by_two_doubles_distances_from_the_middle():
    x = np.linspace(-1, 1, 17, dtype=np.float32)
    frames = np.broadcast_to(x[None, None, :, None], (1, 17, 17, 3))
    scaled = resample(frames, jnp.zeros((1, 2)), jnp.array([2.0]), jnp.zeros(1))
    np.testing.assert_allclose(scaled[0, 8, :, 0], x / 2, atol=1e-6)


def test_each_frame_of_a_sequence_is_lit_by_itself():
    batch = make_batch(batch=2)
    batch['frames'][:] = 128
    changed = augment(1, batch, options(brightness=0.2))
    assert not np.allclose(changed['frames'][:, 0], changed['frames'][:, 1])
    assert not np.allclose(changed['frames'][0], changed['frames'][1])


def test_an_erased_rectangle_has_one_colour_and_a_side_in_the_limits():
    batch = make_batch(batch=8, size=100)
    batch['frames'][:] = 0
    changed = augment(0, batch, options(occlusion=1.0))
    for frame in np.asarray(changed['frames']).reshape(-1, 100, 100, 3):
        inside = frame.any(-1)
        assert len(np.unique(frame[inside], axis=0)) == 1
        for side in (inside.any(0).sum(), inside.any(1).sum()):
            assert 9 <= side <= 41


def test_full_augmentation_stays_in_range_and_depends_on_key_and_row_alone():
    batch = make_batch()
    full = default.get_config().data.augmentation
    compiled = jax.jit(lambda key, batch: augmentation.augment(key, batch, full))
    first = compiled(jax.random.key(0), batch)
    assert 0 <= first['frames'].min() and first['frames'].max() <= 1
    again = compiled(jax.random.key(0), batch)
    np.testing.assert_array_equal(first['frames'], again['frames'])
    other = compiled(jax.random.key(1), batch)
    assert not np.allclose(first['frames'], other['frames'])
    part = compiled(jax.random.key(0), {name: value[2:] for name, value in batch.items()})
    np.testing.assert_allclose(part['frames'], first['frames'][2:], atol=1e-6)


def test_a_tenth_to_a_fifth_of_the_blocks_is_dropped():
    batch = make_batch(batch=8, frames=4)
    batch['frames'][:] = 255
    frames = augment(0, batch, options(coarse_dropout=0.2))['frames']
    blocks = np.asarray(frames)[:, :, ::2, ::2, 0]  # 8 x 8 blocks of 2 x 2 pixels.
    np.testing.assert_array_equal(np.repeat(np.repeat(blocks, 2, 2), 2, 3), frames[..., 0])
    assert set(blocks.ravel()) == {0.0, 1.0}
    assert 0.1 < 1 - blocks.mean() < 0.2


def test_an_occluder_may_be_noise():
    batch = make_batch(size=32)
    batch['frames'][:] = 128
    plain, noisy = (
        augment(0, batch, options(occlusion=1.0, occluder=kind))['frames']
        for kind in augmentation.OCCLUDERS
    )
    changed = np.abs(np.asarray(plain) - 128 / 255).max(axis=-1) > 1e-3
    np.testing.assert_array_equal(np.asarray(noisy)[~changed], np.asarray(plain)[~changed])
    assert np.asarray(plain)[0, 0][changed[0, 0]].std(axis=0).max() < 1e-6
    assert np.asarray(noisy)[0, 0][changed[0, 0]].std(axis=0).min() > 0.05
    with pytest.raises(ValueError, match="'color', 'noise'"):
        augment(0, batch, options(occluder='hand'))


def test_the_zoom_is_the_middle_of_the_scales():
    frames = np.zeros((1, 1, 33, 33, 3), np.uint8)
    frames[:, :, 12:21, 12:21] = 255
    moved = augment(0, {'frames': frames, 'row': np.arange(1)}, options(zoom=2.0))['frames']
    assert abs(float(moved.sum()) / (frames.sum() / 255) - 4) < 0.3


def test_in_sequences_that_repeat_half_of_the_frames_are_copies_of_earlier_ones():
    batch = make_batch(batch=200, frames=6, size=8)
    batch['frames'][:] = np.arange(6)[None, :, None, None, None]
    batch['yaw_deg'][:] = np.arange(6)
    changed = augment(0, batch, options(repeat=0.4))
    shown = np.asarray(changed['frames'][:, :, 0, 0, 0] * 255).round().astype(int)
    np.testing.assert_array_equal(shown, changed['yaw_deg'])  # What belongs to a frame follows it.
    assert (shown <= np.arange(6)).all() and (shown[:, 0] == 0).all()
    is_copy = shown < np.arange(6)
    repeating = is_copy.any(axis=1)
    assert 0.3 < repeating.mean() < 0.5
    assert 0.4 < is_copy[repeating][:, 1:].mean() < 0.6
