"""Standard input, output and error of a command, even if its caller closed some of them."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from mathloop.errors import BadData, StorageRefused


def prepare() -> None:
    """Opens closed streams on /dev/null; makes output UTF-8, which raises StorageRefused if a write fails.

    Raises:
        StorageRefused: standard output is closed.
    """
    # In this order, a closed stream's file descriptor is reused by its replacement, not by a data file.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    closed = sys.stdout is None
    if closed:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if closed:
        raise StorageRefused("standard output is closed; send it to a terminal, a file or a pipe")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",  # half a surrogate pair becomes JSON's own \udXXX
        line_buffering=bool(sys.stdout.line_buffering),
        write_through=bool(getattr(sys.stdout, "write_through", False)),
    )


def read_program() -> str:
    """Standard input as text; raises BadData if it is not UTF-8."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadData(f"not UTF-8 (byte {error.start}); send UTF-8", path="standard input") from None


def print_error(text: str) -> None:
    """Prints one line on standard error; if that fails too, only the exit code remains."""
    with suppress(OSError):
        print(f"mathloop: error: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


def visible(line: str) -> str:
    """Escapes control characters: a model may write terminal commands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class _Output(io.FileIO):
    refused = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.refused:  # already reported; Python would write again at exit
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.refused = True
            raise StorageRefused(
                f"standard output: {error.strerror}; the output is incomplete: redirect it elsewhere"
            ) from None
