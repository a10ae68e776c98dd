"""Seconds of a stage's work on given GPUs: a roofline of arithmetic and memory bandwidth.

Decoding is bound by bandwidth: each step reads the weights once, and every sequence's cache. Training and
scoring are bound by arithmetic. docs/plan.md compares both with published runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from mathloop.models.shapes import Shape
from mathloop.planning.assumptions import Assumptions
from mathloop.planning.work import Work
from mathloop.training.gpus import Gpu

STEP_SECONDS = {"vllm": 0.13e-3, "transformers": 0.9e-3}
"""Seconds that a decoding step takes per layer beside reading: launches, scheduling, the sampler."""
LONGEST = 4.0
"""The longest of many responses, in mean lengths, as far as max_tokens allows."""
UPDATE = 12 * 2
"""Bytes that an optimizer step moves per parameter: weight and two moments, read and written."""


@dataclass(frozen=True)
class Seconds:
    """Wall-clock seconds of a stage, by what is done, with `gpus` GPUs at work."""

    decoding: float = 0.0
    scoring: float = 0.0
    training: float = 0.0

    @property
    def total(self) -> float:
        return self.decoding + self.scoring + self.training


def seconds(
    work: Work,
    shape: Shape,
    gpu: Gpu,
    gpus: int,
    sequences: float,
    assumed: Assumptions,
    pods: int = 1,
    starts: float | None = None,
) -> Seconds:
    """How long the stage takes.

    Args:
        gpus: GPUs that do the work; engines of a sampling stage have `tensor_parallel` of them each.
        sequences: sequences that one engine decodes at a time.
        pods: pods that share what a stage samples.
        starts: times that each of them begins anew; None: those of one pod, `work.batches`.
    """
    flops = gpu.tflops * 1e12 * assumed.utilization * gpus
    context = work.length / 2
    training = 3 * shape.forward_flops(work.trained, context) / flops
    if work.engine is not None and work.engine.activation_checkpointing:
        training *= 4 / 3
    training += work.steps * UPDATE * shape.parameters / gpus / (gpu.bandwidth * 1e9 * assumed.bandwidth)
    # Sampling stages score in one process per pod, GRPO in all of them.
    scorers = flops if work.engine is not None else flops / gpus * pods
    scoring = shape.forward_flops(work.scored, context, head=False) / scorers
    scoring += shape.forward_flops(work.forwarded, context) / flops
    starts = starts or work.batches
    return Seconds(_decoding(work, shape, gpu, gpus, sequences, assumed, starts), scoring, training)


def _decoding(
    work: Work, shape: Shape, gpu: Gpu, gpus: int, sequences: float, assumed: Assumptions, starts: float
) -> float:
    if work.sampling is None or not work.samples:
        return 0.0
    size = 2 if work.sampling.dtype == "bfloat16" else 4
    each = work.sampling.tensor_parallel
    engines = max(1, gpus // each)
    bandwidth = gpu.bandwidth * 1e9 * assumed.bandwidth * each
    mean = work.written / work.samples
    longest = min(float(work.sampling.max_tokens), LONGEST * mean)
    responses = work.samples / engines / starts
    at_once = max(1.0, min(sequences, responses))
    if work.sampling.engine == "vllm":  # a finished response makes room for the next
        steps = max(responses * mean / at_once, longest)
    else:  # a batch decodes until its longest response is done
        steps = -(-responses // at_once) * longest
    # TIR's later turns are in the prefix cache, so that nothing is read twice.
    step = STEP_SECONDS[work.sampling.engine] * shape.layers + size * shape.read / bandwidth
    cache = work.written / engines * (work.length - mean / 2) * shape.cache_bytes(size) / bandwidth
    arithmetic = gpu.tflops * 1e12 * 2 * assumed.utilization * gpus
    products = shape.forward_flops(work.written + work.prompted, work.length / 2) / arithmetic
    return starts * steps * step + cache + products
