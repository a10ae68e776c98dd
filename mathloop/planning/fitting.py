"""The memory of a stage's process on one GPU, and the settings that make it fit where it does not."""

from __future__ import annotations

from typing import Any

from mathloop.models.shapes import Shape
from mathloop.planning.work import Work
from mathloop.settings import Settings
from mathloop.training.gpus import Gpu
from mathloop.training.memory import (
    BFLOAT16,
    CONTEXT,
    FLOAT32,
    FRAGMENTS,
    Need,
    Parts,
    gathered,
    grpo_models,
    learning,
    on_device,
    on_host,
    states,
    trained_parameters,
)

VLLM_WORK = 2.5e9
"""Activations of vLLM's largest batch (8,192 tokens) and its CUDA graphs, in bytes."""
LEAST_SEQUENCES = 4
"""Sequences of full length that vLLM's cache must hold at least."""
PACKED_BYTES = 4 << 30
"""Weights up to this size are packed in a copy while a CPU decodes, as in sampling/operators.py."""
HOST = Gpu(1e9, 0.0, 0.0)
"""Stands for a machine without GPUs, whose memory is not known here."""


def usable(gpu: Gpu) -> float:
    """Bytes of a GPU that a process can have."""
    return gpu.memory_bytes * (1 - FRAGMENTS)


def need(work: Work, settings: Settings, shape: Shape, gpu: Gpu, world: int) -> Need:
    """Memory of one process of the stage. `world`: processes that train together."""
    lasting: Parts = {} if gpu is HOST else {"CUDA context": CONTEXT}
    if work.engine is None:
        assert work.sampling is not None
        if work.scored:
            size = BFLOAT16 if work.sampling.dtype == "bfloat16" else FLOAT32
            lasting["reward model"] = float(size * shape.reward_parameters)
        return Need(lasting | sampler_parts(work, shape, gpu))
    reward = work.stage == "reward_model"
    weights = shape.reward_parameters if reward else shape.parameters
    trained = weights if reward else trained_parameters(shape, work.lora)
    every = states(weights, trained, work.engine, world)
    lasting |= every if gpu is HOST else on_device(every, work.engine)
    host: Parts = {} if gpu is HOST else on_host(every, work.engine)
    learned = learning(shape, work.engine, world, work.longest, head=not reward)
    if work.sampling is None:
        return Need(lasting, {"learning": learned}, host)
    lasting |= grpo_models(shape, settings.grpo)
    sampling: Parts = {}
    if whole := gathered(shape, work.engine, world, whole=True):
        sampling["gathered weights"] = whole
    if work.sampling.engine == "vllm":
        sampling |= sampler_parts(work, shape, gpu)
    else:
        sampling |= _decoding_parts(work, shape, gpu, FLOAT32)
    return Need(lasting, {"sampling": sampling, "learning": learned}, host)


def sampler_parts(work: Work, shape: Shape, gpu: Gpu) -> Parts:
    """What an engine that samples takes; vLLM's parts add up to its share of the GPU."""
    config = work.sampling
    assert config is not None
    # Most processors without a GPU only emulate bfloat16, and compute in float32.
    size = BFLOAT16 if config.dtype == "bfloat16" and gpu is not HOST else FLOAT32
    weights = float(size * shape.parameters) / config.tensor_parallel
    if config.engine == "transformers":
        return {"sampler's weights": weights} | _decoding_parts(work, shape, gpu, size)
    cache = config.gpu_memory * gpu.memory_bytes - weights - VLLM_WORK
    return {"vLLM's weights": weights, "vLLM's work": VLLM_WORK, "vLLM's cache": max(0.0, cache)}


def _decoding_parts(work: Work, shape: Shape, gpu: Gpu, size: int) -> Parts:
    """What transformers takes beside the weights while it decodes a batch."""
    assert work.sampling is not None
    rows = min(float(work.sampling.batch_size), max(1.0, work.samples / work.batches))
    each = max(1.0, work.samples / max(1.0, work.problems))
    prompts = max(1.0, rows / each) * (work.longest - work.sampling.max_tokens)
    parts: Parts = {
        "keys and values": rows * work.longest * shape.cache_bytes(size),
        "next-token logits": 2.0 * FLOAT32 * rows * shape.vocabulary,
        # One layer's: gate, up and their product; queries, keys, values and the residual.
        "prompts being read": prompts * size * (3 * shape.intermediate + 4 * shape.hidden),
    }
    weights = float(size * shape.parameters)
    if gpu is HOST and weights <= PACKED_BYTES:
        parts["packed weights"] = weights
    return parts


def sequences(work: Work, shape: Shape, gpu: Gpu) -> float:
    """Sequences of mean length that one engine decodes at a time."""
    config = work.sampling
    if config is None or config.engine == "transformers":
        return float(config.batch_size) if config else 0.0
    size = BFLOAT16 if config.dtype == "bfloat16" else FLOAT32
    cache = sampler_parts(work, shape, gpu)["vLLM's cache"]
    each = work.length * shape.cache_bytes(size) / config.tensor_parallel
    return min(float(config.batch_size), cache / each)


def lacks(work: Work, settings: Settings, shape: Shape, gpu: Gpu, world: int) -> str:
    """What is too little for the stage, as a sentence's end; empty if it fits."""
    if gpu is HOST:
        return ""
    wanted = need(work, settings, shape, gpu, world)
    if wanted.peak > usable(gpu):
        phase = f" while {wanted.largest}" if len(wanted.phases) > 1 else ""
        return f"needs {wanted.peak / 1e9:.0f} GB per GPU{phase}, of which {usable(gpu) / 1e9:.0f} are usable"
    pool = getattr(settings.pools, work.pool)
    per_pod = sum(wanted.host.values()) * ((work.engine and work.engine.processes) or max(1, pool.gpus))
    if (limit := pool.limit_bytes) and per_pod > limit:
        return (
            f"offloads {per_pod / 1e9:.0f} GB per pod to the host's memory, of which pools.{work.pool}."
            f"memory_limit allows {limit / 1e9:.0f}"
        )
    if work.sampling is not None and work.sampling.engine == "vllm":
        size = BFLOAT16 if work.sampling.dtype == "bfloat16" else FLOAT32
        cache = sampler_parts(work, shape, gpu)["vLLM's cache"]
        least = LEAST_SEQUENCES * work.longest * shape.cache_bytes(size) / work.sampling.tensor_parallel
        if cache < least:
            return (
                f"leaves vLLM {cache / 1e9:.1f} GB for its cache, and {LEAST_SEQUENCES} responses of full "
                f"length need {least / 1e9:.1f}"
            )
    return ""


def change(settings: Settings, path: str, value: Any) -> Settings:
    """The settings with one field changed; `path` as in --set."""
    first, _, rest = path.partition(".")
    inner = change(getattr(settings, first), rest, value) if rest else value
    return settings.model_copy(update={first: inner})


def candidates(work: Work, settings: Settings) -> list[tuple[str, Any]]:
    """Changes that save memory, those that cost least first; each is tried on top of those before it."""
    changes: list[tuple[str, Any]] = []
    if work.sampling is not None:
        base = f"{work.stage}.sampling"
        if work.sampling.dtype == "float32" and (work.engine is None or work.sampling.engine == "vllm"):
            changes.append((f"{base}.dtype", "bfloat16"))
        if work.sampling.engine == "vllm":
            if work.engine is None:
                most = settings.pools.sampler.gpus
                changes += [(f"{base}.tensor_parallel", n) for n in (2, 4, 8) if n <= most]
            shares = (0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2)
            changes += [(f"{base}.gpu_memory", s) for s in shares if s < work.sampling.gpu_memory]
        else:
            sizes = (work.sampling.batch_size >> shift for shift in (1, 2, 3, 4))
            changes += [(f"{base}.batch_size", size) for size in sizes if size >= 1]
    if work.engine is not None:
        base, engine = f"{work.stage}.engine", work.engine
        if engine.dtype == "float32":
            changes.append((f"{base}.dtype", "bfloat16"))
        if not engine.activation_checkpointing:
            changes.append((f"{base}.activation_checkpointing", True))
        changes += [(f"{base}.zero", stage) for stage in (1, 2, 3) if stage > engine.zero]
        sizes = (engine.micro_batch_tokens >> shift for shift in (1, 2, 3))
        changes += [(f"{base}.micro_batch_tokens", size) for size in sizes if size >= 1024]
    return changes
