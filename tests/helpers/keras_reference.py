"""The thesis's network in live Keras 3 on its JAX backend, computing what Keras 2 computes.

From appendix B-2 of the thesis, with three replacements (Keras 2 itself needs TensorFlow): the
gate function of Keras 2 is passed in; the layers in TimeDistributed see time folded into the
batch, as Keras 2 folds it; all weights start at 0, as drawing them takes 20 seconds and the tests
overwrite them. The moving variance alone stays that of Keras 3 (biased).
"""

import contextlib
import os
from unittest import mock

os.environ.setdefault('KERAS_BACKEND', 'jax')  # A benchmark builds it on TensorFlow too.

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers, ops  # noqa: E402
from keras.src.backend.common import dtypes  # noqa: E402


@contextlib.contextmanager
def float64():
    """Lets JAX and Keras compute in float64 inside a `with`."""
    import jax

    keras.config.set_floatx('float64')
    keras.config.set_dtype_policy('float64')  # It follows floatx only before its first use.
    # Keras rounds the result of tanh, add, mean, ... to float32 on every backend but TensorFlow.
    rounding = mock.patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, float64='float64')
    try:
        with jax.enable_x64(True), rounding:
            yield
    finally:
        keras.config.set_floatx('float32')
        keras.config.set_dtype_policy('float32')


def build(image_size, num_frames, share=1):
    """Returns the keras.Model: frames [B, T, H, W, 3] to points [B, N, 3].

    Args:
        image_size: side of the frames, pixels.
        num_frames: T.
        share: one in so many of the channels is left.
    """
    inputs = layers.Input((num_frames, image_size, image_size, 3))
    x = _conv_lstm(inputs, 32 // share, 2)
    x = _inverted_residual(x, num_frames, 16 // share, expansion=1, stride=1, repeats=1)
    for features, stride in ((24, 2), (32, 2), (64, 2), (96, 1)):
        x = _conv_lstm(x, features // share, stride)
    x = _inverted_residual(x, num_frames, 160 // share, expansion=6, stride=2, repeats=2)
    x = _inverted_residual(x, num_frames, 320 // share, expansion=6, stride=1, repeats=1)
    x = _conv_lstm(x, 512 // share, 1)
    x = _conv_lstm(x, 512 // share, 1, return_sequences=False)
    strides = (1, 2, 2, 2, 2, 1, 1)
    for features, stride in zip((512, 256, 128, 64, 32, 16, 8), strides, strict=True):
        x = layers.Conv2DTranspose(
            features // share,
            4,
            stride,
            padding='same',
            activation='relu',
            kernel_initializer='zeros',
        )(x)
    x = layers.Conv2DTranspose(
        3, 4, 1, padding='same', activation='tanh', kernel_initializer='zeros'
    )(x)
    return keras.Model(inputs, layers.Reshape(((image_size // 2) ** 2, 3))(x))


def randomize(model, rng):
    """Draws weights at which every path carries a signal: moments, offsets and gates included."""
    for layer in model.layers:
        gain = 2.0 if isinstance(layer, (layers.Conv2DTranspose, layers.ConvLSTM2D)) else 1.0
        for weight in layer.weights:
            shape = weight.shape
            if weight.name in ('gamma', 'moving_variance'):
                value = rng.uniform(0.5, 1.5, shape)
            elif len(shape) == 1:
                value = 0.1 * rng.standard_normal(shape)
            else:  # About as large as Glorot's.
                fans = np.prod(shape[:-2]) * (shape[-2] + shape[-1])
                value = gain * np.sqrt(2 / fans) * rng.standard_normal(shape, dtype=np.float32)
            weight.assign(value)


def read_layers(model, values=None):
    """Returns the layers as `keras_file` would read them from a file.

    Args:
        model: of `build`.
        values: arrays by path of the weight, in place of the weights' own, or None.
    """
    from seqface_jax.checkpoints.keras_file import KerasLayer  # Not where Keras runs on TensorFlow.

    return [
        KerasLayer(
            name=layer.name,
            kind=type(layer).__name__,
            config=layer.get_config() | _as_keras_2(layer),
            arrays={
                _array_name(layer, weight): np.asarray((values or {}).get(weight.path, weight))
                for weight in layer.weights
            },
        )
        for layer in model.layers
    ]


def _as_keras_2(layer):
    if isinstance(layer, layers.ConvLSTM2D):
        return {'recurrent_activation': 'hard_sigmoid'}
    return {}


def _array_name(layer, weight):
    is_depthwise = isinstance(layer, layers.DepthwiseConv2D) and weight.name == 'kernel'
    return 'depthwise_kernel' if is_depthwise else weight.name


def _keras_2_hard_sigmoid(x):
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _conv_lstm(x, features, stride, return_sequences=True):
    return layers.ConvLSTM2D(
        features,
        3,
        stride,
        padding='same',
        return_sequences=return_sequences,
        recurrent_activation=_keras_2_hard_sigmoid,
        kernel_initializer='zeros',
        recurrent_initializer='zeros',
    )(x)


def _inverted_residual(x, num_frames, features, *, expansion, stride, repeats):
    x = ops.reshape(x, (-1, *x.shape[2:]))
    for i in range(repeats):
        x = _bottleneck(x, features, expansion, stride if i == 0 else 1, residual=i > 0)
    return ops.reshape(x, (-1, num_frames, *x.shape[1:]))


def _bottleneck(inputs, features, expansion, stride, residual):
    x = layers.Conv2D(inputs.shape[-1] * expansion, 1, padding='same', kernel_initializer='zeros')(
        inputs
    )
    x = layers.Activation('relu6')(layers.BatchNormalization(axis=-1)(x))
    x = layers.DepthwiseConv2D(3, stride, padding='same', depthwise_initializer='zeros')(x)
    x = layers.Activation('relu6')(layers.BatchNormalization(axis=-1)(x))
    x = _squeeze_excite(x)
    x = layers.Conv2D(features, 1, padding='same', kernel_initializer='zeros')(x)
    x = layers.BatchNormalization(axis=-1)(x)
    return layers.Add()([x, inputs]) if residual else x


def _squeeze_excite(x):
    channels = x.shape[-1]
    y = layers.Reshape((1, 1, channels))(layers.GlobalAveragePooling2D()(x))
    y = layers.Dense(channels // 16, activation='relu', use_bias=False, kernel_initializer='zeros')(
        y
    )
    y = layers.Dense(channels, activation='sigmoid', use_bias=False, kernel_initializer='zeros')(y)
    return layers.Multiply()([x, y])
