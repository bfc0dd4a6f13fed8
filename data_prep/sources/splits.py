"""Which subject is in which split: fixed for ever, by subject, in a CSV (subject,split).

splits/bu4dfe.csv holds the 96 subjects of BU-4DFE that can be unpacked (F001-F058 without
F027-F031, M001-M043): 70 train, 10 validation, 16 test. It was drawn by `rule`, which also places
whoever is not in the CSV; where the two differ (M036: train) the CSV is what counts. The thesis
selects on its test subjects: its 70 / 26 protocol is the split expression 'validation+test'.
"""

import csv
import hashlib
import os
import re

from seqface_jax.errors import UserError

SPLITS = ('train', 'validation', 'test')
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'splits')


def default_csv(dataset):
    """Returns the path of the data set's own split, or None if it has none."""
    path = os.path.join(_FOLDER, f'{dataset}.csv')
    return path if os.path.exists(path) else None


def rule(subject_id):
    """Places a subject by the number in its id: about 1 in 6 test, 1 in 10 validation.

    With n the number: test if n % 6 == 3, validation if n % 8 == 4, else train. An id without
    a number is placed by its SHA-256 in the shares 16 : 10 : 70.
    """
    digits = re.search(r'\d+', subject_id)
    if digits:
        number = int(digits.group())
        return 'test' if number % 6 == 3 else 'validation' if number % 8 == 4 else 'train'
    return by_hash(subject_id)


def by_hash(name):
    """Places a subject, or several of one name, by SHA-256 in the shares 16 : 10 : 70 of 96."""
    place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 96
    return 'test' if place < 16 else 'validation' if place < 26 else 'train'


def read_csv(path):
    """Reads {subject: split}.

    Raises:
        UserError: no such file, another header, an unknown split, or a subject twice.
    """
    table = {}
    for line, row in read_table(path, ('subject', 'split')):
        subject, split = row['subject'], row['split']
        if split not in SPLITS:
            raise UserError(f'{path} line {line}: {split!r} is not one of {", ".join(SPLITS)}')
        if subject in table:
            raise UserError(f'{path} line {line}: subject {subject} is listed twice')
        table[subject] = split
    return table


def assign(subject_ids, table, rule=rule):
    """Returns {subject: split} and the subjects that `table`, if there is one, does not name.

    Args:
        subject_ids: list of str.
        table: {subject: split}; empty: there is none.
        rule: function of an id to its split, for those that are not in the table.
    """
    absent = [subject for subject in subject_ids if table and subject not in table]
    return {subject: table.get(subject) or rule(subject) for subject in subject_ids}, absent


def read_table(path, columns):
    """Yields (line number, row) of a CSV file whose header must name `columns`.

    Raises:
        UserError: no such file, not text, a missing column or a missing value.
    """
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise UserError(f'{path}: its first line must be {",".join(columns)}')
            for row in reader:
                if not all(row[column] for column in columns):
                    raise UserError(
                        f'{path} line {reader.line_num}: needs a value for {", ".join(columns)}'
                    )
                yield reader.line_num, {column: row[column].strip() for column in columns}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'cannot read the table {path}: {error}') from error
