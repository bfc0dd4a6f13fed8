"""Checks what a config says about a network before any of it is built."""

import dataclasses
from collections.abc import Mapping

from seqface_jax.errors import UserError


class ModelConfigError(UserError, ValueError):
    """A config names a network, a layer or a field that does not exist, or misses one."""


def choose(choices, name, what):
    """Returns choices[name].

    Raises:
        ModelConfigError: there is none; the message gives the legal names.
    """
    if name not in choices:
        raise ModelConfigError(f'{what} is {name!r}: choose one of {", ".join(sorted(choices))}')
    return choices[name]


def check(module_class, fields, what, given=()):
    """Checks that the fields are those of a module: none unknown, none missing.

    Args:
        module_class: a Flax module class.
        fields: names that the config sets.
        what: the place in the config, for the message.
        given: fields of the module that the config must not set: the program does.

    Raises:
        ModelConfigError: with the misspelt or missing names and the legal ones.
    """
    own = [f for f in dataclasses.fields(module_class) if f.name not in ('parent', 'name', *given)]
    legal = ', '.join(sorted(f.name for f in own))
    unknown = sorted(set(fields) - {f.name for f in own})
    if unknown:
        raise ModelConfigError(f'{what} has no field {", ".join(unknown)}: it takes {legal}')
    missing = sorted(f.name for f in own if f.default is dataclasses.MISSING)
    missing = [name for name in missing if name not in fields]
    if missing:
        raise ModelConfigError(f'{what} lacks {", ".join(missing)}: it takes {legal}')


def check_layers(layers, kinds, what, given=()):
    """Checks a list of layers: dicts of 'kind' and the fields of its class.

    Args:
        layers: sequence, as a config has it.
        kinds: module class by kind.
        what: the place of the list in the config, for the message.
        given: as of `check`.

    Raises:
        ModelConfigError: naming the layer and what is wrong with it.
    """
    for i, layer in enumerate(layers):
        check_layer(layer, kinds, f'{what}[{i}]', given)


def check_layer(layer, kinds, what, given=()):
    """Checks one layer: a dict of 'kind' and the fields of its class. As `check_layers`."""
    if not isinstance(layer, Mapping):
        raise ModelConfigError(
            f"{what} is {layer!r}: write a dict with 'kind' and the fields of a layer"
        )
    layer = dict(layer)
    layer_class = choose(kinds, layer.pop('kind', None), f'{what}.kind')
    check(layer_class, layer, what, given)


def plain(value):
    """Copies a config value to dicts, tuples and scalars, as module fields must be."""
    if hasattr(value, 'items'):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(plain(entry) for entry in value)
    return value
