"""The command `seqface`: one name for the project's entry scripts.

seqface demo --input=PHOTOS --output=OUT    a face from photos, a video or a camera
seqface train --config=configs/cpu.py       trains a network on pictures or records
seqface eval --workdir=RUN                  evaluates a run
seqface prep DATASET ...                    raw data to records; writes made-up people
seqface doctor                              says what works on this machine

`seqface COMMAND --help` lists the flags of a command.
"""

import os
import pathlib
import runpy
import sys

from seqface_jax import errors

# Command -> module, which is run as a script of its own would be.
COMMANDS = {
    'demo': 'run_demo',
    'train': 'run_train',
    'eval': 'run_eval',
    'prep': 'data_prep',
    'doctor': 'seqface_jax.doctor',
}
_INSTALLED = pathlib.Path(__file__).parents[2]  # Where the packages and the scripts lie.


@errors.exit_on_user_error
def run(argv):
    """Runs the command that argv[1] names with the arguments behind it."""
    name = argv[1] if argv[1:] else '--help'
    if name in ('-h', '--help', 'help'):
        sys.stdout.write(__doc__)
        return
    errors.check_choice(name, COMMANDS, 'command')
    sys.argv = [f'seqface {name}', *argv[2:]]
    if name == 'train':
        sys.path.insert(0, os.getcwd())  # A config imports its neighbours as `configs.NAME`.
        sys.argv = [_with_installed_config(argument) for argument in sys.argv]
    runpy.run_module(COMMANDS[name], run_name='__main__', alter_sys=True)


def _with_installed_config(argument):
    """Turns --config=configs/NAME.py into the installed file where this folder has none."""
    flag, _, path = argument.partition('=')
    installed = os.path.join(_INSTALLED, path)
    if flag == '--config' and not os.path.exists(path) and os.path.isfile(installed):
        return f'{flag}={installed}'
    return argument


def main():
    """Is what `pip install` makes the command `seqface` of."""
    run(sys.argv)
