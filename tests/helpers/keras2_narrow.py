"""Writes keras2_narrow.h5: a narrow thesis network, saved by Keras 2, with an input and its output.

Run once, where Keras 2 is installed (`pip install tensorflow-cpu tf_keras`); the tests read the
file. The blocks are those of the thesis, appendix B-2; layers made before the network shift the
automatic names, as in a session that built several.
"""

import os

import h5py
import numpy as np
from tf_keras import backend, layers, models

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'keras2_narrow.h5')


def per_frame(layer, x):
    return layers.TimeDistributed(layer)(x)


def conv_lstm(x, features, stride, return_sequences=True):
    return layers.ConvLSTM2D(
        features,
        kernel_size=(3, 3),
        strides=(stride, stride),
        padding='same',
        return_sequences=return_sequences,
    )(x)


def relu6(x):
    return backend.relu(x, max_value=6.0)


def squeeze_excite(x):
    channels = x.shape[-1]
    y = per_frame(layers.GlobalAveragePooling2D(), x)
    y = per_frame(layers.Reshape((1, 1, channels)), y)
    y = per_frame(layers.Dense(channels // 16, activation='relu', use_bias=False), y)
    y = per_frame(layers.Dense(channels, activation='sigmoid', use_bias=False), y)
    return layers.multiply([x, y])


def bottleneck(inputs, features, expansion, stride, residual):
    x = per_frame(layers.Conv2D(inputs.shape[-1] * expansion, 1, padding='same'), inputs)
    x = per_frame(layers.BatchNormalization(axis=-1), x)
    x = per_frame(layers.Activation(relu6), x)
    x = per_frame(layers.DepthwiseConv2D(3, strides=(stride, stride), padding='same'), x)
    x = per_frame(layers.BatchNormalization(axis=-1), x)
    x = per_frame(layers.Activation(relu6), x)
    x = squeeze_excite(x)
    x = per_frame(layers.Conv2D(features, 1, padding='same'), x)
    x = per_frame(layers.BatchNormalization(axis=-1), x)
    return layers.Add()([x, inputs]) if residual else x


def build():
    conv_lstm(layers.Input((2, 8, 8, 3)), 2, 1)
    inputs = layers.Input((3, 32, 32, 3))
    x = conv_lstm(inputs, 8, 2)
    x = bottleneck(x, 8, expansion=1, stride=1, residual=False)  # Squeezes to no units.
    x = conv_lstm(x, 12, 2)
    x = bottleneck(x, 10, expansion=6, stride=2, residual=False)
    x = bottleneck(x, 10, expansion=6, stride=1, residual=True)
    x = conv_lstm(x, 16, 1)
    x = conv_lstm(x, 16, 1, return_sequences=False)
    for features, stride in ((16, 1), (8, 2), (6, 1)):
        x = layers.Conv2DTranspose(
            features, 4, strides=stride, padding='same', activation=backend.relu
        )(x)
    x = layers.Conv2DTranspose(3, 4, strides=1, padding='same', activation=backend.tanh)(x)
    return models.Model(inputs, layers.Reshape((64, 3))(x))


def main():
    model, rng = build(), np.random.default_rng(0)
    vectors = lambda w: 0.2 * rng.random(w.shape) * (w.shape.rank == 1)  # noqa: E731
    model.set_weights([(2 * w.numpy() + vectors(w)).astype(np.float32) for w in model.weights])
    frames = (
        rng.random((2, 3, 32, 32, 3), dtype=np.float32) * np.float32([1.0, 0.3])[:, *4 * [None]]
    )
    for _ in range(500):  # Moves the moving statistics to those of the frames.
        model(frames, training=True)
    model.save(PATH)
    with h5py.File(PATH, 'a') as file:
        file['test_frames'] = frames
        file['test_points'] = model(frames, training=False).numpy()


if __name__ == '__main__':
    main()
