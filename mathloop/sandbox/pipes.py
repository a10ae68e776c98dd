"""Bytes through the pipes between a caller, its sandbox server and the server's children."""

from __future__ import annotations

import json
import os
from typing import Any

MOST_READ_AT_ONCE = 1 << 18


def read_available(pipe: int) -> bytes:
    """Reads without waiting; empty at the end of the pipe and when it holds nothing."""
    try:
        return os.read(pipe, MOST_READ_AT_ONCE)
    except BlockingIOError:
        return b""


def write_available(pipe: int, data: bytes) -> bytes:
    """Writes without waiting; returns the rest, which is empty once nobody reads any more."""
    try:
        return data[os.write(pipe, data) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""


def read_exactly(pipe: int, size: int) -> bytes:
    """Waits for `size` bytes. Raises EOFError where the pipe ends before."""
    data = b""
    while len(data) < size:
        part = os.read(pipe, size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def framed(data: bytes) -> bytes:
    """A message's bytes after their length (4 bytes, big-endian)."""
    return len(data).to_bytes(4, "big") + data


def read_message(pipe: int) -> Any:
    """Waits for a framed JSON message. Raises EOFError at the end of the pipe."""
    return json.loads(read_exactly(pipe, int.from_bytes(read_exactly(pipe, 4), "big")))


def write_message(pipe: int, message: dict[str, Any]) -> None:
    """Writes a framed JSON message, waiting for the reader."""
    view = memoryview(framed(json.dumps(message).encode()))
    while view:
        view = view[os.write(pipe, view) :]
