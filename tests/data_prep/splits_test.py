import collections

import pytest

from data_prep.sources import splits
from seqface_jax.errors import UserError

BU4DFE = [f'F{n:03d}' for n in range(1, 59) if not 27 <= n <= 31]
BU4DFE += [f'M{n:03d}' for n in range(1, 44)]


def test_the_96_subjects_of_bu4dfe_are_split_70_10_16():
    table = splits.read_csv(splits.default_csv('bu4dfe'))
    assert sorted(table) == sorted(BU4DFE)
    assert collections.Counter(table.values()) == {'train': 70, 'validation': 10, 'test': 16}


def test_the_table_is_the_rule_except_for_one_subject():
    table = splits.read_csv(splits.default_csv('bu4dfe'))
    differing = {name: split for name, split in table.items() if split != splits.rule(name)}
    assert differing == {'M036': 'train'}


def test_both_sexes_are_in_every_split():
    table = splits.read_csv(splits.default_csv('bu4dfe'))
    assert {(name[0], split) for name, split in table.items()} == {
        (sex, split) for sex in 'FM' for split in splits.SPLITS
    }


def test_subjects_outside_the_table_follow_the_rule_and_are_named():
    assignment, by_rule = splits.assign(['F001', 'F063', 'M052', 'zoe'], {'F001': 'test'})
    assert assignment['F001'] == 'test'
    assert assignment['F063'] == 'test'  # 63 % 6 == 3
    assert assignment['M052'] == 'validation'  # 52 % 8 == 4
    assert assignment['zoe'] in splits.SPLITS
    assert by_rule == ['F063', 'M052', 'zoe']


def test_names_without_numbers_are_spread_over_the_splits():
    names = [''.join(letters) for letters in zip('abcdefgh' * 100, 'ijklmnopqr' * 80, strict=True)]
    names = {f'{a}{b}{c}' for a in names[:8] for b in names[:10] for c in names[:10]}
    shares = collections.Counter(splits.rule(name) for name in names)
    assert 0.6 < shares['train'] / len(names) < 0.85
    assert set(shares) == set(splits.SPLITS)


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('id,split\nF001,train\n', 'first line must be subject,split'),
        ('subject,split\nF001,dev\n', "line 2: 'dev' is not one of train, validation, test"),
        ('subject,split\nF001,train\nF001,test\n', 'line 3: subject F001 is listed twice'),
        ('subject,split\nF001\n', 'line 2: needs a value'),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, sentence):
    path = tmp_path / 'splits.csv'
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        splits.read_csv(path)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match='cannot read the table .*none.csv'):
        splits.read_csv(tmp_path / 'none.csv')
