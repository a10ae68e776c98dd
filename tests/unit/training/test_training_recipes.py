"""The four recipes in a row: alike for a seed whatever else the process drew, and in either precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from mathloop.models.loading import load_policy
from mathloop.records import Problem, Response, write_problems, write_responses, write_rows
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.prompts import render_prompt
from mathloop.stages import StageReport
from mathloop.training import grpo, pretrain, reward_model, sft
from mathloop.training.config import (
    EngineConfig,
    GRPOConfig,
    LoRAConfig,
    OptimizerConfig,
    PretrainConfig,
    RewardModelConfig,
    SFTConfig,
)
from mathloop.training.order import batch_of

ROWS = [
    {"problem": f"{a} + {b}?", "solution": f"{a} + {b} is {a + b}, so \\boxed{{{a + b}}}.", "mode": "cot"}
    for a in range(6)
    for b in range(4)
]
PROBLEMS = [Problem(str(i), row["problem"], answer="3") for i, row in enumerate(ROWS[:6])]
RESPONSES = [
    Response(p.id, k, "tir" if k == 3 else "cot", f"It is \\boxed{{{k}}}.", correct=k == 3)
    for p in PROBLEMS
    for k in range(4)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data; and in `plain` what all recipes but GRPO make of it."""
    folder = tmp_path_factory.mktemp("recipes")
    write_rows(folder / "corpus.jsonl", ROWS)
    write_problems(folder / "problems.jsonl", PROBLEMS)
    write_responses(folder / "responses.jsonl", RESPONSES)
    for recipe in (pretrained, fine_tuned, rewarded):
        recipe(folder, "plain")
    return folder


def pretrained(folder: Path, name: str, engine: EngineConfig | None = None, steps: int = 4) -> StageReport:
    return pretrain.run(
        corpus=folder / "corpus.jsonl",
        model=folder / name / "pretrain",
        work=folder / name / "work-pretrain",
        config=PretrainConfig(
            vocabulary=320,
            hidden=32,
            layers=2,
            heads=2,
            steps=steps,
            batch_size=8,
            engine=engine or EngineConfig(),
        ),
        seed=3,
    )


def fine_tuned(
    folder: Path, name: str, engine: EngineConfig | None = None, lora: LoRAConfig | None = None
) -> StageReport:
    return sft.run(
        problems=folder / "problems.jsonl",
        responses=[folder / "responses.jsonl"],
        policy=folder / name / "pretrain",
        model=folder / name / "sft",
        work=folder / name / "work-sft",
        config=SFTConfig(batch_size=8, lora=lora, engine=engine or EngineConfig()),
        seed=3,
    )


def rewarded(folder: Path, name: str, engine: EngineConfig | None = None) -> StageReport:
    return reward_model.run(
        problems=folder / "problems.jsonl",
        responses=folder / "responses.jsonl",
        policy=folder / name / "sft",
        model=folder / name / "rm",
        work=folder / name / "work-rm",
        config=RewardModelConfig(batch_size=2, engine=engine or EngineConfig()),
        seed=3,
    )


def reinforced(
    folder: Path, name: str, engine: EngineConfig | None = None, lora: LoRAConfig | None = None
) -> StageReport:
    return grpo.run(
        problems=folder / "problems.jsonl",
        policy=folder / name / "sft",
        reward_model=folder / name / "rm",
        model=folder / name / "grpo",
        work=folder / name / "work-grpo",
        config=GRPOConfig(
            steps=3,
            problems_per_step=2,
            group_size=3,
            mini_batches=2,
            tir_share=0.5,
            lora=lora,
            sampling=SamplingConfig(max_tokens=12),
            engine=engine or EngineConfig(),
            optimizer=OptimizerConfig(learning_rate=1e-3),
        ),
        seed=3,
        rollouts=folder / name / "rollouts.parquet",
    )


def curve_of(report: StageReport, name: str) -> list[float]:
    """A curve's values by step; GRPO has one curve for each mode."""
    names = {name, f"{name} (CoT)", f"{name} (TIR)"}
    points = [point for each, curve in report.curves.items() if each in names for point in curve]
    return [value for _, value in sorted(points)]


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=4)])
def test_a_seed_settles_everything(folder: Path, lora: LoRAConfig | None) -> None:
    kind = "lora" if lora else "full"
    for name, drawn in ((f"{kind}-one", 1), (f"{kind}-other", 2)):
        for recipe, given in (
            (pretrained, {}),
            (fine_tuned, {"lora": lora}),
            (rewarded, {}),
            (reinforced, {"lora": lora}),
        ):
            torch.manual_seed(drawn)  # what else the process did
            recipe(folder, name, **given)
    for stage in ("pretrain", "sft", "rm", "grpo"):
        one, other = state(folder / f"{kind}-one" / stage), state(folder / f"{kind}-other" / stage)
        assert one.keys() == other.keys()
        assert all(torch.equal(other[key], value) for key, value in one.items()), stage
    before, after = (state(folder / f"{kind}-one" / stage) for stage in ("sft", "grpo"))
    assert any(not torch.equal(after[key], value) for key, value in before.items())


def test_pretraining_learns_problems_too_by_their_weight(folder: Path) -> None:
    report = pretrained(folder, "long", steps=40)
    assert report.curves["loss"][-1][1] < 0.8 * report.curves["loss"][0][1]
    _, tokenizer = load_policy(folder / "long" / "pretrain")
    torch.manual_seed(3)
    net = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder / "long" / "pretrain"))
    losses = {}
    for row in ROWS:
        prompt = tokenizer.encode(render_prompt(tokenizer, row["problem"], "cot"))
        written = [*tokenizer.encode(row["solution"]), tokenizer.eos_token_id]
        tokens = torch.tensor(prompt + written)
        with torch.no_grad():
            logprobs = torch.log_softmax(net(input_ids=tokens[None]).logits[0], -1)
        values = [-float(logprobs[t - 1, tokens[t]]) for t in range(1, len(tokens))]
        weights = [0.1] * (len(prompt) - 1) + [1.0] * len(written)
        losses[row["problem"]] = (sum(v * w for v, w in zip(values, weights, strict=True)), sum(weights))
    batch = [ROWS[i]["problem"] for i in batch_of(len(ROWS), 8, 0, 3)]
    expected = sum(losses[p][0] for p in batch) / sum(losses[p][1] for p in batch)
    assert report.curves["loss"][0][1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("engine", "close"),
    [(EngineConfig(activation_checkpointing=True), 1e-4), (EngineConfig(dtype="bfloat16"), 0.05)],
)
@pytest.mark.parametrize("stage", [pretrained, rewarded, reinforced])
def test_an_engine_setting_changes_rounding_only(
    folder: Path, stage: Callable[..., StageReport], engine: EngineConfig, close: float
) -> None:
    name = f"{stage.__name__}-{engine.dtype}"
    for made in ("pretrain", "sft", "rm"):
        shutil.copytree(folder / "plain" / made, folder / name / made)
    plain, found = stage(folder, "plain"), stage(folder, name, engine)
    # Adam's first steps are of one size however small the gradient, so bfloat16's rounding grows with them:
    # of GRPO only the first rollout batch is compared.
    steps = 2 if stage is reinforced and engine.dtype == "bfloat16" else None
    for curve in ("loss", "gradient norm"):
        expected, values = (curve_of(report, curve)[:steps] for report in (plain, found))
        assert values == pytest.approx(expected, rel=close, abs=close / 10), curve
    if stage is reinforced:
        # The reference begins as the policy, in its precision.
        assert curve_of(found, "KL")[0] < 1e-4
        assert curve_of(found, "sampler ratio")[0] == pytest.approx(1, abs=close)
