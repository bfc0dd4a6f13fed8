"""Records which options of a config the package reads."""

import functools
import sys

import ml_collections

PACKAGE = 'seqface_jax'


def leaves(config, place=''):
    """Yields the dotted names of all options of a config."""
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from leaves(value, f'{place}{name}.')
        else:
            yield place + name


def record(config, setattr):
    """Returns a set to which the name of every option is added when the package reads it.

    A section is known by the names of its options, so that copies and configs that were read from
    disk count too. Writing, comparing and copying a config whole is no reading.

    Args:
        config: with the sections that are to be told apart; their options may have other values.
        setattr: of a MonkeyPatch.
    """
    sections, found = dict(_sections(config)), set()

    def recording(original):
        @functools.wraps(original)
        def read(self, name):
            caller = sys._getframe(1).f_globals['__name__']
            place = sections.get(frozenset(self.keys()))
            if place is not None and caller.partition('.')[0] == PACKAGE:
                found.add(place + name)
            return original(self, name)

        return read

    for method in ('__getattr__', '__getitem__'):
        original = getattr(ml_collections.ConfigDict, method)
        setattr(ml_collections.ConfigDict, method, recording(original))
    return found


def _sections(config, place=''):
    yield frozenset(config.keys()), place
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from _sections(value, f'{place}{name}.')
