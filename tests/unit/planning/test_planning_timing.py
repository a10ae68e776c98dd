"""Times against published ones, of models and machines that nothing here was fitted to."""

from __future__ import annotations

import pytest

from mathloop.models.shapes import SHAPES, Shape
from mathloop.planning import published
from mathloop.planning.assumptions import Assumptions
from mathloop.planning.timing import seconds
from mathloop.planning.work import Work
from mathloop.sampling.config import SamplingConfig
from mathloop.training.config import EngineConfig
from mathloop.training.gpus import GPUS

QWEN = {
    "0.5B": Shape(151_936, 896, 4864, 24, 14, 2, 64, tied=True),
    "1.5B": SHAPES["Qwen2.5-Math-1.5B"],
    "3B": Shape(151_936, 2048, 11_008, 36, 16, 2, 128, tied=True),
    "7B": SHAPES["Qwen2.5-Math-7B"],
    "14B": Shape(152_064, 5120, 13_824, 48, 40, 8, 128, tied=False),
}


@pytest.mark.parametrize(
    ("size", "speed"),
    [("0.5B", 311.55), ("1.5B", 183.33), ("3B", 127.61), ("7B", 84.28), ("14B", 46.30)],
)
def test_one_response_at_a_time_is_as_fast_as_qwen_published(size: str, speed: float) -> None:
    """Qwen2.5's speed benchmark: vLLM 0.6.3, one A100 80 GB, bfloat16, 2,048 tokens, one sequence."""
    work = Work(
        "cot",
        "sampler",
        problems=1,
        samples=1,
        written=2048,
        length=2049,
        sampling=SamplingConfig(engine="vllm", dtype="bfloat16", max_tokens=2048),
    )
    took = seconds(work, QWEN[size], GPUS["A100-80"], 1, 1, Assumptions()).total
    assert 2048 / took == pytest.approx(speed, rel=0.25)


@pytest.mark.parametrize("run", published.RUNS[:2], ids=lambda run: run.name)
def test_a_grpo_step_takes_what_nemo_rl_published(run: published.GRPORun) -> None:
    """A tuned system whose GPUs, samples, lengths and seconds are all published, of 8 and 32 billion."""
    assert run.planned() == pytest.approx(run.published, rel=0.25)


def test_untuned_runs_and_parts_of_a_run_take_longer_than_planned() -> None:
    for run in published.RUNS[2:]:
        assert run.guessed
        assert run.planned() < run.published
    planned = published.DEEPSCALER.planned() * published.DEEPSCALER_STEPS * published.DEEPSCALER.gpus / 3600
    assert 0.05 < planned / published.DEEPSCALER_HOURS < 1


def test_training_is_as_fast_as_llm_foundry_published_at_its_utilization() -> None:
    """llm-foundry: a 7B with 8 H100, 4,096 tokens, activations recomputed: 8,611 tokens/s/GPU at 53.9 %."""
    mpt = Shape(50_432, 4096, 10_923, 32, 32, 32, 128, tied=True, biased=False)  # 4h·h·2 of a plain MLP
    work = Work(
        "sft",
        "trainer",
        problems=1,
        trained=8 * 1e6,
        length=4096,
        engine=EngineConfig(activation_checkpointing=True),
    )
    took = seconds(work, mpt, GPUS["H100"], 8, 0, Assumptions(utilization=0.539)).total
    assert 1e6 / took == pytest.approx(8611, rel=0.1)


def test_more_gpus_share_the_work_until_the_longest_response_decides() -> None:
    sampling = SamplingConfig(engine="vllm", dtype="bfloat16", max_tokens=2048)
    work = Work("cot", "sampler", 1, samples=1e5, written=4.5e7, length=570, sampling=sampling)
    shape, gpu, assumed = SHAPES["Qwen2.5-Math-7B"], GPUS["H100"], Assumptions()
    one, eight = (seconds(work, shape, gpu, n, 256, assumed).total for n in (1, 8))
    assert eight == pytest.approx(one / 8, rel=0.01)
    few = Work("cot", "sampler", 1, samples=16, written=16 * 450, length=570, sampling=sampling)
    assert (
        seconds(few, shape, gpu, 8, 256, assumed).total
        > 0.9 * seconds(few, shape, gpu, 2, 256, assumed).total
    )


def test_transformers_waits_for_the_longest_of_a_batch() -> None:
    shape, gpu, assumed = SHAPES["Qwen2.5-Math-7B"], GPUS["H100"], Assumptions()
    took = {}
    for engine in ("vllm", "transformers"):
        sampling = SamplingConfig.model_validate({"engine": engine, "dtype": "bfloat16"})
        work = Work("cot", "sampler", 1, samples=2560, written=2560 * 450, length=570, sampling=sampling)
        took[engine] = seconds(work, shape, gpu, 1, 256, assumed).decoding
    assert took["transformers"] > 4 * took["vllm"]
