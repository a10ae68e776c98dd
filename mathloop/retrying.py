"""Waiting for a server that is away, such as a store whose pod moves: tries again, with growing pauses."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from mathloop.errors import BadConfig

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
PATIENCE_VARIABLE = "MATHLOOP_PATIENCE"
"""Seconds that a store or an API server is waited for: set in the pods of runs, not at a terminal."""

T = TypeVar("T")


class Patience:
    """Pauses between tries, each twice as long as the one before, until `seconds` have passed."""

    def __init__(self, seconds: float, say: Callable[[str], None] | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._say = say or _to_stderr
        self._pause = FIRST_SECONDS

    def wait(self, error: Exception) -> None:
        """Says that it will be tried again, and waits; raises `error` where the time is over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise error
        pause = min(self._pause, LONGEST_SECONDS, left)
        self._say(f"{error}; trying again in {pause:.0f} s, for {left:.0f} s in all")
        time.sleep(pause)
        self._pause *= 2


def retrying(
    call: Callable[[], T],
    *,
    away: type[Exception],
    seconds: float,
    say: Callable[[str], None] | None = None,
) -> T:
    """The result of `call`, which is tried again while it raises `away`, for `seconds`."""
    patience = Patience(seconds, say)
    while True:
        try:
            return call()
        except away as error:
            patience.wait(error)


def patience_seconds() -> float:
    """The value of PATIENCE_VARIABLE; 0 where it is not set. Raises BadConfig."""
    text = os.environ.get(PATIENCE_VARIABLE, "").strip() or "0"
    if not text.isdecimal():
        raise BadConfig(f"{PATIENCE_VARIABLE} is not a number of seconds; expected one like 180")
    return float(text)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
