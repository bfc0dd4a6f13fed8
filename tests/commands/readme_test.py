"""What README.md and docs/ tell a person to type exists: scripts, configs and flags."""

import glob
import os
import re
import subprocess

import pytest

from seqface_jax.reconstruct import Reconstructor
from tests.helpers import forked_commands

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


DOCUMENTS = ('README.md', *sorted(glob.glob('docs/*.md', root_dir=ROOT)))


def blocks(document):
    """Returns (language, text) of each code block of a document, continued lines joined."""
    with open(os.path.join(ROOT, document), encoding='utf-8') as file:
        text = file.read().replace('\\\n', ' ')
    return re.findall(r'^```(\w*)\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def commands(document='README.md'):
    """Returns the command lines of a document's code blocks."""
    texts = (text for language, text in blocks(document) if not language)
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line.startswith(('python ', './'))]


def python_commands():
    """Returns the commands of all documents that run Python, each once."""
    found = dict.fromkeys(command for document in DOCUMENTS for command in commands(document))
    return [command for command in found if command.startswith('python ')]


def test_readme_names_both_commands():
    assert './setup.sh quickstart' in commands()
    assert './setup.sh test' in commands()


def script_of(command):
    """Returns the file or the module that a command runs."""
    return re.match(r'python (?:-m )?([\w.]+)', command).group(1)


@pytest.fixture(scope='module')
def helps():
    """Returns what each script says of its flags, by its file or module."""
    found = {}
    for script in dict.fromkeys(map(script_of, python_commands())):
        command = [script] if script.endswith('.py') else ['-m', script]
        found[script] = forked_commands.run(*command, '--help').stdout
    return found


@pytest.mark.slow
@pytest.mark.parametrize('command', python_commands())
def test_a_command_names_real_scripts_configs_and_flags(helps, command):
    help_text = helps[script_of(command)]
    assert help_text
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


def test_the_first_blocks_of_the_python_page_run_as_they_stand(packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(Reconstructor, 'restore', lambda: packaged)
    monkeypatch.chdir(tmp_path)
    (language, text), *others = blocks('docs/PYTHON.md')
    found = {}
    exec(compile(text, 'docs/PYTHON.md', 'exec'), found)
    assert language == 'python' and found['face'].vertices.shape[1] == 3
    assert sorted(os.listdir(tmp_path)) == ['face.glb', 'state.npz']
    (colours,) = (text for _, text in others if 'painter' in text)
    exec(compile(colours, 'docs/PYTHON.md', 'exec'), found)
    assert found['painter'].num_painted == 2 and found['face'].texture.std() > 10


def output_files():
    """Returns the names of the files that docs/OUTPUT.md tells of, a set."""
    with open(os.path.join(ROOT, 'docs/OUTPUT.md'), encoding='utf-8') as file:
        quoted = re.findall(r'`(\w*\.\w+|\w+/)`', file.read())
    names, stem = set(), ''
    for name in quoted:
        if not name.startswith('.'):  # `face.glb`, `.obj`: the second is face.obj.
            stem = name.split('.')[0]
        names.add(stem + name if name.startswith('.') else name)
    return names


def test_every_link_between_the_documents_leads_to_a_file():
    for document in DOCUMENTS:
        with open(os.path.join(ROOT, document), encoding='utf-8') as file:
            links = re.findall(r'\]\(([^):#]+)\)', file.read())
        for link in links:
            assert os.path.exists(os.path.join(ROOT, os.path.dirname(document), link)), link
