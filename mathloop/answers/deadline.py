"""The time that one verdict may take in this process; the worker that proves has its own clock."""

from __future__ import annotations

import math
import threading
import time


class Undecided(Exception):
    """Not found out before the deadline or within the limits; the message says which."""


class _Clock(threading.local):
    end = math.inf
    seconds = math.inf


_clock = _Clock()


def start(seconds: float) -> None:
    """From now on this thread may think for so many seconds."""
    _clock.seconds = seconds
    _clock.end = time.monotonic() + seconds


def stop() -> None:
    """This thread has all the time again."""
    _clock.end = math.inf


def left() -> float:
    """Seconds until the deadline; infinite where none was set."""
    return _clock.end - time.monotonic()


def extend(seconds: float) -> None:
    """Does not count what was waited for something else."""
    _clock.end += seconds


def check() -> None:
    """Called wherever work may grow with the answer; raises `Undecided` when the time is over."""
    if time.monotonic() > _clock.end:
        raise Undecided(f"not decided within {_clock.seconds:.1f} s")
