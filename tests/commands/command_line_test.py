import pytest
from absl import flags

from seqface_jax.commands import command_line


@pytest.fixture
def config(tmp_path):
    """Returns the path of a config with the options data.dir, data.name and seed."""
    (tmp_path / 'small.py').write_text(
        'import ml_collections\n'
        'def get_config():\n'
        "    return ml_collections.ConfigDict({'data': {'dir': 'x', 'name': 'y'}, 'seed': 0})\n"
    )
    return str(tmp_path / 'small.py')


def test_a_config_that_is_not_there_is_answered_with_the_nearest(config, capsys):
    with pytest.raises(SystemExit):
        command_line.parse_with_config(['x', f'--config={config.replace("small", "smal")}'])
    said = capsys.readouterr().err
    assert 'there is no config' in said and f'did you mean {config}?' in said
    assert said.count('\\n') == 0 and said.startswith('error: ')


@pytest.mark.parametrize(
    'option, sentence',
    [
        ('data.data_dir', 'has no option data.data_dir: did you mean data.dir?'),
        ('data.nam', 'Did you mean "name" instead of "nam"?'),
        ('date.name', 'has no option date.name: did you mean data.name?'),
        ('unheard_of', 'has no option unheard_of: configs/default.py has them all'),
    ],
)
def test_an_option_that_is_not_there_is_answered_with_the_nearest(config, option, sentence):
    assert sentence in command_line._no_field(
        ['x', f'--config={config}', f'--config.{option}=1'], config
    )


def test_a_path_in_the_home_folder_is_one_though_the_shell_left_it(monkeypatch):
    own = flags.FlagValues()
    flags.DEFINE_string('output', None, '', flag_values=own)
    monkeypatch.setattr(flags, 'FLAGS', own)
    monkeypatch.setenv('HOME', '/home/anna')
    command_line.parse(['x', '--output=~/faces'])
    assert own.output == '/home/anna/faces'
    own.unparse_flags()
    command_line.parse(['x', '--output=a~b'])
    assert own.output == 'a~b'


def test_a_missing_flag_says_what_to_give(monkeypatch, capsys):
    own = flags.FlagValues()
    flags.DEFINE_string('input', None, '', flag_values=own)
    monkeypatch.setattr(flags, 'FLAGS', own)
    validate = flags.register_validator
    monkeypatch.setattr(flags, 'register_validator', lambda *args: validate(*args, flag_values=own))
    command_line.require(input='FOLDER')
    with pytest.raises(SystemExit):
        command_line.parse(['x'])
    assert capsys.readouterr().err == (
        'error: --input is missing: give --input=FOLDER; --help tells more\n'
    )
