"""The deadline of a verdict in this process; the prover's worker has its own."""

from __future__ import annotations

import math
import threading
import time


class Undecided(Exception):
    """Not decided before the deadline or within the limits; the message says which."""


class _Clock(threading.local):
    end = math.inf
    seconds = math.inf


_clock = _Clock()


def start(seconds: float) -> None:
    """Starts this thread's deadline, `seconds` from now."""
    _clock.seconds = seconds
    _clock.end = time.monotonic() + seconds


def stop() -> None:
    """Removes this thread's deadline."""
    _clock.end = math.inf


def remaining() -> float:
    """Seconds until the deadline; infinite if none is set."""
    return _clock.end - time.monotonic()


def extend(seconds: float) -> None:
    """Moves the deadline by `seconds`, to leave out time spent waiting."""
    _clock.end += seconds


def check() -> None:
    """Raises `Undecided` after the deadline; called wherever the work may grow with the answer."""
    if time.monotonic() > _clock.end:
        raise Undecided(f"not decided within {_clock.seconds:.1f} s")
