"""Normalisation of per-frame features: time is folded into the batch, never scanned over."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

MOMENTUM = 0.99  # These two are the defaults of Keras, which the thesis left as they are.
EPSILON = 1e-3
GROUPS = 8


class BatchNorm(nn.Module):
    """Normalises each channel over batch, time and pixels, as Keras 2 does.

    The batch is normalised with its biased variance, and the moving variance is fed the unbiased
    one, n / (n - 1) larger. Two passes: E[x^2] - E[x]^2 loses digits where |mean| >> deviation.

    Attributes:
        axis_name: of the devices that share one batch, or None.
        bias: that training starts with.
    """

    axis_name: str | None = None
    bias: float = 0.0

    @nn.compact
    def __call__(self, x, *, train):
        shape = x.shape[-1:]
        scale = self.param('scale', nn.initializers.ones, shape)
        bias = self.param('bias', nn.initializers.constant(self.bias), shape)
        moving_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
        moving_var = self.variable('batch_stats', 'var', jnp.ones, shape)
        if not train:
            return _normalize(x, moving_mean.value, moving_var.value, scale, bias)
        exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean = self._average(exact)
        var = self._average(jnp.square(exact - mean))
        if not self.is_initializing():
            count = x.size // x.shape[-1] * self._num_devices()
            unbiased_var = var * (count / max(count - 1, 1))
            moving_mean.value = MOMENTUM * moving_mean.value + (1 - MOMENTUM) * mean
            moving_var.value = MOMENTUM * moving_var.value + (1 - MOMENTUM) * unbiased_var
        return _normalize(x, mean, var, scale, bias)

    def _average(self, x):
        mean = x.mean(tuple(range(x.ndim - 1)))
        return mean if self._num_devices() == 1 else jax.lax.pmean(mean, self.axis_name)

    def _num_devices(self):
        if self.axis_name is None or self.is_initializing():
            return 1
        return jax.lax.axis_size(self.axis_name)


class GroupNorm(nn.Module):
    """Normalises groups of channels of each frame by itself; alike in training and use.

    Wu and He, 2018 (arXiv:1803.08494). At most GROUPS groups, fewer if the channels do not divide.

    Attributes:
        axis_name: unused; frames are normalised one by one, on whichever device.
    """

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        groups = math.gcd(GROUPS, x.shape[-1])
        return nn.GroupNorm(num_groups=groups, epsilon=EPSILON, name='group_norm')(x)


NORMS = {'batch': BatchNorm, 'group': GroupNorm}


def _normalize(x, mean, var, scale, bias):
    return ((x - mean) * (scale / jnp.sqrt(var + EPSILON)) + bias).astype(x.dtype)
