"""Errors a person can mend: one sentence that says what, where and what to do."""

import atexit
import contextlib
import errno
import functools
import gc
import sys

_DISK_ERRORS = {
    errno.ENOSPC: 'No space left on device',
    errno.EDQUOT: 'Disk quota exceeded',
    errno.EROFS: 'Read-only file system',
}


# What JAX and its plugins say where a device is missing or cannot be used.
_DEVICE_PHRASES = (
    'Unable to initialize backend',
    'Unknown backend',
    'no supported devices found',
    'No visible GPU',
    'CUDA_ERROR',
    'CUDA driver',
    'not in the list of known backends',
)
_MEMORY_PHRASES = ('RESOURCE_EXHAUSTED: Out of memory', 'RESOURCE_EXHAUSTED: Failed to allocate')
_MEMORY_PHRASES += ('Cannot allocate memory', 'Out of memory', 'out of memory', 'bad_alloc')


# Errors of files that are evidence of damage: one is missing, or stands where a folder should.
_DAMAGE_ERRNOS = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL)
# What libraries that only quote the system say of files that may be whole.
_UNREAD_PHRASES = ('PERMISSION_DENIED', 'Permission denied', 'Too many open files')
_UNREAD_PHRASES += ('Input/output error', 'Stale file handle', 'DEADLINE_EXCEEDED')


class UserError(Exception):
    """Raised for bad input; the entry scripts print its sentence and exit with status 1."""


def check_choice(name, choices, what):
    """Raises UserError unless `name` is one of `choices`; `what` says what they are."""
    if name not in choices:
        raise UserError(f"there is no {what} '{name}': choose of {', '.join(choices)}")


@contextlib.contextmanager
def writing_to(output):
    """Raises UserError where the block cannot write to `output`, the folder of --output."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f'cannot write to {output} ({error.strerror}): choose another --output'
        ) from error


def exit_on_user_error(main):
    """Wraps an entry point so that a UserError, a full disk, a missing device or memory that
    runs out ends the program with a sentence."""

    @functools.wraps(main)
    def wrapped(argv):
        # A process that ends need not search all that it imported for garbage.
        atexit.register(gc.freeze)
        try:
            return main(argv)
        except UserError as error:
            sys.stderr.write(f'error: {error}\n')
            sys.exit(1)
        except Exception as error:  # noqa: BLE001 - each library has its own for these.
            sentence = disk_error(error) or device_error(error)
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


def device_error(error):
    """Returns the sentence for an error of the device or of memory, or None.

    Such an error says nothing about the files that were read when it came.
    """
    while error is not None:
        text = ' '.join(str(error).split())
        if isinstance(error, MemoryError) or any(phrase in text for phrase in _MEMORY_PHRASES):
            return (
                'memory ran out: end other programs, or choose smaller batches (training: '
                '--config.data.batch_size) or JAX_PLATFORMS=cpu where it is the memory of a GPU'
            )
        if any(phrase in text for phrase in _DEVICE_PHRASES):
            return (
                f'JAX cannot use the device ({text[:200]}): unset JAX_PLATFORMS or set it to cpu; '
                '`python -m seqface_jax.doctor` tells what is there'
            )
        error = error.__cause__ or error.__context__
    return None


def unread(error):
    """Returns why a file could not be read that may be whole, a few words; None: it is damaged."""
    while error is not None:
        text = ' '.join(str(error).split())
        if isinstance(error, OSError) and error.errno not in _DAMAGE_ERRNOS:
            return error.strerror or text[:200]
        if isinstance(error, MemoryError) or any(phrase in text for phrase in _UNREAD_PHRASES):
            return text[:200] or 'out of memory'
        error = error.__cause__ or error.__context__
    return None
