"""Flags of the commands: one sentence says what is missing or misspelt, and the nearest name.

`app.run(main, flags_parser=command_line.parse)`; with a config, `command_line.parse_with_config`.
"""

import difflib
import glob
import os
import re
import runpy
import sys

from absl import flags

_ABSENT = re.compile(r'^\s*flag --[\w.]+=None: ', re.MULTILINE)  # What absl puts before a message.
_FIELD = re.compile(r'--?(?:no)?config\.([\w.]+)')

_HOME = re.compile(r'^(--?[\w.]+=)(~.*)')


def require(**examples):
    """Makes flags required.

    Args:
        examples: a flag's name, and what stands after its `=` in the message that it is missing.
    """
    for name, example in examples.items():
        flags.register_validator(
            name, lambda value: value is not None, f'--{name} is missing: give --{name}={example}'
        )


def parse(argv):
    """Parses the flags; returns what is none. A mistake ends the program with one sentence.

    A path that begins with ~ lies in the home folder: shells leave that of `--flag=~/x` as it is,
    and a folder named ~ would be written.
    """
    try:
        return flags.FLAGS([_HOME.sub(_at_home, argument) for argument in argv])
    except flags.Error as error:
        sentences = _ABSENT.sub('', str(error)).strip().splitlines()
        _end('; '.join(sentence.strip() for sentence in sentences))


def _at_home(match):
    return match.group(1) + os.path.expanduser(match.group(2))


def parse_with_config(argv):
    """As `parse`, where `--config` names a file and `--config.section.field` sets its options."""
    path = _config_path(argv)
    if path is not None and not os.path.isfile(path):
        _end(_no_config(path))
    try:
        arguments = parse(argv)
        flags.FLAGS['config'].value.keys()  # A config that could not be loaded says so only now.
    except (AttributeError, KeyError, TypeError) as error:
        _end(_no_field(argv, path) or _innermost(error))
    return arguments


def nearest(name, names):
    """Returns ', did you mean NAME?' for the nearest of some names; '' if none is near."""
    found = difflib.get_close_matches(name, names, n=1)
    return f': did you mean {found[0]}?' if found else ''


def _config_path(argv):
    """Returns the file that --config names, or None; what follows a colon is its argument."""
    for index, argument in enumerate(argv[1:], start=1):
        name, equals, value = argument.partition('=')
        if name in ('--config', '-config'):
            value = value if equals else (argv[index + 1] if index + 1 < len(argv) else '')
            return value.partition(':')[0]
    return None


def _no_config(path):
    folder = os.path.dirname(path) or '.'
    known = sorted(glob.glob(os.path.join(folder, '*.py'))) or sorted(glob.glob('configs/*.py'))
    known = [name for name in known if os.path.basename(name) != '__init__.py']
    by_name = {_stem(name): name for name in known}
    near = difflib.get_close_matches(_stem(path), by_name, n=1)
    hint = f': did you mean {by_name[near[0]]}?' if near else ''
    hint = hint or (f': there are {", ".join(known)}' if known else '')
    return f'there is no config {path}{hint}'


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _no_field(argv, path):
    """Returns the sentence for the first option that the config does not have; None if none is."""
    names = [match.group(1) for match in map(_FIELD.match, argv) if match]
    if not names or path is None:
        return None
    _, _, argument = next(a for a in argv if path in a).partition(':')
    make = runpy.run_path(path)['get_config']
    known = _names(make(argument) if argument else make())
    for name in names:
        if name not in known:
            return f'{path} has no option {name}{_nearest_option(name, known)}'
    return None


def _nearest_option(name, known):
    section, _, last = name.rpartition('.')
    inside = [other.rpartition('.')[2] for other in known if other.rpartition('.')[0] == section]
    near = difflib.get_close_matches(last, inside, n=1)
    if near:
        return f'. Did you mean "{near[0]}" instead of "{last}"?'
    return nearest(name, known) or ': configs/default.py has them all'


def _names(config, prefix=''):
    """Returns the names of all options of a config, such as 'data.dir'."""
    found = []
    for name, value in config.items():
        found.append(prefix + name)
        if hasattr(value, 'items'):
            found += _names(value, f'{prefix}{name}.')
    return found


def _innermost(error):
    """Returns the text of an error that wraps others, as ml_collections's do."""
    while isinstance(error, Exception) and error.args:
        error = error.args[0]
    return ' '.join(str(error).split())


def _end(sentence):
    end = '' if sentence.endswith('?') else '; --help tells more'
    sys.stderr.write(f'error: {sentence.rstrip(".")}{end}\n')
    sys.exit(1)
