"""Memory that was freed goes back to the system.

glibc keeps what lies between blocks that are still in use: the tensors of batches of many sizes made a server
under load grow by a third in two minutes, though nothing held them.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress


def return_memory() -> None:
    """Gives freed memory back; does nothing where the C library is not glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
