"""Reading Python source in tests."""

import ast

from seqface_jax.commands import garbage


def read(path):
    """Returns the syntax tree of a Python file, with no search for garbage while it is read.

    What such a search drops may print a traceback, and Python 3.11 reads source to print one: of
    two readings, one inside the other, the outer fails with "AST constructor recursion depth
    mismatch".
    """
    with garbage.left_alone():
        return ast.parse(path.read_text(encoding='utf-8'))
