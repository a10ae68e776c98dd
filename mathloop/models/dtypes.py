"""The dtype to compute in: bfloat16 only where the processor multiplies it faster than float32."""

from __future__ import annotations

import logging
from functools import cache

import torch

_log = logging.getLogger(__name__)


def working_dtype(name: str) -> torch.dtype:
    """The dtype that a setting names; float32 in place of a bfloat16 that the CPU would only emulate."""
    dtype: torch.dtype = getattr(torch, name)
    if dtype == torch.bfloat16 and not fast_bfloat16("cuda" if torch.cuda.is_available() else "cpu"):
        _say_once()
        return torch.float32
    return dtype


def fast_bfloat16(device: str) -> bool:
    """Whether a kind of device multiplies bfloat16 matrices fast; a CPU without AVX-512 or AMX does not.

    Emulated, a product of large matrices took 10 to 40 times as long as in float32 (torch 2.13, AVX2).
    """
    if device != "cpu":
        return True
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def _say_once() -> None:
    _log.info("this processor has no bfloat16 products: computing in float32, which is faster here")
