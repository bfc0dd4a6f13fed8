"""Random changes of a training batch, on the device; a function of the key alone.

Every sequence has its own key, so that a batch is changed alike on one device and on many.
"""

import math

import jax
import jax.numpy as jnp

from seqface_jax.data import jpeg
from seqface_jax.geometry import sampling

MIN_ERASED = 0.1  # Side of the erased rectangle, of the image's.
MAX_ERASED = 0.4
DROPPED_BLOCKS = 8  # Along a side of the frame, of which some are made black.
OCCLUDERS = ('color', 'noise')
REPEATED_SHARE = 0.5  # Share of repeated frames in a sequence that repeats itself.
NUM_DRAWS = 20  # Numbers drawn for a frame: see _augment_sequence.


def augment(key, batch, options):
    """Changes the frames of a batch, and its targets where frames are mirrored.

    Args:
        key: of the step.
        batch: dict of frames uint8 [B, T, H, W, 3], row [B] int (place in the whole batch), and
            position_map, mask, points as in losses.ordered_target, and image_map, image_mask,
            frame_map, frame_mask, yaw_deg as in input_pipeline, any of which may be absent. The
            image_map moves as the frames do.
        options: the `data.augmentation` section of a config.

    Returns:
        a new batch; its frames are float32 in [0, 1].
    """
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(batch['row'])
    examples = {name: batch[name] for name in _MIRRORED if name in batch}
    return batch | jax.vmap(lambda key, example: _augment_sequence(key, example, options))(
        keys, examples
    )


def mirror(example):
    """Mirrors left and right of one example: frames, and the face in them.

    Args:
        example: dict with any of frames [T, H, W, 3], position_map [M, M, 3], mask [M, M], points
            [N, 3], image_map and frame_map [T, M, M, 3], image_mask and frame_mask [T, M, M],
            yaw_deg [T].
    """
    mirrored = {
        name: _MIRRORED[name](value) for name, value in example.items() if name in _MIRRORED
    }
    return example | mirrored


def resample(frames, shift, scale, angle_rad):
    """Moves, scales and turns frames in their plane: one bilinear reading of each pixel.

    Args:
        frames: [T, H, W, 3] float32; what lies outside repeats the border.
        shift: [T, 2], to the right and down, of the width and height.
        scale: [T], above 1 enlarges.
        angle_rad: [T], clockwise as seen.

    Returns:
        [T, H, W, 3] float32.
    """
    height, width = frames.shape[1:3]
    y, x = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing='ij'
    )
    cosine = (jnp.cos(angle_rad) / scale)[:, None, None]
    sine = (jnp.sin(angle_rad) / scale)[:, None, None]
    x = x - (shift[:, 0] * width)[:, None, None]  # Undo the shift, then turn back: [T, H, W].
    y = y - (shift[:, 1] * height)[:, None, None]
    source_x = cosine * x + sine * y + (width - 1) / 2
    source_y = cosine * y - sine * x + (height - 1) / 2
    return jax.vmap(sampling.read)(frames, source_y, source_x)


def move_image_map(image_map, shift, scale, angle_rad):
    """Moves, scales and turns places in frames as `resample` does with what is seen there.

    Args:
        image_map: [T, M, M, 3], in units of the frame's width; x right and y down from its upper
            left corner, z towards the camera, which is scaled too.
        shift, scale, angle_rad: as of `resample`.

    Returns:
        [T, M, M, 3].
    """
    cosine = (scale * jnp.cos(angle_rad))[:, None, None]
    sine = (scale * jnp.sin(angle_rad))[:, None, None]
    x, y, z = jnp.moveaxis(image_map, -1, 0)
    x, y = x - 0.5, y - 0.5
    moved_x = cosine * x - sine * y + shift[:, 0, None, None] + 0.5
    moved_y = sine * x + cosine * y + shift[:, 1, None, None] + 0.5
    return jnp.stack([moved_x, moved_y, scale[:, None, None] * z], axis=-1)


def _augment_sequence(key, example, options):
    noise_key, key = jax.random.split(key)
    # One call for all numbers of a sequence: each costs a second of compilation.
    drawn = jax.random.uniform(key, (len(example['frames']) + 1, NUM_DRAWS), minval=-1, maxval=1)
    of_sequence, of_frames = drawn[0], drawn[1:]
    if options.mirror:
        flip = of_sequence[0] > 0
        example = jax.tree.map(lambda a, b: jnp.where(flip, a, b), mirror(example), example)
    if options.repeat:
        is_repeating = (of_sequence[1] + 1) / 2 < options.repeat
        example = _repeat((of_frames[:, 18:] + 1) / 2, example, is_repeating)
    frames = example['frames'] / jnp.float32(255)
    if options.shift or options.scale or options.rotation_deg or options.zoom != 1:
        motion = _motion(of_frames[:, 1:5], options)
        frames = resample(frames, *motion)
        if 'image_map' in example:
            example = example | {'image_map': move_image_map(example['image_map'], *motion)}
    frames = _relight(of_frames[:, 5:10], frames, options)
    frames = _erase((of_frames[:, 10:18] + 1) / 2, frames, options, noise_key)
    if options.coarse_dropout:
        frames = _drop_blocks(jax.random.fold_in(noise_key, 1), frames, options.coarse_dropout)
    if options.noise:
        frames += options.noise * _noise(noise_key, frames.shape)
    if options.jpeg:
        frames = _compress(jax.random.fold_in(noise_key, 2), jnp.clip(frames, 0, 1), options.jpeg)
    return example | {'frames': jnp.clip(frames, 0, 1)}


def _repeat(drawn, example, is_repeating):
    """Puts copies of earlier frames in the place of some, by drawn [T, 2], in [0, 1].

    What a video shows for a second is one view many times: a network that has seen no such thing
    takes each copy for news. They are moved and lit apart, as the frames of a video are.
    """
    index = jnp.arange(len(drawn))
    earlier = jnp.floor(drawn[:, 1] * index).astype(jnp.int32)
    is_copy = is_repeating & (drawn[:, 0] < REPEATED_SHARE)
    source = jnp.where(is_copy, earlier, index)
    of_frames = {name: value[source] for name, value in example.items() if name in _OF_FRAMES}
    return example | of_frames


def _motion(drawn, options):
    """Returns shift [T, 2], scale [T] and angle_rad [T] of drawn [T, 4], each in [-1, 1]."""
    scale = options.zoom + options.scale * drawn[:, 2]
    return options.shift * drawn[:, :2], scale, jnp.radians(options.rotation_deg) * drawn[:, 3]


def _relight(drawn, frames, options):
    """Changes contrast, brightness and channel gains by drawn [T, 5], each in [-1, 1]."""
    drawn = drawn[:, None, None]
    middle = frames.mean(axis=(1, 2, 3), keepdims=True)
    frames = (frames - middle) * (1 + options.contrast * drawn[..., :1]) + middle
    gain = 1 + options.color * drawn[..., 2:]
    return frames * gain + options.brightness * drawn[..., 1:2]


def _erase(drawn, frames, options, key):
    """Fills a rectangle with a colour or noise in some of the frames by drawn [T, 8], in [0, 1]."""
    if options.occluder not in OCCLUDERS:
        raise ValueError(f'augmentation.occluder {options.occluder!r} is not one of {OCCLUDERS}')
    height, width = frames.shape[1:3]
    side = MIN_ERASED + (MAX_ERASED - MIN_ERASED) * drawn[:, 1:3]
    start = drawn[:, 3:5] * (1 - side)
    y, x = jnp.arange(height) / height, jnp.arange(width) / width
    rows = (y >= start[:, :1]) & (y < (start + side)[:, :1])
    columns = (x >= start[:, 1:]) & (x < (start + side)[:, 1:])
    chosen = drawn[:, 0] < options.occlusion
    inside = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]  # [T, H, W]
    filling = drawn[:, None, None, 5:]
    if options.occluder == 'noise':  # PRNet's: a texture that has nothing of a face.
        filling = filling + jax.random.uniform(key, frames.shape, minval=-0.5, maxval=0.5)
    return jnp.where(inside[..., None], filling, frames)


def _drop_blocks(key, frames, largest_share):
    """Makes a share of the blocks of each frame black: half of the largest share, up to all of it.

    The coarse dropout of Lium's training, whose shares are 0.1 to 0.2.
    """
    count, height, width = frames.shape[:3]
    # The first number of each frame says how large its share is.
    drawn = jax.random.uniform(key, (count, DROPPED_BLOCKS**2 + 1))
    share = largest_share * (1 + drawn[:, :1]) / 2
    kept = (drawn[:, 1:] >= share).reshape(count, DROPPED_BLOCKS, DROPPED_BLOCKS)
    rows = jnp.arange(height) * DROPPED_BLOCKS // height
    columns = jnp.arange(width) * DROPPED_BLOCKS // width
    return frames * kept[:, rows[:, None], columns[None], None]


def _noise(key, shape):
    """Draws normal noise [T, H, W, C]: of each frame another mixture of the same two images.

    Drawing it for every frame took a CPU longer than all other changes together.
    """
    noise = jax.random.normal(key, (2, *shape[1:]))
    angle = jax.random.uniform(jax.random.fold_in(key, 3), shape[:1], maxval=2 * jnp.pi)
    mixture = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    return jnp.tensordot(mixture, noise, 1)  # A product: XLA would draw a sum's noise T times.


def _compress(key, frames, share):
    """Compresses a share of the frames as JPEG does, each at a quality of its own.

    Their blocks begin anywhere: a crop does not begin where the photo did.
    """
    # No more frames than may be chosen: compressing is most of the work.
    count = math.ceil(share * len(frames))
    index = jax.random.permutation(jax.random.fold_in(key, 2), len(frames))[:count]
    drawn = jax.random.uniform(key, (2, count))
    spread = jpeg.MAX_QUALITY - jpeg.MIN_QUALITY
    quality = jpeg.MIN_QUALITY + spread * drawn[0]
    start = jax.random.randint(jax.random.fold_in(key, 1), (2,), 0, 16)
    moved = jnp.roll(frames[index], start, (1, 2))
    compressed = jnp.roll(jpeg.compress(moved, quality), -start, (1, 2))
    chosen = drawn[1] < share * len(frames) / count
    return frames.at[index].set(jnp.where(chosen[:, None, None, None], compressed, frames[index]))


def _mirror_points(points):
    return points * jnp.array([-1, 1, 1], points.dtype)


_OF_FRAMES = ('frames', 'image_map', 'image_mask', 'frame_map', 'frame_mask', 'yaw_deg')
_MIRRORED = {
    'frames': lambda frames: frames[:, :, ::-1],
    'position_map': lambda position_map: _mirror_points(position_map[:, ::-1]),
    'mask': lambda mask: mask[:, ::-1],
    'points': _mirror_points,
    'frame_map': lambda frame_map: _mirror_points(frame_map[:, :, ::-1]),
    'frame_mask': lambda frame_mask: frame_mask[:, :, ::-1],
    # x, a share of the width, becomes 1 - x.
    'image_map': lambda image_map: (
        _mirror_points(image_map[:, :, ::-1]) + jnp.array([1, 0, 0], image_map.dtype)
    ),
    'image_mask': lambda image_mask: image_mask[:, :, ::-1],
    'yaw_deg': jnp.negative,
}
