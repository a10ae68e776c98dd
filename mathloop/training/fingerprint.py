"""The identity of a training: only its own checkpoints may be resumed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

HOW: dict[str, Any] = {
    "engine": True,
    "optimizer": {"checkpoint_steps"},
    "sampling": {"engine", "dtype", "batch_size", "gpu_memory", "engines", "tensor_parallel"},
}
"""Settings of how a training runs, not of what it learns: they are no part of its identity."""


def fingerprint(module: nn.Module, *identity: object) -> str:
    """SHA-256 of JSON values (recipe, settings, seed, steps, data) and of a sample of the weights."""
    digest = hashlib.sha256(json.dumps(identity).encode())
    for name, parameter in module.named_parameters():
        # Enough of the weights to distinguish models without reading gigabytes twice.
        sample = parameter.detach().reshape(-1)[:: max(1, parameter.numel() // 256)]
        digest.update(name.encode() + sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()
