"""Contestants in processes of their own, asked in turn.

On a machine that others use too, only times taken in turn, one right after the other, compare:
ask every contestant once, then every one again, and take medians. Each has its own memory, too.

A contestant is a program that calls `serve`; the one that asks starts it with `Contestant`.
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

from seqface_jax import errors

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Settings of JAX and TensorFlow: no process takes a GPU's memory for itself alone.
SHARING = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', 'TF_FORCE_GPU_ALLOW_GROWTH': 'true'}
COUNTING = {'JAX_PLATFORMS': 'cpu'}  # Settings of a process that only counts operations.
ALTERNATING = 'shared machine: medians of alternating repetitions'


class Contestant:
    """A process that answers words with dicts; to be used as a context."""

    def __init__(self, arguments, environment=None):
        """Starts it; it is ready when `ask` returns.

        Args:
            arguments: of the Python interpreter: ['-m', 'benchmarks.keras_race', ...].
            environment: dict of variables that differ, or None.
        """
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | SHARING | (environment or {}),
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._process.stdin.close()
        if exc[0] is not None:
            self._process.kill()
        self._process.wait()

    def ask(self, word):
        """Sends a word, a key of the contestant's `serve`; returns its answer, a dict.

        Raises:
            RuntimeError: the process has ended; its own words are on stderr.
        """
        try:
            self._process.stdin.write(word + '\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ''
        if not line:
            raise RuntimeError(f'a contestant ended when it was asked to {word}')
        return json.loads(line)


def serve(answers):
    """Answers words from stdin until it closes.

    Args:
        answers: dict; the word -> a function without arguments that returns plain values.
    """
    # What libraries print goes to stderr: stdout is for the answers.
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    for line in sys.stdin:
        json.dump(answers[line.strip()](), out)
        out.write('\n')
        out.flush()


def in_turn(contestants, word, repetitions):
    """Asks every contestant in turn, again and again.

    Args:
        contestants: dict of Contestant by name.
        word: what to ask.
        repetitions: of the whole turn.

    Returns:
        dict by name of lists of answers.
    """
    answers = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, contestant in contestants.items():
            answers[name].append(contestant.ask(word))
    return answers


def serve_steps(step, first, device_peak_mb):
    """Serves a contestant whose turns are steps: the words start, turn and end.

    Args:
        step: function that takes a step and returns a plain value.
        first: function that takes the first steps and returns a dict that tells of them.
        device_peak_mb: function that returns the peak memory of an accelerator; None on the CPU.

    Returns:
        dict for `serve`.
    """

    def peak():
        return {'peak_mb': device_peak_mb() or peak_mb()}

    def start():
        answer = first() | peak()
        forget_peak()
        return answer

    def turn():
        step()  # While others had their turn, Linux and the host took memory back.
        begin, cpu_begin = time.perf_counter(), time.process_time()
        value = step()
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
        return {'seconds': seconds, 'cpu_seconds': cpu_seconds, 'value': value}

    return {'start': start, 'turn': turn, 'end': peak}


def race_steps(start, contestants, repetitions, check):
    """Races contestants that `serve_steps`, and a matrix product, step by step.

    Args:
        start: function of a name that returns its Contestant; 'inputs' writes what all begin with,
            'matmul' is the matrix product.
        contestants: names.
        repetitions: turns.
        check: function of {name: answer to start}, which raises where they do not compute the same.

    Returns:
        {name: dict of seconds, CPU seconds and peaks, and of what it told of its first steps}, and
        the GFLOP/s of the matrix product, a list.
    """
    with start('inputs') as writer:
        writer.ask('write')
    with contextlib.ExitStack() as stack:
        names = (*contestants, 'matmul')
        racing = {name: stack.enter_context(start(name)) for name in names}
        first = {name: racing[name].ask('start') for name in names}
        check({name: first[name] for name in contestants})
        turns = in_turn(racing, 'turn', repetitions)
        peaks = {name: racing[name].ask('end')['peak_mb'] for name in contestants}

    def row(name):
        seconds = [turn['seconds'] for turn in turns[name]]
        return first[name] | {
            'seconds': median(seconds),
            'seconds_min': min(seconds),
            'cpu_seconds': median(turn['cpu_seconds'] for turn in turns[name]),
            'peak_mb': max(first[name]['peak_mb'], peaks[name]),
            'step_peak_mb': peaks[name],
        }

    rates = [turn['value'] for turn in turns['matmul']]
    return {name: row(name) for name in contestants}, rates


def check_losses(losses, tolerance):
    """Raises UserError if losses, numbers or lists by contestant, are not equal.

    Args:
        losses: {name: loss or losses}.
        tolerance: relative.
    """
    first = next(iter(losses))
    for name, values in losses.items():
        if not np.allclose(values, losses[first], rtol=tolerance):
            raise errors.UserError(
                f'{name} and {first} do not compute the same: losses {values} and {losses[first]}'
            )


class Finished(NamedTuple):
    """A program that has run: what it took with its children, and its CompletedProcess."""

    seconds: float
    cpu_seconds: float
    process: subprocess.CompletedProcess


def run(arguments, environment=None):
    """Runs a program of Python to its end.

    Args:
        arguments, environment: as of Contestant.

    Returns:
        Finished; its process holds stdout and stderr as text.
    """
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Finished(seconds, cpu_seconds, process)


def peak_mb(who=resource.RUSAGE_SELF):
    """Returns the most resident memory that this process, or RUSAGE_CHILDREN, has had, in MB."""
    if who == resource.RUSAGE_SELF:
        # Its ru_maxrss is never below that of the process which started it.
        with open('/proc/self/status') as file:
            return int(re.search(r'VmHWM:\s*(\d+) kB', file.read())[1]) / 1024
    return resource.getrusage(who).ru_maxrss / 1024


def accelerator_peak_mb():
    """Returns the most memory in use on JAX's first device, in MB; None on the CPU."""
    import jax

    statistics = jax.local_devices()[0].memory_stats()
    return statistics['peak_bytes_in_use'] / 2**20 if statistics else None


def forget_peak():
    """Gives freed memory back to Linux; `peak_mb` of this process counts anew from here."""
    ctypes.CDLL(None).malloc_trim(0)
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')


def gflop(lowered):
    """Returns the 10^9 operations of a jax.stages.Lowered, as XLA counts before it optimises.

    Ask it in a process whose environment has COUNTING: XLA counts on the CPU only, and the body of
    a loop once, whatever its turns; the CPU's steps have no loops.
    """
    return lowered.cost_analysis()['flops'] / 1e9


def seconds(function, *args):
    """Calls a function; returns the seconds that it took, JAX's arrays being there."""
    import jax

    begin = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - begin


class Matmul:
    """Measures the rate of this machine's matrix products."""

    def __init__(self, side=None, dtype='float32'):
        """Compiles a product of two square matrices of `side`; None: as large as shows the rate."""
        import jax
        import jax.numpy as jnp

        side = side or (2048 if jax.default_backend() == 'cpu' else 8192)
        self._flops = 2 * side**3
        x = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
        self._args = (x, x.T + 1)
        self._product = jax.jit(jnp.matmul)
        seconds(self._product, *self._args)

    def gflops(self):
        """Returns the rate of one product, in 10^9 floating-point operations a second."""
        return self._flops / seconds(self._product, *self._args) / 1e9


def median(values):
    """Returns the median as a float."""
    return float(np.median(list(values)))


def hardware():
    """Says what this machine is, in a few words."""
    import jax

    kinds = {device.device_kind for device in jax.local_devices()}
    cores = len(os.sched_getaffinity(0))
    return f'{cores} CPU cores, {jax.local_device_count()} x {", ".join(sorted(kinds))}'
