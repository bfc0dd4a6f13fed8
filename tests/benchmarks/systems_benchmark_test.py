import pytest

from benchmarks import systems
from seqface_jax import models
from seqface_jax.training import objective


@pytest.mark.parametrize('scale', systems.SCALES)
@pytest.mark.parametrize('name', systems.SYSTEMS)
def test_every_system_has_a_network_at_every_scale(name, scale):
    config = systems.system_config(name, scale)
    assert models.create(config.model, config.data.image_size)
    objective.check(config, None)


def _row(model, num_frames, mm, of=None):
    row = {'model': model, 'num_frames': num_frames, 'of': of, 'nme_thesis': 0.0051}
    row |= {'scan_to_mesh_mm': {'mean': mm}, 'vertex_mm': None, 'coverage': 0.95}
    seconds = None if num_frames is None else 0.02
    return row | {'voxel_iou': None, 'voxel_ap': None, 'seconds_per_sequence': seconds}


def test_the_table_says_size_time_and_what_a_drawn_view_is_worth():
    rows = [
        _row('mean_face', None, 1.6),
        _row('front_only', 1, 1.5),
        _row('rotate_render', 1, 1.45),
    ]
    rows += [_row('front_side', 1, 1.7), _row('front_side', 2, 1.3), _row('front_only', 2, 9.0)]
    text = systems.table(rows, {'front_side': 13_451_091})
    assert '| mean_face | - | 0.0051 | 1.60 | - | 0.950 | - | - | - | - |' in text
    assert '| front_side | 2 | 0.0051 | 1.30 | - | 0.950 | - | - | 13,451,091 | 10.0 |' in text
    assert '| front_only | 1 |' in text and '| front_only | 2 |' not in text
    assert 'The drawn side view is worth 0.05 mm' in text and 'the true one 0.20 mm' in text
    assert not systems.worth_of_the_drawn_view(rows[:2])
