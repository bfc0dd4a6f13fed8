"""A short run of benchmarks/torture/fuzz.py; hours of it are run by hand."""

import os
import subprocess
import sys

import pytest

pytest.importorskip('atheris')
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('target', ['vrml', 'ply', 'obj', 'record'])
def test_ten_thousand_mutations_are_read_or_refused(tmp_path, target):
    command = [sys.executable, '-m', 'benchmarks.torture.fuzz', target, '-runs=10000', '-seed=1']
    command.append(f'-artifact_prefix={tmp_path}/')
    # Linux counts what the starting process has had as memory of the one it starts, against the
    # limit: not this one's, in which other tests have run large networks, but a small shell's.
    command = ['sh', '-c', '"$@"; exit $?', 'sh', *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Done 10000 runs' in done.stderr
    assert os.listdir(tmp_path) == []
