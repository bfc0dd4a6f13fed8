import gc

import pytest

from seqface_jax.commands import garbage


@pytest.mark.parametrize('was_on', [True, False])
def test_the_search_for_garbage_waits_and_then_is_as_before(was_on):
    before = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        with pytest.raises(KeyError), garbage.left_alone():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()
