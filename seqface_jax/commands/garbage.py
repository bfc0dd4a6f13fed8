"""When Python's search for garbage waits."""

import contextlib
import gc


@contextlib.contextmanager
def left_alone():
    """Pauses the search for garbage: it finds none among the many objects of a program to come."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
