"""Runs this project's commands in forks of one process, as most of a short command is its imports.

That process has imported what commands import and has computed nothing with JAX, so that its forks
may. A command that is to be seen from its first import on runs by `subprocess` instead.
"""

import functools
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import warnings

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*command, **environment):
    """Runs `python COMMAND` in the folder of the project.

    Args:
        *command: a script's path, or '-m' and a module, and the arguments.
        **environment: variables that it reads after its imports.

    Returns:
        subprocess.CompletedProcess with texts.
    """
    server = _server()
    try:
        print(json.dumps([command, environment]), file=server.stdin, flush=True)
        return subprocess.CompletedProcess(command, *json.loads(server.stdout.readline()))
    except BaseException:  # A test that is ended at its time: the next one reads no late answer.
        _server.cache_clear()
        raise


@functools.cache
def _server():
    """Returns the process that forks; it ends with this one, which closes its standard input."""
    return subprocess.Popen(
        [sys.executable, '-m', __name__],
        cwd=_ROOT,
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _serve():
    """Answers each request, a line of JSON, with the command's exit status and what it wrote."""
    from seqface_jax import demo, evaluate, train  # noqa: F401, for the forks.

    warnings.filterwarnings('ignore', r'os\.fork\(\) was called', RuntimeWarning)
    answers = os.fdopen(os.dup(1), 'w')
    gc.freeze()  # No fork copies what it never looks at.
    for line in sys.stdin:
        with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                _become(*json.loads(line))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [file.seek(0) or file.read() for file in (out, err)]
        print(json.dumps([status, *texts]), file=answers, flush=True)


def _become(command, environment):
    """Runs a command and ends this process, without the seconds that Python takes to clear up."""
    status = 0
    try:
        os.environ.update(environment)
        if command[0] == '-m':
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name='__main__', alter_sys=True)
        else:
            sys.argv = command
            runpy.run_path(command[0], run_name='__main__')
    except SystemExit as end:  # As Python ends: a text is written, and its status is 1.
        status = end.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == '__main__':
    _serve()
