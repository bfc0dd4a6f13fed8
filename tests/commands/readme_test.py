"""What README.md tells a person to type exists: scripts, configs and flags."""

import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def commands():
    """Returns the command lines of README's code blocks, continued lines joined."""
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as file:
        text = file.read().replace('\\\n', ' ')
    blocks = re.findall(r'^```(\w*)\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    lines = [line.strip() for name, block in blocks if not name for line in block.splitlines()]
    return [line for line in lines if line.startswith(('python ', './'))]


def test_readme_names_both_commands():
    assert './setup.sh quickstart' in commands()
    assert './setup.sh test' in commands()


@pytest.mark.parametrize('command', [c for c in commands() if c.startswith('python ')])
def test_a_command_of_readme_names_real_scripts_configs_and_flags(command):
    script = re.match(r'python (-m [\w.]+|\w+\.py)', command).group(1).split()
    help_text = subprocess.run(
        [sys.executable, *script, '--help'], cwd=ROOT, capture_output=True, text=True, timeout=120
    ).stdout
    for flag in re.findall(r'--(\w+)(?==|\s|$)', command):
        assert re.search(rf'--(\[no\])?{flag}\b', help_text), flag
    for config in re.findall(r'--config=(\S+)', command):
        assert os.path.exists(os.path.join(ROOT, config))


def test_setup_refuses_an_unknown_job_with_one_sentence():
    done = subprocess.run(
        ['sh', os.path.join(ROOT, 'setup.sh'), 'nonsense'], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown job 'nonsense'")
