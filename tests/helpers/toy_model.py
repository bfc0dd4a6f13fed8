"""A network of a few parameters that behaves as the real ones do, for tests of the loop."""

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import default
from seqface_jax import models


class ToyFace(nn.Module):
    """The mean map plus a linear function of the mean colour, a variance, some dropout."""

    features: int = 8
    dropout: float = 0.0
    axis_name: str | None = None

    @nn.compact
    def __call__(self, frames, *, train, last_only=False):
        mean_map = self.variable('constants', 'mean_map', jnp.zeros, (128, 128, 3)).value
        self.variable('constants', 'scale_mm', lambda: jnp.float32(100))
        x = frames.reshape(*frames.shape[:2], 8, -1, 8, frames.shape[3] // 8, 3).mean((3, 5))
        x = x.reshape(*frames.shape[:2], -1)  # [B, T, 192]
        x = nn.BatchNorm(use_running_average=not train, axis_name=self.axis_name, name='bn')(x)
        x = nn.relu(nn.Dense(self.features, name='hidden')(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = jnp.cumsum(x, axis=1) / jnp.arange(1, x.shape[1] + 1)[:, None]
        if last_only:
            x = x[:, -1:]
        x = nn.Dense(8 * 8 * 4, name='out')(x).reshape(*x.shape[:2], 8, 8, 4)
        x = jnp.repeat(jnp.repeat(x, 16, axis=2), 16, axis=3)
        return models.Prediction(mean_map + x[..., :3], x[..., 3])


def create(config, image_size, scan_unroll=0, axis_name=None):
    del image_size, scan_unroll
    fields = dict(config)
    fields.pop('name')
    return ToyFace(**fields, axis_name=axis_name)


def constants(config, subjects, sample_frames=None):
    del config, sample_frames
    mean_map = np.mean(subjects['position_map'], axis=0, dtype=np.float64).astype(np.float32)
    return {'mean_map': mean_map, 'scale_mm': np.float32(100)}


def get_config(data_dir, *, dropout=0.0, ema_decay=0.0, augmentation=False, epsilon=1e-8):
    """The options of the tests: 32 pixels, 3 frames, 4 sequences a step."""
    config = default.get_config()
    config.data.update(dir=str(data_dir), name='tiny', image_size=32, num_frames=3, batch_size=4)
    config.data.update(num_threads=2, cache_mib=8)
    config.data.augmentation.enabled = augmentation
    config.model = ml_collections.ConfigDict({'name': 'toy', 'features': 8, 'dropout': dropout})
    config.optimizer.update(learning_rate=1e-2, epsilon=epsilon)
    config.train.update(num_epochs=3, checkpoint_every_steps=3, log_every_steps=1)
    config.train.ema_decay = ema_decay
    return config


def install(setattr=setattr):
    """Makes every config build the toy; `setattr` may be monkeypatch's."""
    setattr(models, 'create', create)
    setattr(models, 'constants', constants)
