"""How a command ends that was refused or stopped: one line, and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

from mathloop.errors import UserError
from pipelines import streams

INTERRUPTED = 130


def end(said: str, code: int = UserError.exit_code) -> NoReturn:
    """Says what was refused, and leaves."""
    streams.complain(said)
    sys.exit(code)
