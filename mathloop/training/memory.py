"""The memory of a training process, part by part, in bytes. Arithmetic alone: no torch, no model.

`capacity` refuses by it what does not fit, before anything is loaded; `mathloop plan` shows it. Sources and
derivations are in docs/plan.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mathloop.models.shapes import Shape
from mathloop.training.config import EngineConfig, GRPOConfig, LoRAConfig, RewardModelConfig, SFTConfig

LOGITS = 1 << 26
"""Logits per piece of the LM head's output, as in logprobs."""
BUCKET = 500_000_000
"""DeepSpeed's reduce_bucket_size: gradients that are sent together."""
LIVE = 1_000_000_000
"""DeepSpeed's stage3_max_live_parameters: weights that ZeRO-3 keeps gathered during a pass."""
CONTEXT = 1.5e9
"""CUDA context, NCCL's buffers and cuBLAS workspaces of a process, in bytes."""
FRAGMENTS = 0.05
"""Share of a GPU that PyTorch's allocator cannot use, being in pieces of the wrong size."""
FLOAT32, BFLOAT16 = 4, 2

Parts = dict[str, float]


@dataclass(frozen=True)
class Need:
    """What a process needs: parts that stay, and phases of which one is there at a time."""

    lasting: Parts
    phases: Mapping[str, Parts] = field(default_factory=dict)
    """Name → parts, such as sampling and learning of GRPO."""
    host: Parts = field(default_factory=dict)
    """What is offloaded to the host's memory instead."""

    @property
    def peak(self) -> float:
        """Bytes of the lasting parts and the largest phase."""
        return sum(self.lasting.values()) + max((sum(p.values()) for p in self.phases.values()), default=0.0)

    @property
    def largest(self) -> str:
        """The phase of the peak; empty without phases."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()), default="")

    @property
    def parts(self) -> Parts:
        """All parts at the peak."""
        return {**self.lasting, **self.phases.get(self.largest, {})}


def on_device(parts: Parts, engine: EngineConfig) -> Parts:
    """Those of the `states` that are on the GPU."""
    return {name: size for name, size in parts.items() if name not in _offloaded(engine)}


def on_host(parts: Parts, engine: EngineConfig) -> Parts:
    """Those that are offloaded: DeepSpeed keeps them in the host's memory."""
    return {name: size for name, size in parts.items() if name in _offloaded(engine)}


def _offloaded(engine: EngineConfig) -> set[str]:
    if engine.offload == "none" or not engine.zero:
        return set()
    states = {"optimizer", "gradients"}
    return states | {"weights"} if engine.offload == "parameters" and engine.zero == 3 else states


def states(weights: float, trained: float, engine: EngineConfig, world: int) -> Parts:
    """Weights, gradients and optimizer of one process, wherever they are.

    ZeRO (arXiv 1910.02054, section 3): 2 + 2 + 12 bytes per parameter in mixed precision. Here gradients are
    summed in float32, so 2 + 4 + 12; without ZeRO the weights are float32 themselves, 4 + 4 + 8.

    Args:
        weights: all parameters, frozen ones included.
        trained: parameters with gradients.
        world: processes.
    """
    size = BFLOAT16 if engine.dtype == "bfloat16" else FLOAT32
    if not engine.zero:
        parts = {"weights": FLOAT32 * weights, "gradients": FLOAT32 * trained, "optimizer": 8 * trained}
        if size == BFLOAT16:
            # Autocast caches what it casts of trained weights; a cast of a frozen one is kept for backward,
            # unless that casts again.
            copied = trained if engine.activation_checkpointing else weights
            parts["bfloat16 copy of the weights"] = BFLOAT16 * copied
        return parts
    shards = {name: world if engine.zero >= stage else 1 for name, stage in _SHARDED.items()}
    parts = {
        "weights": size * weights / shards["weights"],
        "gradients": FLOAT32 * trained / shards["gradients"],
        "optimizer": 8 * trained / shards["optimizer"],
        "gradients in flight": size * min(BUCKET, trained),
    }
    if engine.zero < 2 and size == BFLOAT16:
        parts["gradients in flight"] = size * trained
    if size == BFLOAT16 or engine.zero < 3:
        parts["optimizer"] += FLOAT32 * trained / shards["optimizer"]  # the float32 weights it steps
    return parts


_SHARDED = {"optimizer": 1, "gradients": 2, "weights": 3}
"""Part → the first ZeRO stage that shards it over the processes."""


def gathered(shape: Shape, engine: EngineConfig, world: int, *, whole: bool = False) -> float:
    """Weights that ZeRO-3 has gathered from other processes: those of a pass, or the `whole` model."""
    offloaded = engine.offload == "parameters"
    if engine.zero < 3 or (world == 1 and not offloaded):
        return 0.0
    size = BFLOAT16 if engine.dtype == "bfloat16" else FLOAT32
    most = shape.parameters if whole else min(shape.parameters, max(LIVE, shape.embedding))
    return float(size * most) * (1 if offloaded else 1 - 1 / world)


def activations(shape: Shape, tokens: float, engine: EngineConfig) -> float:
    """What the forward pass keeps of `tokens` for the backward pass.

    Per token and layer, in elements: the inputs of the linear layers and of attention (4 hidden, 4 queries, 4
    keys and values), gate, up, their activation and product (4 intermediate); and the norms' float32 copies.
    Recomputed, only each layer's input stays, and one layer's activations. As arXiv 2205.05198, section 4,
    for a gated MLP, flash attention and no dropout; measured in test_training_memory.
    """
    half = engine.dtype == "bfloat16"
    size = BFLOAT16 if half else FLOAT32
    stream = size if engine.zero else FLOAT32  # without ZeRO the layers add up in the weights' float32
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    layer = size * (4 * shape.intermediate + 4 * queries + 4 * keys) + stream * 4 * shape.hidden
    layer += (2 * FLOAT32 + (2 * BFLOAT16 if half else 0)) * shape.hidden
    if engine.activation_checkpointing:
        return tokens * (stream * shape.hidden * shape.layers + layer)
    return tokens * layer * shape.layers


def logits(shape: Shape, tokens: float) -> float:
    """Three float32 copies of a piece of the LM head's output: logits, their softmax, its gradient."""
    return 3.0 * FLOAT32 * min(LOGITS, tokens * shape.vocabulary)


def trained_parameters(shape: Shape, lora: LoRAConfig | None) -> float:
    """Parameters that a training changes: all, or those of adapters on the linear layers."""
    if lora is None:
        return float(shape.parameters)
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    ends = {
        "q_proj": shape.hidden + queries,
        "k_proj": shape.hidden + keys,
        "v_proj": shape.hidden + keys,
        "o_proj": shape.hidden + queries,
        "gate_proj": shape.hidden + shape.intermediate,
        "up_proj": shape.hidden + shape.intermediate,
        "down_proj": shape.hidden + shape.intermediate,
    }
    chosen = lora.targets or tuple(ends)
    return float(lora.rank * shape.layers * sum(ends.get(name.rpartition(".")[2], 0) for name in chosen))


def learning(shape: Shape, engine: EngineConfig, world: int, longest: int, *, head: bool = True) -> Parts:
    """What the passes over a micro-batch take beside the states.

    Args:
        longest: tokens of the longest sample, which may be more than `micro_batch_tokens`.
        head: whether there are logits; a reward model has none.
    """
    tokens = max(engine.micro_batch_tokens, longest)
    parts = {"activations": activations(shape, tokens, engine)}
    if head:
        parts["logits"] = logits(shape, tokens)
    if live := gathered(shape, engine, world):
        parts["gathered weights"] = live
    return parts


def grpo_models(shape: Shape, config: GRPOConfig) -> Parts:
    """The models beside the policy that GRPO keeps on every GPU: reference and reward model."""
    size = BFLOAT16 if config.engine.dtype == "bfloat16" else FLOAT32
    parts: Parts = {"reward model": float(size * shape.reward_parameters)}
    if config.beta and config.lora is None:
        parts["reference"] = float(size * shape.parameters)
        if size == BFLOAT16 and not config.engine.zero:
            parts["reference"] += size * shape.embedding  # which autocast leaves in float32
    return parts


def training_need(
    recipe: str,
    shape: Shape,
    config: SFTConfig | RewardModelConfig | GRPOConfig,
    world: int,
    gpu_bytes: float | None,
) -> Need:
    """What a process of a recipe needs at least, with `gpu_bytes` of memory; None on a CPU.

    Activations are those of one sample of `max_tokens` where it is learned from, which may be less than a
    micro-batch: more is not certain before the data are read.
    """
    lasting: Parts = {} if gpu_bytes is None else {"CUDA context": CONTEXT}
    if isinstance(config, RewardModelConfig):
        weights = float(shape.reward_parameters)
        trained = weights
    else:
        weights, trained = float(shape.parameters), trained_parameters(shape, config.lora)
    every = states(weights, trained, config.engine, world)
    # On a CPU it is all the same memory.
    lasting |= every if gpu_bytes is None else on_device(every, config.engine)
    phases: dict[str, Parts] = {}
    if gpu_bytes is not None:
        longest = config.sampling.max_tokens if isinstance(config, GRPOConfig) else config.max_tokens
        tokens = min(longest, config.engine.micro_batch_tokens)
        one = config.engine.model_copy(update={"micro_batch_tokens": 1})
        phases["learning"] = learning(shape, one, world, tokens, head=recipe != "reward_model")
    if isinstance(config, GRPOConfig):
        lasting |= grpo_models(shape, config)
        sampling: Parts = {"gathered weights": gathered(shape, config.engine, world, whole=True)}
        if config.sampling.engine == "vllm" and gpu_bytes is not None:
            sampling["vLLM"] = config.sampling.gpu_memory * gpu_bytes
        phases["sampling"] = sampling
    return Need(lasting, phases, {} if gpu_bytes is None else on_host(every, config.engine))
