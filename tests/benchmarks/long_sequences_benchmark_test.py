"""Tests of benchmarks/long_sequences.py, of a network of a few thousand parameters."""

from benchmarks import long_sequences
from configs import bu4dfe_thesis


def small_config():
    config = bu4dfe_thesis.get_config()
    config.data.image_size = 32
    config.model.norm = 'group'
    config.model.encoder = ({'kind': 'conv_lstm', 'features': 8, 'stride': 4},)
    config.model.decoder = ({'kind': 'resize_conv', 'features': 3, 'stride': 2},)
    return config


def test_going_through_parts_takes_the_least_memory_a_frame():
    measured = long_sequences.measure(small_config(), [4, 8], [2], limit_mb=100)
    plain, parts = (measured['curves'][name] for name in ('plain', 'parts of 2'))
    assert plain['mb_per_frame'] / 5 > parts['mb_per_frame'] > 0
    assert parts['lengths'] == [8, 16] and parts['longest'] > plain['longest']


def test_a_network_without_the_choice_has_one_curve():
    config = small_config()
    config.model = {'name': 'prnet'}
    assert [name for name, *_ in long_sequences.choices(config, [4], [2])] == ['plain']


def test_a_gradient_that_is_run_is_finite_and_says_its_memory():
    found = long_sequences.run(small_config(), 4, {'remat_frames': 2})
    assert found['is_finite'] and found['num_frames'] == 4
    assert found['peak_mb'] > 10 and found['seconds'] > 0
