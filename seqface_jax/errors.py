"""Errors a person can mend: one sentence that says what, where and what to do."""

import errno
import functools
import sys

_DISK_ERRORS = {
    errno.ENOSPC: 'No space left on device',
    errno.EDQUOT: 'Disk quota exceeded',
    errno.EROFS: 'Read-only file system',
}


class UserError(Exception):
    """Raised for bad input; the entry scripts print its sentence and exit with status 1."""


def check_choice(name, choices, what):
    """Raises UserError unless `name` is one of `choices`; `what` says what they are."""
    if name not in choices:
        raise UserError(f"there is no {what} '{name}': choose of {', '.join(choices)}")


def exit_on_user_error(main):
    """Wraps an entry point so that a UserError or a full disk ends the program with a sentence."""

    @functools.wraps(main)
    def wrapped(argv):
        try:
            return main(argv)
        except UserError as error:
            sys.stderr.write(f'error: {error}\n')
            sys.exit(1)
        except Exception as error:  # noqa: BLE001 - each library has its own for a full disk.
            sentence = disk_error(error)
            if sentence is None:
                raise
            sys.stderr.write(f'error: {sentence}\n')
            sys.exit(1)

    return wrapped


def disk_error(error):
    """Returns the sentence for an error that a full or read-only disk caused, or None.

    Everything here is written as a draft that takes its place when it is whole, so that what was
    there before is still there.
    """
    while error is not None:
        number, text = getattr(error, 'errno', None), str(error)
        for known, phrase in _DISK_ERRORS.items():  # TensorStore and ArrayRecord only quote it.
            if number == known or phrase in text:
                return (
                    f'cannot write to the disk ({phrase}): make room and run the same command '
                    'again; what was finished before is kept'
                )
        error = error.__cause__ or error.__context__
    return None
