"""Whether an error means that memory ran out; giving memory back, and keeping it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def give_back() -> None:
    """Leaves what PyTorch has in reserve on a GPU to others, such as an engine's process."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
_KEPT = 1 << 28
"""Bytes of the largest tensor that is not returned to the system when it is freed."""


def keep_freed() -> None:
    """Has glibc keep this process's freed memory for its next tensors, where the C library is glibc.

    Otherwise each training step returns most of its activations to the system and faults every page in again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, _KEPT)


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that a GPU's memory or this machine's ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch's CPU allocator and some kernels raise a plain RuntimeError.
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def if_it_fits(call: Callable[[], T]) -> T | None:
    """The result of `call`; None where memory ran out, whose tensors are freed by then."""
    try:
        return call()
    except Exception as error:
        if not ran_out(error):
            raise
        return None
