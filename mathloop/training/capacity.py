"""A device's capacity: memory before training starts, utilization while it runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from mathloop.errors import BadConfig, BadModel
from mathloop.models.memory import ran_out
from mathloop.models.shapes import read_shape
from mathloop.training.config import EngineConfig, GRPOConfig, RewardModelConfig, SFTConfig
from mathloop.training.gpus import peak_tflops
from mathloop.training.memory import on_device, states, training_need
from mathloop.training.ranks import Ranks

GIB = 1 << 30


def check_recipe(
    recipe: Literal["sft", "reward_model", "grpo"],
    policy: Path,
    config: SFTConfig | RewardModelConfig | GRPOConfig,
    ranks: Ranks,
) -> None:
    """Raises BadConfig where a training cannot fit this device, before any weight of its models is loaded.

    Counted by the policy's config.json: weights, gradients, optimizer, reference, reward model, the copy that
    ZeRO-3 gathers for the sampler, vLLM's share; on a GPU also the activations and logits of a micro-batch of
    one longest sample. An architecture that is not known is left to `check_memory`.
    """
    try:
        shape = read_shape(policy)
    except BadModel:
        return
    total, free = _memory(ranks.device)
    need = training_need(recipe, shape, config, ranks.world, total if ranks.device.type == "cuda" else None)
    offloaded, room = sum(need.host.values()), _free_memory() / _processes_here()
    if offloaded > room:
        raise BadConfig(
            f"{recipe} offloads {offloaded / GIB:.1f} GiB per process, and {room / GIB:.1f} GiB of this "
            f"machine's memory are free for each: set {recipe}.engine.offload to none, or use more nodes; "
            "`mathloop plan` shows what fits"
        )
    if need.peak <= free / _sharing(ranks):
        return
    parts = sorted(need.parts.items(), key=lambda part: -part[1])
    shown = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts if size > need.peak / 50)
    advice = "; ".join(_ADVICE[name].format(stage=recipe) for name, _ in parts[:2] if name in _ADVICE)
    phase = f" while {need.largest}" if len(need.phases) > 1 else ""
    raise BadConfig(
        f"{recipe} needs {need.peak / GIB:.1f} GiB per process{phase} ({shown}), and "
        f"{free / _sharing(ranks) / GIB:.1f} GiB are free on {ranks.device}: "
        f"{advice or _MORE.format(stage=recipe)}; `mathloop plan` shows what fits"
    )


_MORE = "raise {stage}.engine.zero and the number of processes"
_ADVICE = {
    "weights": _MORE,
    "optimizer": _MORE,
    "gradients": _MORE,
    "gathered weights": "set {stage}.sampling.engine to vllm with a small gpu_memory, or use {stage}.lora",
    "vLLM": "lower {stage}.sampling.gpu_memory",
    "reference": "set {stage}.lora, or {stage}.beta to 0",
    "reward model": "set {stage}.engine.dtype to bfloat16",
    "activations": "set {stage}.engine.activation_checkpointing to true",
}
"""Part of the memory → the setting that lowers it."""


def check_memory(module: nn.Module, config: EngineConfig, ranks: Ranks) -> None:
    """Raises BadConfig if weights, gradients and optimizer alone exceed a device's free memory."""
    weights = sum(_size(p) for p in module.parameters())
    trained = sum(_size(p) for p in module.parameters() if p.requires_grad)
    parts = states(weights, trained, config, ranks.world)
    if ranks.device.type == "cuda":
        parts = on_device(parts, config)
    need, free = sum(parts.values()), _memory(ranks.device)[1]
    # What is there already is no longer free, and is not loaded twice.
    held = [getattr(p, "ds_tensor", p) for p in module.parameters()]
    there = sum(tensor.numel() * tensor.element_size() for tensor in held if tensor.device == ranks.device)
    if need - there > free:
        raise BadConfig(
            f"the model needs {need / GIB:.1f} GiB per process for weights, gradients and optimizer, and "
            f"{free / GIB:.1f} GiB are free on {ranks.device}: raise engine.zero and the number of "
            "processes, use lora, or take a smaller model"
        )


def _size(parameter: torch.Tensor) -> int:
    """Numbers in the whole parameter, of which ZeRO-3 may hold a shard here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _sharing(ranks: Ranks) -> int:
    """Processes that share this device's memory."""
    return _processes_here() if ranks.device.type == "cpu" else 1


def _processes_here() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


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
        tied = sum(_size(weight) for weight in heads if id(weight) in embedded)
        counted = sum(_size(p) for p in module.parameters() if id(p) not in embedded)
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


def _memory(device: torch.device) -> tuple[float, float]:
    """(bytes of the device, inf for a CPU; bytes of them that are free)."""
    if device.type == "cuda":
        free_bytes, total = torch.cuda.mem_get_info(device)
        return float(total), float(free_bytes)
    return float("inf"), _free_memory()


def _free_memory() -> float:
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
