import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.models.layers.decoders import ConvTranspose, ImageMapDecoder, ResizeConv

IMAGES = jax.random.normal(jax.random.key(0), (2, 5, 4, 6))


@pytest.mark.parametrize(('kernel', 'stride'), [(4, 1), (4, 2), (3, 1), (3, 2)])
def test_transposed_convolution_is_the_gradient_of_a_same_convolution(kernel, stride):
    module = ConvTranspose(7, kernel, stride)
    variables = jax.jit(module.init)(jax.random.key(1), IMAGES)
    weights = variables['params']['kernel']  # [k, k, 7, 6]: of a convolution from 7 to 6 channels.

    def forward(x):
        return jax.lax.conv_general_dilated(
            x, weights, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        )

    large = jnp.zeros((2, 5 * stride, 4 * stride, 7))
    expected = jax.jit(lambda dy: jax.vjp(forward, large)[1](dy)[0])(IMAGES)
    np.testing.assert_allclose(jax.jit(module.apply)(variables, IMAGES), expected, atol=1e-5)


def test_the_bias_of_a_transposed_convolution_is_added_everywhere():
    params = {'kernel': jnp.zeros((4, 4, 2, 6)), 'bias': jnp.array([1.0, -2.0])}
    y = ConvTranspose(2, stride=2).apply({'params': params}, IMAGES)
    np.testing.assert_array_equal(y, np.broadcast_to([1.0, -2.0], (2, 10, 8, 2)))


def test_resize_conv_of_a_constant_image_has_no_checkerboard():
    module = ResizeConv(3, stride=2)
    y, _ = module.init_with_output(jax.random.key(1), jnp.ones((1, 6, 6, 4)))
    assert y.shape == (1, 12, 12, 3)
    inner = y[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, np.broadcast_to(inner[:, :1, :1], inner.shape), atol=1e-5)


def _at_the_start(decoder, code):
    """Returns the image maps of a code before any training, and what the layers said."""
    variables = decoder.init(jax.random.key(1), code, train=True)
    image_map, updates = decoder.apply(
        variables, code, train=True, capture_intermediates=True, mutable=True
    )
    return image_map, updates['intermediates']


def test_the_narrow_end_of_the_normalised_decoder_loses_no_channel_at_the_start():
    code = jax.random.normal(jax.random.key(0), (2, 1, 1, 64))
    image_map, layers = _at_the_start(ImageMapDecoder(2, True), code)
    # It has 3 channels, as all after it.
    first = np.asarray(layers['norm_14']['__call__'][0])
    for channel in range(3):
        ends = first[..., channel].ravel(), np.asarray(image_map[..., channel]).ravel()
        assert np.corrcoef(*ends)[0, 1] > 0.6


def test_the_narrow_end_of_the_plain_decoder_hands_on_what_moves_a_channel():
    decoder = ImageMapDecoder(2, False)
    code = jax.random.normal(jax.random.key(0), (1, 1, 1, 64))
    variables = decoder.init(jax.random.key(1), code, train=True)
    params = variables['params']

    def answer(bias):
        layer = params['layer_14'] | {'bias': bias}
        moved = {'params': params | {'layer_14': layer}}
        return decoder.apply(moved, code, train=True).mean(axis=(0, 1, 2))

    moves = np.asarray(jax.jacobian(answer)(params['layer_14']['bias']))  # [to, from].
    assert (np.diag(moves) > 0.1).all()
    assert (np.abs(moves - np.diag(np.diag(moves))) < 0.5 * np.diag(moves)).all()


def test_the_plain_decoder_hands_on_its_code_as_strongly_as_it_got_it():
    code = jax.random.normal(jax.random.key(0), (2, 2, 2, 128))
    _, layers = _at_the_start(ImageMapDecoder(4, False), code)
    strengths = [np.square(layers[f'layer_{i}']['__call__'][0]).mean() for i in range(14)]
    assert 0.005 < min(strengths) and max(strengths) < 2  # What is lost is lost at the edges.
