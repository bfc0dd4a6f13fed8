"""Stored pictures of dots, for a correspondence network that trains in seconds."""

import numpy as np

from configs import cpu

NUM_POINTS = 10


def write(folder, shards=3, count=16):
    """Writes shards of pictures whose points are white dots."""
    rng = np.random.default_rng(0)
    for shard in range(shards):
        places = (16 + 24 * rng.random((count, NUM_POINTS, 2))).astype(np.float32)
        images = np.zeros((count, 56, 56, 3), np.uint8)
        for image, own in zip(images, places.astype(int), strict=True):
            image[own[:, 1], own[:, 0]] = 255
        np.savez(
            folder / f'pictures_{shard:05d}.npz', images=images, places=places,
            seen=np.ones((count, NUM_POINTS), bool), is_face=np.arange(count) % 8 != 0,
            person=np.arange(count) // 4 + shard * count, plain=np.zeros(count, bool),
        )  # fmt: skip
    numbers = np.arange(NUM_POINTS)
    np.savez(folder / 'points.npz', vertices=numbers, mirror=numbers)


def config(folder):
    """Returns the config of a tiny network on them."""
    own = cpu.get_config()
    own.data.dir, own.data.image_size, own.data.batch_size = str(folder), 32, 8
    own.model.num_points, own.model.num_layouts = NUM_POINTS, 4
    own.model.widths, own.model.blocks = (8, 8, 8), (1, 1, 1)
    own.model.hidden, own.model.local, own.model.local_hidden = 16, 8, 8
    own.train.log_every_steps = 10
    return own
