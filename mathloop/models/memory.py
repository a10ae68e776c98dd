"""Whether an error means that memory ran out."""

from __future__ import annotations

import torch


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that a GPU's memory or this machine's ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch's CPU allocator and some kernels raise a plain RuntimeError.
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
