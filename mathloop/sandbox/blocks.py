"""Runs the blocks of a program inside its child, as a notebook runs its cells."""

from __future__ import annotations

import ast
import random
import sys
import traceback
from typing import Any

MOST_ERROR_CHARS = 2000
"""Length of an error's last line."""


def run_block(code: str, names: dict[str, Any]) -> tuple[str, str]:
    """Runs one block and prints the value of its last expression; returns status and error line."""
    try:
        tree = ast.parse(code, "<block>")
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
        exec(compile(tree, "<block>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<block>", "eval"), names)
            if value is not None:
                print(repr(value))
    except SystemExit as error:
        if error.code in (None, 0):
            return "ok", ""
        return "error", f"SystemExit: {error.code}"[:MOST_ERROR_CHARS]
    except BaseException as error:
        refused = isinstance(error, PermissionError)
        status = "memory" if isinstance(error, MemoryError) else "refused" if refused else "error"
        return status, traceback.format_exception_only(error)[-1].strip()[:MOST_ERROR_CHARS]
    return "ok", ""


def seed_generators(seed: int) -> None:
    """Seeds every generator that a program may use without seeding it itself."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed(seed % (1 << 32))
    if sympy := sys.modules.get("sympy.core.random"):
        sympy.seed(seed)
