"""Runs the blocks of a program inside its child, as a notebook runs its cells."""

from __future__ import annotations

import ast
import builtins
import random
import sys
import traceback
from collections.abc import Mapping
from typing import Any

MOST_ERROR_CHARS = 2000
"""Length of an error's last line."""


def fresh_names() -> dict[str, Any]:
    """The variables of a program that has run nothing."""
    return {"__name__": "__main__", "__builtins__": builtins}


class Program:
    """The blocks of one program, and the variables that they share."""

    def __init__(self, star_imported: Mapping[str, dict[str, Any]]) -> None:
        """`star_imported`: by module, the variables of a program that has only run `from MODULE import *`."""
        self.names = fresh_names()
        self._star_imported = star_imported

    def run(self, code: str) -> tuple[str, str]:
        """Runs one block and prints the value of its last expression; returns status and error line."""
        try:
            tree = ast.parse(code, "<block>")
            if (module := _star_import(tree)) in self._star_imported:
                self.names = self._star_imported[module]
                tree.body.pop(0)
            self._star_imported = {}
            last = tree.body[-1] if tree.body else None
            if isinstance(last, ast.Expr):
                tree.body.pop()
            exec(compile(tree, "<block>", "exec"), self.names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "<block>", "eval"), self.names)
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


def _star_import(tree: ast.Module) -> str:
    """The module of a block that begins with `from MODULE import *`, else ""."""
    first = tree.body[0] if tree.body else None
    if isinstance(first, ast.ImportFrom) and not first.level and first.names[0].name == "*":
        return first.module or ""
    return ""


def seed_generators(seed: int) -> None:
    """Seeds every generator that a program may use without seeding it itself."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed(seed % (1 << 32))
    if sympy := sys.modules.get("sympy.core.random"):
        sympy.seed(seed)
