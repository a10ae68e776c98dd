"""A device's capacity: memory before training starts, utilization while it runs."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

from mathloop.errors import BadConfig
from mathloop.models.memory import ran_out
from mathloop.training.config import EngineConfig
from mathloop.training.gpus import peak_tflops
from mathloop.training.ranks import Ranks

GIB = 1 << 30


def check_memory(module: nn.Module, config: EngineConfig, ranks: Ranks) -> None:
    """Raises BadConfig if weights, gradients and optimizer alone exceed a device's free memory."""
    weights = 4.0 * sum(p.numel() for p in module.parameters())
    trained = 4.0 * sum(p.numel() for p in module.parameters() if p.requires_grad)
    moments, gradients = 2 * trained, trained
    if config.zero >= 1:
        moments /= ranks.world
    if config.zero >= 2:
        gradients /= ranks.world
    if config.zero >= 3:
        weights /= ranks.world
    need, free = weights + gradients + moments, _free_memory(ranks.device)
    on_cpu = ranks.device.type == "cpu"
    here = need - weights if on_cpu else need  # the weights are in this memory already
    if here > free:
        raise BadConfig(
            f"the model needs {need / GIB:.1f} GiB per process for weights, gradients and optimizer, and "
            f"{free / GIB:.1f} GiB are free on {ranks.device}: raise engine.zero and the number of "
            "processes, use lora, or take a smaller model"
        )


def out_of_memory(error: BaseException, config: EngineConfig) -> str | None:
    """Advice if `error` means that memory ran out, else None."""
    if not ran_out(error):
        return None
    more = "" if config.activation_checkpointing else ", set engine.activation_checkpointing=true"
    return (
        f"out of memory with engine.micro_batch_tokens={config.micro_batch_tokens}: halve it{more}, "
        "or raise engine.zero and the number of processes; then start again to resume"
    )


class Utilization:
    """Tokens per second, and model FLOPs utilization (PaLM, arXiv 2204.02311, appendix B).

    Counts the matrix products of forward and backward, 6 FLOPs per weight and token, without attention's own.
    """

    def __init__(self, module: nn.Module, config: EngineConfig, ranks: Ranks) -> None:
        embedded = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        heads = [m.weight for m in module.modules() if isinstance(m, nn.Linear)]
        tied = sum(weight.numel() for weight in heads if id(weight) in embedded)
        counted = sum(p.numel() for p in module.parameters() if id(p) not in embedded)
        self._flops = 6.0 * (counted + tied)
        peak = config.peak_tflops or _peak(ranks.device)
        self._peak = peak * 1e12 * ranks.world if peak else None
        self._last = time.monotonic()

    def measure(self, tokens: int) -> dict[str, float]:
        """Values of the step that ends now, with `tokens` of all ranks."""
        now = time.monotonic()
        seconds, self._last = max(now - self._last, 1e-9), now
        if not tokens:
            return {}
        rate = tokens / seconds
        values = {"tokens per second": rate}
        if self._peak:
            values["utilization"] = rate * self._flops / self._peak
        return values


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return peak_tflops(torch.cuda.get_device_name(device))


def _free_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = _meminfo()
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, taken = _number(limit), _number(used)
        if most is not None and taken is not None:
            free = min(free, most - taken)
    return free


def _meminfo() -> float:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return float("inf")


def _number(path: str) -> float | None:
    try:
        return float(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max", or no such file
        return None
