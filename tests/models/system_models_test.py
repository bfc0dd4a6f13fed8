"""What holds for each of the field's networks, at sizes that a CPU compiles in seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax import checkpoints, models
from seqface_jax.geometry import face_regions, image_space
from seqface_jax.models import front_side, prnet
from seqface_jax.models.layers import decoders
from tests import conftest
from tests.helpers.compiling import quick_jit

SMALL_R2N2 = {
    'name': 'r2n2',
    'encoder_features': (4, 4, 8, 8, 8, 8),
    'code_features': 8,
    'state_features': 8,
    'decoder_features': (8, 8, 4, 4),
}
SMALL = {
    'prnet': {'name': 'prnet', 'features': 2},
    'front_side': {'name': 'front_side', 'width': 0.25, 'features': 2},
    'rotate_render': {
        'name': 'rotate_render',
        'width': 0.25,
        'features': 2,
        'code_size': 2,
        'fit_features': 2,
        'fill_features': 2,
    },  # fmt: skip
    'r2n2': SMALL_R2N2 | {'recurrence': 'lstm', 'residual': True},
}
SIZE, FRAMES = 32, 3


def _draw(path, leaf):
    """Draws a parameter without compiling anything."""
    rng = np.random.default_rng(len(jax.tree_util.keystr(path)) + 7 * sum(leaf.shape))
    if leaf.ndim < 2:
        is_factor = jax.tree_util.keystr(path).endswith(("['scale']", "['var']"))
        return jnp.asarray(is_factor + 0.1 * rng.standard_normal(leaf.shape), jnp.float32)
    fan_in = np.sqrt(np.prod(leaf.shape[:-1]))
    return jnp.asarray(rng.standard_normal(leaf.shape) / fan_in, jnp.float32)


class System:
    """A small network with drawn variables, and its answers to some frames."""

    def __init__(self, name):
        self.config = SMALL[name]
        self.model = models.create(self.config, SIZE)
        people = [conftest.make_person(subject)[0] for subject in ('F001', 'M001')]
        table = {key: np.stack([p[key] for p in people]) for key in ('position_map', 'mask')}
        constants = models.constants(self.config, table)
        shapes = jax.eval_shape(lambda: checkpoints.init_variables(self.model, SIZE, 0))
        assert jax.tree.map(np.shape, constants) == jax.tree.map(np.shape, shapes['constants'])
        drawn = jax.tree_util.tree_map_with_path(_draw, shapes)
        self.variables = drawn | {'constants': jax.tree.map(jnp.float32, constants)}
        self.frames = jax.random.uniform(jax.random.key(1), (2, FRAMES, SIZE, SIZE, 3))
        self.apply = quick_jit(
            lambda frames: self.model.apply(self.variables, frames, train=False),
        )
        self.answers = self.apply(self.frames)

    def learnt(self, prediction):
        """Returns the array that the network learns."""
        voxels = prediction.voxels
        return prediction.image_map if voxels is None else voxels.logits


@pytest.fixture(scope='module')
def few_blocks():
    """Leaves encoders and decoder their strides and one block of each other kind.

    They are quicker to compile. Of the last three layers, of 3 channels, one hidden one is left.
    """
    mobile, residual = front_side._BLOCKS, prnet._BLOCKS
    with pytest.MonkeyPatch.context() as patch:
        once = [(*block[:3], 1) for block in mobile[2:]]
        patch.setattr(front_side, '_BLOCKS', (*mobile[:2], *once))
        patch.setattr(prnet, '_BLOCKS', (*residual[:2], *residual[2::2]))
        larger = [layer for layer in decoders._PRNET_LAYERS if layer[1] > 1]
        patch.setattr(decoders, '_PRNET_LAYERS', (decoders._PRNET_LAYERS[0], *larger))
        patch.setattr(decoders, '_NUM_LAST', 2)
        yield


@pytest.fixture(scope='module', params=SMALL)
def system(request, few_blocks):
    return System(request.param)


def test_every_answer_is_a_face_in_mm_and_what_the_network_learns(system):
    answers = system.answers
    side = answers.position_map.shape[-2]
    assert answers.position_map.shape == (2, FRAMES, side, side, 3)
    assert np.isfinite(answers.position_map).all()
    if answers.voxels is not None:
        assert answers.voxels.logits.shape == (2, FRAMES, 32, 32, 32)
    else:
        assert answers.image_map.shape == (2, FRAMES, SIZE, SIZE, 3)
        assert answers.image_map.min() >= 0 and answers.image_map.max() <= 1.1


def test_what_prnet_says_where_its_loss_does_not_look_moves_no_other_point(few_blocks):
    prnet_system = System('prnet')
    mean_map = np.asarray(prnet_system.variables['constants']['mean_map'])
    pose = image_space.ImagePose(
        scale=jnp.float32(0.004),
        rotation=image_space.rotation(jnp.array([0.4, 0.1, 0.1])),
        translation=jnp.array([0.5, -0.5, 0.3]),
    )
    neck = face_regions.training_weights() == 0
    image_map = np.where(neck[..., None], 1.0, pose.place(mean_map))
    found = prnet_system.model.apply(prnet_system.variables, image_map, method='_canonical')
    np.testing.assert_allclose(found, mean_map, atol=0.01)


def test_the_gradient_reaches_every_parameter(system):
    if system.config['name'] == 'rotate_render':
        return  # Its answer does not move the fit and the filling: they have their own teachers.
    weights = jax.random.normal(jax.random.key(2), (1, 1, 32, 32, 32))

    def loss(params):
        variables = system.variables | {'params': params}
        prediction, _ = system.model.apply(
            variables, system.frames[:, :2], train=True, last_only=True, mutable=['batch_stats']
        )
        learnt = system.learnt(prediction)
        return (learnt * weights[..., : learnt.shape[-1]]).sum()

    grads = quick_jit(jax.grad(loss))(system.variables['params'])
    flat = jax.tree_util.tree_leaves_with_path(grads)
    dead = [jax.tree_util.keystr(path) for path, grad in flat if not np.abs(grad).max() > 0]
    # Lium's biases before a normalisation, which takes every mean away.
    assert not [name for name in dead if not (name.startswith("['network']") and 'bias' in name)]


def test_what_a_network_remembers_is_what_it_says_that_it_reads(system):
    swapped = system.apply(system.frames[:, jnp.array([1, 0, 2])])
    last, again = (system.learnt(answers)[:, -1] for answers in (system.answers, swapped))
    assert np.array_equal(last, again) == (models.reads(system.config) in ('frame', 'front'))


def test_stepping_equals_scanning(system):
    if models.reads(system.config) in ('frame', 'front'):
        return  # Nothing is remembered, as the test above shows.
    step = quick_jit(
        lambda state, frame: system.model.apply(system.variables, state, frame, method='step'),
    )
    state = system.model.apply(system.variables, 2, method='initial_state')
    for t in range(FRAMES):
        state, prediction = step(state, system.frames[:, t])
    last = system.learnt(system.answers)[:, -1]
    np.testing.assert_allclose(system.learnt(prediction), last, atol=1e-5)
