"""Standard input, output and error of a command, whatever its caller made of them."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from mathloop.errors import BadData, StorageRefused


def prepare() -> None:
    """Gives all three streams a file; output becomes UTF-8 and raises StorageRefused where it is lost.

    Raises:
        StorageRefused: standard output is closed.
    """
    # In this order a closed stream's number is taken by what stands in for it, not by a data file.
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
    """Standard input as text; raises BadData where it is not UTF-8."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadData(f"not UTF-8 (byte {error.start}); send UTF-8", path="standard input") from None


def complain(text: str) -> None:
    """Prints one line on standard error; where that is lost too, the exit code is left to tell."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    with suppress(OSError):
        print(f"mathloop: error: {shown}", file=sys.stderr, flush=True)


class _Output(io.FileIO):
    refused = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.refused:  # said already; Python would try again as it exits
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.refused = True
            raise StorageRefused(
                f"standard output: {error.strerror}; what was printed is not complete: send it elsewhere"
            ) from None
