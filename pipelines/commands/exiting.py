"""How a command exits after an error or an interrupt: one line, and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

from mathloop.errors import UserError
from pipelines import streams

INTERRUPTED = 130


def fail(message: str, code: int = UserError.exit_code) -> NoReturn:
    """Prints the error and exits."""
    streams.print_error(message)
    sys.exit(code)
