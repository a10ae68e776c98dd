"""Runs that others have published, described for the plan's own arithmetic, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass

from mathloop.models.shapes import SHAPES, Shape
from mathloop.planning.assumptions import Assumptions
from mathloop.planning.fitting import sequences
from mathloop.planning.timing import seconds
from mathloop.planning.work import Work
from mathloop.sampling.config import SamplingConfig
from mathloop.training.config import EngineConfig
from mathloop.training.gpus import GPUS

PROMPT = 120
"""Tokens of a prompt, where none is published: the plan's own default."""


@dataclass(frozen=True)
class GRPORun:
    """GRPO of others; every number is theirs but `length` where `guessed` says so."""

    name: str
    source: int
    """Number in the list of sources of docs/plan.md."""
    shape: Shape
    kind: str
    gpus: int
    samples: int
    """Responses per step."""
    group: int
    length: float
    """Mean tokens of prompt and response."""
    max_tokens: int
    updates: int
    """Optimizer steps per step."""
    published: float
    """Seconds per step; 0 if they are not published."""
    guessed: bool = False
    """The mean length is not published."""
    checkpointing: bool = True
    """Activations are recomputed."""
    tensor_parallel: int = 1
    passes: int = 2
    """Forward passes without learning: of the policy before its updates, and of the reference."""

    def planned(self) -> float:
        """Seconds that the plan gives a step."""
        prompts = self.samples / self.group
        tokens = self.samples * self.length
        work = Work(
            "grpo",
            "trainer",
            problems=prompts,
            samples=self.samples,
            prompted=prompts * PROMPT,
            written=self.samples * (self.length - PROMPT),
            forwarded=self.passes * tokens,
            trained=tokens,
            steps=self.updates,
            length=self.length,
            sampling=SamplingConfig(
                engine="vllm",
                dtype="bfloat16",
                max_tokens=self.max_tokens,
                gpu_memory=0.6,
                tensor_parallel=self.tensor_parallel,
            ),
            engine=EngineConfig(activation_checkpointing=self.checkpointing),
        )
        gpu = GPUS[self.kind]
        at_once = sequences(work, self.shape, gpu)
        return seconds(work, self.shape, gpu, self.gpus, at_once, Assumptions()).total


_QWEN_7B = SHAPES["Qwen2.5-Math-7B"]
_LLAMA_8B = Shape(128_256, 4096, 14_336, 32, 32, 8, 128, tied=False, biased=False)
_QWEN3_32B = Shape(151_936, 5120, 25_600, 64, 64, 8, 128, tied=False, biased=False)
_QWEN25_32B = Shape(152_064, 5120, 27_648, 64, 40, 8, 128, tied=False)
_R1_DISTILL_15B = Shape(151_936, 1536, 8960, 28, 12, 2, 128, tied=False)

RUNS = (
    # NeMo's training recomputes nothing; its recipes draw 64 prompts with 32 samples each.
    GRPORun("Llama 3.1 8B, NeMo RL 0.4", 2, _LLAMA_8B, "H100", 16, 2048, 32, 1060, 3976, 4, 97.7,
            checkpointing=False),
    GRPORun("Qwen3 32B, NeMo RL 0.4", 2, _QWEN3_32B, "H100", 32, 2048, 32, 3206, 3976, 4, 393,
            checkpointing=False, tensor_parallel=4),
    GRPORun("Qwen2.5 7B, SimpleRL-Zoo", 4, _QWEN_7B, "H100", 16, 8192, 8, 820, 8192, 4, 15 * 36,
            guessed=True, tensor_parallel=2),
    GRPORun("Qwen2.5 32B, SimpleRL-Zoo", 4, _QWEN25_32B, "H100", 64, 8192, 8, 820, 8192, 4, 36 * 36,
            guessed=True, tensor_parallel=8),
)  # fmt: skip
"""Steps of SimpleRL-Zoo: about 100 in 15 hours, and the same data in 1.5 days."""
DEEPSCALER = GRPORun(
    "DeepScaleR 1.5B", 5, _R1_DISTILL_15B, "A100-80", 8, 1024, 8, 4500 + PROMPT, 8192, 2, 0.0
)
"""Its first part, whose mean length fell from 5,500 to 3,500 tokens; the time of a step is not published."""
DEEPSCALER_STEPS, DEEPSCALER_HOURS = 1040, 3800
"""Steps of the first part, of three; A100-hours of all three."""


def to_markdown() -> str:
    """Published and planned, run by run."""
    rows = [_row(run) for run in RUNS]
    hours = DEEPSCALER.planned() * DEEPSCALER_STEPS * DEEPSCALER.gpus / 3600
    rows.append(
        f"| {_described(DEEPSCALER)}; the first {DEEPSCALER_STEPS:,} steps of three parts "
        f"[{DEEPSCALER.source}] | {DEEPSCALER_HOURS:,} A100-hours for all three | {hours:,.0f} A100-hours | "
        "a part of them |"
    )
    head = ["| GRPO of others | published | planned | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _row(run: GRPORun) -> str:
    planned = run.planned()
    off = f"{planned / run.published - 1:+.0%}".replace("-", "−")
    took = f"{run.published:,.0f} s a step | {planned:,.0f} s a step"
    return f"| {_described(run)} [{run.source}] | {took} | {off} |"


def _described(run: GRPORun) -> str:
    length = f"about {run.length:,.0f} tokens (our guess)" if run.guessed else f"{run.length:,.0f} tokens"
    return f"{run.name}, {run.gpus} {run.kind}, {run.samples:,} samples of {length}"
