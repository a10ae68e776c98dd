"""Plans of the shipped profiles: memory by hand, what does not fit, and that its remedy makes it fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mathloop.errors import BadConfig
from mathloop.models.shapes import SHAPES
from mathloop.planning import Plan, make_plan
from mathloop.planning.showing import to_json, to_markdown
from pipelines.profile import load_profile, profile_names

GB = 1e9


def plan(name: str, gpus: str | None = None, *sets: str) -> Plan:
    return make_plan(load_profile(name, list(sets)), gpus)


def parts(made: Plan, stage: str) -> dict[str, float]:
    return next(one for one in made.stages if one.work.stage == stage).need.parts


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("gpus", [None, "1xL4", "4x8xB200"])
def test_every_profile_has_a_plan(name: str, gpus: str | None) -> None:
    made = plan(name, gpus)
    assert "| all " in to_markdown(made)
    assert json.loads(json.dumps(to_json(made), allow_nan=False))["profile"] == name
    for one in made.stages:
        assert one.need.peak > 0
        assert one.work.tokens > 0
        assert (one.seconds.total > 0) is (bool(made.kind) and one.fits)


def test_the_1_5b_profile_fits_one_node_of_80_gb() -> None:
    made = plan("qwen2.5-math-1.5b")
    assert made.misfits == []
    assert made.kind == "H100"
    sft = parts(made, "sft")
    weights = SHAPES["Qwen2.5-Math-1.5B"].parameters
    assert sft["weights"] == 2 * weights  # ZeRO-2, 8 GPUs
    assert sft["optimizer"] == 12 * weights / 8
    assert sft["gradients"] == 4 * weights / 8
    cot = parts(made, "cot")
    assert cot["vLLM's weights"] + cot["vLLM's work"] + cot["vLLM's cache"] == pytest.approx(0.8 * 80 * GB)


def test_the_7b_profile_by_hand() -> None:
    made = plan("qwen2.5-math-7b", "8xH200")
    weights = SHAPES["Qwen2.5-Math-7B"].parameters
    grpo = parts(made, "grpo")
    assert grpo["optimizer"] == 12 * weights / 16  # two nodes
    assert grpo["reference"] == 2 * weights
    assert grpo["gathered weights"] == 2 * weights * 15 / 16  # while vLLM gets a copy
    assert made.misfits == []


def test_the_72b_profile_samples_over_four_gpus_and_says_what_needs_it_on_one() -> None:
    made = plan("qwen2.5-math-72b")
    assert parts(made, "tir")["vLLM's weights"] == pytest.approx(145.4e9 / 4, rel=1e-3)
    told = {line.partition(" ")[0]: line for line in made.misfits}
    assert set(told) == {"cot", "grpo", "evaluation"}
    assert "the policy must be split among 4 GPUs to sample, which grpo cannot do yet" in told["grpo"]
    one = plan("qwen2.5-math-72b", None, "tir.sampling.tensor_parallel=1").misfits
    assert any(line.startswith("tir ") and "set tir.sampling.tensor_parallel=4" in line for line in one)


def test_engines_share_a_stages_work() -> None:
    def hours(*sets: str) -> float:
        made = plan("qwen2.5-math-1.5b", None, *sets)
        return next(one.seconds.total for one in made.stages if one.work.stage == "tir")

    assert hours("tir.sampling.engines=1") == pytest.approx(8 * hours(), rel=0.05)
    made = plan("qwen2.5-math-1.5b", None, "tir.sampling.engines=4")
    assert made.remarks == ["tir: engines and tensor_parallel leave some of the pod's 8 GPUs idle"]


def test_storage_is_every_copy_of_a_model_that_a_round_was_seen_to_leave() -> None:
    """In `du` of a first round of smollm: 4.3 GB, of 538 MB for each policy; checkpoints: 3.2 GB more."""
    stored = plan("smollm", None).storage
    checkpoints = next(size for what, size in stored.items() if what.startswith("checkpoints"))
    assert checkpoints == pytest.approx(2 * 1.614e9, rel=0.01)
    assert sum(stored.values()) - checkpoints == pytest.approx(6 * 538e6 + 2 * 539e6, rel=0.01)


def test_sampler_nodes_share_every_stage_that_samples() -> None:
    def stages(*sets: str) -> tuple[dict[str, tuple[int, float]], dict[str, float]]:
        made = plan("qwen2.5-math-1.5b", None, *sets)
        assert not any("idle" in remark for remark in made.remarks)
        return {one.work.stage: (one.gpus, one.seconds.total) for one in made.stages}, made.storage

    one, stored = stages()
    four, more = stages("pools.sampler.nodes=4")
    for stage in ("cot", "tir", "reward_data", "selection", "evaluation"):
        assert four[stage][0] == 4 * one[stage][0]
        assert one[stage][1] / 4.2 < four[stage][1] < one[stage][1] / 2
    assert four["grpo"] == one["grpo"]
    # With a fine-tuning in between, one pod samples TIR.
    assert stages("pools.sampler.nodes=4", "tir.iterations=2")[0]["tir"][0] == one["tir"][0]
    # Every shard waits for its longest response.
    small, _ = stages("pools.sampler.nodes=4", "pools.sampler.shard_responses=256")
    assert small["cot"][1] > 1.5 * four["cot"][1]
    # CoT and TIR sample at the same time, each with a copy of the policy, and CoT with the reward model's.
    made = plan("qwen2.5-math-1.5b", None, "pools.sampler.nodes=4")
    written = {stage.work.stage: stage.work.written for stage in made.stages}
    shards, copies = (size for name, size in more.items() if name not in stored)
    assert shards == pytest.approx(4 * max(written["cot"] + written["tir"], written["evaluation"]))
    parameters = made.shape.parameters
    assert copies == pytest.approx(4 * (3 * parameters + made.shape.reward_parameters))


def test_written_problems_take_time_unless_an_endpoint_writes_them() -> None:
    written = ("writing.templates=[reword, translate]", "writing.votes=4")
    without, made = plan("qwen2.5-math-1.5b"), plan("qwen2.5-math-1.5b", None, *written)
    assert [one.work.stage for one in made.stages][:2] == ["writing", "cot"]
    assert made.stages[0].work.sampling.engine == "vllm"
    assert made.gpu_hours > without.gpu_hours
    assert made.remarks == without.remarks
    asked = plan("qwen2.5-math-1.5b", None, *written, "writing.endpoint=http://127.0.0.1:8000")
    assert asked.remarks == [
        *without.remarks,
        "writing: 400 texts are asked of http://127.0.0.1:8000, whose time is not counted",
    ]
    assert asked.stages[0].work.problems == made.stages[1].work.problems  # CoT solves what it wrote


def test_the_nodes_that_are_rented_cost_also_while_they_wait() -> None:
    one, several = plan("qwen2.5-math-1.5b", "8xH100"), plan("qwen2.5-math-7b")
    assert one.nodes == (8,)  # both pools select the same node, which has one label
    assert one.rented_hours == pytest.approx(one.gpu_hours)
    assert several.nodes == (8, 16)
    assert several.rented_hours == pytest.approx(24 * several.wall_seconds / 3600)
    assert several.rented_hours > 2 * several.gpu_hours
    assert "on one set of nodes (8 H100)" in to_markdown(one)
    assert "rented" not in to_markdown(plan("qwen2.5-math-72b"))  # some stages have no time


@pytest.mark.parametrize(
    ("stage", "sets"),
    [
        ("sft", ["sft.engine.zero=0", "sft.engine.activation_checkpointing=false"]),
        ("sft", ["sft.engine.dtype=float32", "sft.engine.zero=0", "sft.engine.micro_batch_tokens=65536"]),
        ("reward_model", ["reward_model.engine.zero=0", "reward_model.engine.micro_batch_tokens=400000"]),
        ("evaluation", ["evaluation.sampling.gpu_memory=0.95"]),
    ],
)
def test_what_a_misfit_tells_to_change_makes_it_fit(stage: str, sets: list[str]) -> None:
    made = plan("qwen2.5-math-7b", "8xH100", *sets)
    (line,) = [line for line in made.misfits if line.startswith(f"{stage} ")]
    changes = line.partition(": set ")[2].split(", ")
    assert changes[0], line
    again = plan("qwen2.5-math-7b", "8xH100", *sets, *changes)
    assert not any(line.startswith(f"{stage} ") for line in again.misfits)
    for change in changes:  # and none of them is needless
        fewer = plan("qwen2.5-math-7b", "8xH100", *sets, *(c for c in changes if c != change))
        assert any(line.startswith(f"{stage} ") for line in fewer.misfits)


def test_what_is_offloaded_is_counted_on_the_host() -> None:
    sets = ["sft.engine.zero=3", "sft.engine.offload=optimizer"]
    (sft,) = (one for one in plan("qwen2.5-math-7b", "1x1xH100", *sets).stages if one.work.stage == "sft")
    weights = SHAPES["Qwen2.5-Math-7B"].parameters
    assert sft.fits
    assert sft.need.host == {"optimizer": 12 * weights, "gradients": 4 * weights}
    assert sft.need.parts["weights"] == 2 * weights
    assert not sft.need.host.keys() & sft.need.parts.keys()
    made = plan("qwen2.5-math-7b", "1x1xH100", *sets, "sft.engine.offload=parameters")
    assert "in the host's memory optimizer 91.4, gradients 30.5, weights 15.2" in to_markdown(made)
    small = ["pools.trainer.memory=100Gi", "pools.trainer.memory_limit=100Gi"]
    (line,) = [
        line for line in plan("qwen2.5-math-7b", "1x1xH100", *sets, *small).misfits if line.startswith("sft ")
    ]
    assert (
        "offloads 122 GB per pod to the host's memory, of which pools.trainer.memory_limit allows 107" in line
    )


def test_a_model_too_large_for_one_gpu_is_told_to_offload() -> None:
    made = plan("qwen2.5-math-7b", "1x1xH100")
    told = {line.partition(" ")[0]: line for line in made.misfits}
    for stage in ("sft", "reward_model", "grpo"):
        assert f"set {stage}.engine.offload=optimizer" in told[stage]
        again = plan("qwen2.5-math-7b", "1x1xH100", f"{stage}.engine.offload=optimizer")
        assert not any(line.startswith(f"{stage} ") for line in again.misfits)


def test_groups_that_cannot_be_dealt_out_are_told() -> None:
    made = plan("qwen2.5-math-1.5b", "3x8xH100")
    assert any("grpo: mini-batches of 16 groups" in line and "24 processes" in line for line in made.misfits)


def test_a_response_beyond_the_context_is_told() -> None:
    made = plan("qwen2.5-math-1.5b", None, "cot.sampling.max_tokens=4096")
    assert any(line.startswith("cot: a prompt of 120 tokens") for line in made.misfits)


def test_the_price_is_of_gpu_hours() -> None:
    made = make_plan(load_profile("qwen2.5-math-1.5b"), price=2.5)
    assert to_json(made)["cost"] == pytest.approx(2.5 * made.gpu_hours)
    assert "| cost" in to_markdown(made)


def test_models_by_folder_and_by_name(tmp_path: Path) -> None:
    config = {
        "model_type": "qwen2",
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = plan("tiny", "1xH100", f"model={tmp_path}")
    assert made.shape.parameters == SHAPES["Qwen2.5-Math-7B"].parameters
    assert plan("tiny", None, "model=s3://b/x/Qwen2.5-Math-7B").shape == SHAPES["Qwen2.5-Math-7B"]
    with pytest.raises(BadConfig, match="its shape is not known here"):
        plan("tiny", None, "model=s3://bucket/other")


@pytest.mark.parametrize(
    ("gpus", "phrase"),
    [
        ("8xH1000", "'H1000' is no kind of GPU, did you mean"),
        ("0xH100", "expected 8xH100"),
        ("1x2x3xH100", "expected 8xH100"),
        ("manyxL4", "expected 8xH100"),
    ],
)
def test_odd_gpus_are_one_line(gpus: str, phrase: str) -> None:
    with pytest.raises(BadConfig) as refused:
        plan("tiny", gpus)
    assert phrase in str(refused.value)
    assert "\n" not in str(refused.value)
