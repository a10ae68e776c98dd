"""The identity of a training: only its own checkpoints may be resumed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import Tensor, nn

HOW: dict[str, Any] = {
    "engine": True,
    "optimizer": {"checkpoint_steps"},
    "sampling": {"engine", "dtype", "batch_size", "gpu_memory", "engines", "tensor_parallel"},
}
"""Settings of how a training runs, not of what it learns: they are no part of its identity."""

SAMPLE = "mathloop_sample"
"""Attribute of a weight that is in shards: the `sample` of the whole."""


def fingerprint(module: nn.Module, *identity: object) -> str:
    """SHA-256 of JSON values (recipe, settings, seed, steps, data) and of a sample of the weights."""
    digest = hashlib.sha256(json.dumps(identity).encode())
    for name, parameter in module.named_parameters():
        taken = getattr(parameter, SAMPLE, None)
        digest.update(name.encode() + (sample(parameter) if taken is None else taken).numpy().tobytes())
    return digest.hexdigest()


def sample(weight: Tensor) -> Tensor:
    """Enough of a weight to distinguish models without reading gigabytes twice; float32, on the CPU."""
    return weight.detach().reshape(-1)[:: max(1, weight.numel() // 256)].float().cpu().clone()
