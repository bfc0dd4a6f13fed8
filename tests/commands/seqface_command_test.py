import os
import sys

import pytest

from seqface_jax.commands import extras, seqface_command
from seqface_jax.errors import UserError


def _runs(monkeypatch):
    """Records what is run instead of running it."""
    seen = []
    monkeypatch.setattr(
        seqface_command.runpy, 'run_module', lambda name, **_: seen.append((name, list(sys.argv)))
    )
    monkeypatch.setattr(sys, 'argv', ['seqface'])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    return seen


def test_a_command_runs_its_script_with_the_rest_of_the_line(monkeypatch):
    seen = _runs(monkeypatch)
    seqface_command.run(['seqface', 'demo', '--input=a', '--output=b'])
    assert seen == [('run_demo', ['seqface demo', '--input=a', '--output=b'])]


@pytest.mark.parametrize('argv', [['seqface'], ['seqface', '--help']])
def test_without_a_command_the_help_lists_all(argv, capsys):
    seqface_command.run(argv)
    text = capsys.readouterr().out
    assert all(f'seqface {name}' in text for name in seqface_command.COMMANDS)


def test_an_unknown_command_is_refused_with_the_legal_ones(capsys):
    with pytest.raises(SystemExit):
        seqface_command.run(['seqface', 'dream'])
    assert capsys.readouterr().err == (
        "error: there is no command 'dream': choose of demo, train, eval, prep, doctor\n"
    )


def test_training_away_from_the_project_takes_the_installed_config(tmp_path, monkeypatch):
    seen = _runs(monkeypatch)
    monkeypatch.chdir(tmp_path)
    seqface_command.run(['seqface', 'train', '--config=configs/cpu.py', '--config.train.seed=1'])
    ((_, (_, config, other)),) = seen
    path = config.removeprefix('--config=')
    assert os.path.isabs(path) and os.path.isfile(path) and other == '--config.train.seed=1'


def test_training_takes_the_config_of_the_folder_first(tmp_path, monkeypatch):
    seen = _runs(monkeypatch)
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'cpu.py').touch()
    monkeypatch.chdir(tmp_path)
    seqface_command.run(['seqface', 'train', '--config=configs/cpu.py'])
    assert seen[0][1][1] == '--config=configs/cpu.py' and sys.path[0] == str(tmp_path)


def test_a_missing_extra_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, 'dreams', extras.Extra('dreaming', ('os', 'no_such_module')))
    with pytest.raises(UserError, match=r'dreaming needs no_such_module: .*seqface-jax\[dreams\]'):
        extras.require('dreams')
