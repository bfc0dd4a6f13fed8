"""Errors a person can mend: one sentence that says what, where and what to do."""

import functools
import sys


class UserError(Exception):
    """Raised for bad input; the entry scripts print its sentence and exit with status 1."""


def exit_on_user_error(main):
    """Wraps an entry point so that a UserError ends the program with its sentence only."""

    @functools.wraps(main)
    def wrapped(argv):
        try:
            return main(argv)
        except UserError as error:
            sys.stderr.write(f'error: {error}\n')
            sys.exit(1)

    return wrapped
