"""The forms that a layer can be computed in: time of values and gradients, memory, agreement.

python -m benchmarks.layers                     # CPU
JAX_PLATFORMS=cuda python -m benchmarks.layers  # GPU

Shapes are those of the thesis's network at 256 pixels (--image_size for others), where each kind of
layer costs most: 40 frames, of 5 sequences. All forms of a layer are asked in turn, medians.
`chosen` is what the models call on this machine: seqface_jax/models/layers/conv.py,
conv_lstm.py, conv3d.py and decoders.py hold the choice and the reasons. The 3D convolutions are
those of 3D-R2N2 at --scale=cores, whatever the size of the frames.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

from absl import app, flags

from benchmarks import race
from seqface_jax import errors

SEQUENCES, FRAMES = 5, 8
GRIDS, VOXELS = 8, 32  # A batch of 3D-R2N2's answers, and the cells along a side of one.
# Largest difference of two forms, relative to the norm: float32, and a GPU's products in TF32.
CPU_TOLERANCE, GPU_TOLERANCE = 1e-4, 5e-3


class Layer(NamedTuple):
    """One layer and its forms.

    Attributes:
        name: kind and size.
        shapes: of the arrays that every form takes: images and kernels.
        forms: by name, functions of them.
        chosen: what the models call; it is one of the forms, or does as one of them.
    """

    name: str
    shapes: tuple
    forms: dict[str, Callable]
    chosen: Callable


def layers(image_size):
    """Returns the layers at a size of the frames, in pixels."""
    return [
        *_convolutions(image_size),
        _transposed_convolution(image_size // 4),
        *(
            _conv_lstm(side, channels, features)
            for side, channels, features in ((image_size, 3, 32), (image_size // 16, 96, 128))
        ),
        *(_volume_convolution(channels, features) for channels, features in ((24, 8), (8, 2))),
    ]


def _convolutions(image_size):
    """Returns the layers of seqface_jax/models/layers/conv.py."""
    from seqface_jax.models.layers import conv

    count = SEQUENCES * FRAMES
    full = [
        Layer(
            f'3 x 3 convolution, {side} x {side}, {channels} to {features} channels',
            ((count, side, side, channels), (3, 3, channels, features)),
            {
                "XLA's": conv.convolve_by_xla,
                "kernel's gradient as products": conv.convolve_with_own_gradient,
                'one product': _one_product,
            },
            conv.convolve,
        )
        for side, channels, features in (
            (image_size // 2, 32, 128),
            (image_size // 16, 96, 512),
            (image_size // 32, 320, 1280),
        )
    ]
    side = image_size // 4
    pointwise = Layer(
        f'1 x 1 convolution, {side} x {side}, 144 to 24 channels',
        ((count, side, side, 144), (1, 1, 144, 24)),
        {"XLA's": conv.convolve_by_xla, 'one product': _one_product},
        conv.convolve,
    )
    depthwise = Layer(
        f'depthwise 3 x 3 convolution, {side} x {side}, 144 channels',
        ((count, side, side, 144), (3, 3, 1, 144)),
        {
            "XLA's": _xla_depthwise,
            'sum of shifted images': _shifted_sum,
            'the same, gradient of its own': conv.depthwise_convolve,
        },
        conv.depthwise_convolve,
    )
    return [*full, pointwise, depthwise]


def _transposed_convolution(side):
    """Returns the layer of seqface_jax/models/layers/decoders.py."""
    from seqface_jax.models.layers import decoders

    return Layer(
        f'4 x 4 transposed convolution, {side} x {side} to twice that, 128 to 64 channels',
        ((SEQUENCES * FRAMES, side, side, 128), (4, 4, 64, 128)),
        {'dilated': _dilated, 'four sub-pixel ones': decoders.sub_pixel_conv_transpose},
        decoders.sub_pixel_conv_transpose,
    )


def _conv_lstm(side, channels, features):
    """Returns the layer of seqface_jax/models/layers/conv_lstm.py."""
    width = 4 * features
    return Layer(
        f'ConvLSTM, {side} x {side} to half of that, {channels} to {features} channels',
        (
            (SEQUENCES, FRAMES, side, side, channels),
            (3, 3, channels, width),
            (3, 3, features, width),
            (width,),
        ),
        {
            'loop': _lstm_form(False, 1),
            'unrolled': _lstm_form(False, FRAMES),
            'loop, kernels after it': _lstm_form(True, 1),
            'unrolled, kernels after it': _lstm_form(True, FRAMES),
        },
        _lstm_form(None, 0),
    )


def _volume_convolution(channels, features):
    """Returns the layer of seqface_jax/models/layers/conv3d.py."""
    from seqface_jax.models.layers import conv3d

    return Layer(
        f'3 x 3 x 3 convolution, {VOXELS} x {VOXELS} x {VOXELS}, {channels} to {features} channels',
        ((GRIDS, *(VOXELS,) * 3, channels), (3, 3, 3, channels, features)),
        {"XLA's": conv3d.convolve_volumes, 'slices': conv3d.convolve_slices},
        conv3d.convolve,
    )


def _xla_depthwise(x, kernel):
    import jax

    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=x.shape[-1],
    )  # fmt: skip


def _shifted_sum(x, kernel):
    from seqface_jax.models.layers import conv

    weights = kernel.reshape(9, -1)
    views = conv.shifted_views(x, (3, 3))
    return sum(view * weight for view, weight in zip(views, weights, strict=True))


def _one_product(x, kernel):
    import jax.numpy as jnp

    from seqface_jax.models.layers import conv

    views = conv.shifted_views(x, kernel.shape[:2])
    return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _dilated(x, kernel):
    import jax

    return jax.lax.conv_transpose(x, kernel, (2, 2), 'SAME', transpose_kernel=True)


def _lstm_form(is_late, unroll):
    """Returns a ConvLSTM as a function of images, kernels and bias.

    Args:
        is_late: whether the kernels' gradients are computed after the loop; None: as models do.
        unroll: frames per turn of the loop; 0: as models do.
    """
    from seqface_jax.models.layers import conv_lstm

    class Form(conv_lstm.ConvLSTM):
        def is_kernel_late(self, x, state):
            return super().is_kernel_late(x, state) if is_late is None else is_late

    def run(x, kernel, recurrent, bias):
        module = Form(kernel.shape[-1] // 4, stride=2, scan_unroll=unroll)
        cell = {'kernel': kernel, 'recurrent_kernel': recurrent, 'bias': bias}
        return module.apply({'params': {'cell': cell}}, x)[1]

    return run


def measure(layer, repetitions):
    """Returns a list of dicts of plain numbers, one for each form and one for the chosen one.

    Raises:
        UserError: two forms differ.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    args = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in layer.shapes]
    args[1:] = [0.05 * arg for arg in args[1:]]  # As small as kernels are.
    weights = jnp.asarray(rng.normal(size=jax.eval_shape(layer.chosen, *args).shape), jnp.float32)

    def step_of(form):
        def loss(*args):
            return (weights * form(*args)).sum()

        return jax.jit(jax.value_and_grad(loss, tuple(range(len(args))))).lower(*args).compile()

    forms = layer.forms | {'chosen': layer.chosen}
    steps = {name: step_of(form) for name, form in forms.items()}
    reference, rows = None, []
    for name, step in steps.items():
        gradients = [np.asarray(gradient, np.float64) for gradient in step(*args)[1]]
        reference = reference or gradients
        differences = [
            np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
            for found, wanted in zip(gradients, reference, strict=True)
        ]
        tolerance = CPU_TOLERANCE if jax.default_backend() == 'cpu' else GPU_TOLERANCE
        if max(differences) > tolerance:
            raise errors.UserError(
                f'{layer.name}: {name} differs from {next(iter(steps))} by {max(differences):.1e}'
            )
        memory_mb = step.memory_analysis().temp_size_in_bytes / 2**20
        rows.append({'form': name, 'difference': max(differences), 'memory_mb': memory_mb})
    taken = {name: [] for name in steps}
    for _ in range(repetitions):
        for name, step in steps.items():
            taken[name].append(race.seconds(step, *args))
    return [row | {'ms': 1e3 * race.median(taken[row['form']])} for row in rows]


def table(layer_name, rows):
    """Returns the rows of one layer as Markdown."""
    fastest = min(row['ms'] for row in rows)
    lines = [
        f'| {row["form"]} | {row["ms"]:.3g} | {row["ms"] / fastest:.2f} | {row["memory_mb"]:.0f} | '
        f'{row["difference"]:.0e} |'
        for row in rows
    ]
    return f'| **{layer_name}** | | | | |\n' + '\n'.join(lines) + '\n'


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('image_size', 256, 'Side of the frames in pixels.', lower_bound=64)
    flags.DEFINE_integer('repetitions', 9, 'Turns.', lower_bound=1)
    flags.DEFINE_string('only', '', 'Layers whose name holds this; all if left out.')


@errors.exit_on_user_error
def main(argv):
    """Times every form of every layer and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    head = '| form | ms | of the fastest | planned MB | differs by |\n|---|---|---|---|---|\n'
    sys.stdout.write(f'{race.hardware()}\n\n{head}')
    for layer in layers(values.image_size):
        if values.only in layer.name:
            sys.stdout.write(table(layer.name, measure(layer, values.repetitions)))
            sys.stdout.flush()


if __name__ == '__main__':
    define_flags()
    app.run(main)
