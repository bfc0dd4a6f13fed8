"""A short run of benchmarks/torture/fuzz.py; hours of it are run by hand."""

import os
import subprocess
import sys

import pytest

pytest.importorskip('atheris')
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.parametrize('target', ['vrml', 'ply', 'obj', 'record'])
def test_ten_thousand_mutations_are_read_or_refused(tmp_path, target):
    command = [sys.executable, '-m', 'benchmarks.torture.fuzz', target, '-runs=10000', '-seed=1']
    done = subprocess.run(
        [*command, f'-artifact_prefix={tmp_path}/'], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Done 10000 runs' in done.stderr
    assert os.listdir(tmp_path) == []
