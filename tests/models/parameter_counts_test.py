import jax
import numpy as np
import pytest

from seqface_jax import checkpoints, models

# Parameters of the published networks at their image size; the thesis's is in seqface_test.
COUNTS = [
    ({'name': 'prnet'}, 256, 13_353_618),
    ({'name': 'front_side', 'width': 1.0}, 256, 11_758_633),  # Quoted as 11.76 M.
    ({'name': 'front_side', 'width': 1.2}, 256, 13_451_091),  # 13.45 M.
    ({'name': 'r2n2', 'recurrence': 'gru'}, 127, 32_207_266),
    ({'name': 'r2n2', 'recurrence': 'lstm'}, 127, 32_207_266),  # It has three gates too.
    ({'name': 'r2n2', 'recurrence': 'gru', 'residual': True}, 127, 35_968_706),
]


@pytest.mark.parametrize('config, image_size, expected', COUNTS)
def test_a_published_network_has_its_number_of_parameters(config, image_size, expected):
    model = models.create(config, image_size)
    variables = jax.eval_shape(lambda: checkpoints.init_variables(model, image_size, 0))
    leaves = jax.tree.leaves(variables['params'])
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == expected
