"""What does not fit is said before it starts or where it fails; utilization is of known arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mathloop.errors import BadConfig
from mathloop.records import write_problems
from mathloop.training import capacity, grpo, reward_model, sft
from mathloop.training.capacity import GIB, Utilization, check_memory, check_recipe, out_of_memory
from mathloop.training.config import EngineConfig, GRPOConfig, RewardModelConfig, SFTConfig
from mathloop.training.engine import Engine
from mathloop.training.ranks import Ranks

PARAMETERS = 1 << 28
"""1 GiB of float32."""


def ranks(world: int = 1, device: str = "cuda") -> Ranks:
    return Ranks(0, world, torch.device(device))


@pytest.fixture
def large() -> nn.Module:
    """A model that takes no memory: its weights have a size only."""
    return nn.Linear(1 << 14, 1 << 14, bias=False, device="meta")


def free(monkeypatch: pytest.MonkeyPatch, size: float, total: float = 80e9) -> None:
    monkeypatch.setattr(capacity, "_memory", lambda device: (total, size))


@pytest.mark.parametrize(
    ("zero", "world", "need"),
    # 4 + 4 + 8 bytes; with ZeRO gradients in flight, and below 3 a second copy of the weights, in shards.
    [(0, 1, 4.0), (0, 4, 4.0), (1, 4, 3.75), (2, 4, 3.0), (3, 4, 2.0)],
)
def test_weights_gradients_and_two_moments_must_fit_each_in_its_share(
    large: nn.Module, monkeypatch: pytest.MonkeyPatch, zero: Any, world: int, need: float
) -> None:
    config = EngineConfig(zero=zero)
    free(monkeypatch, need * GIB)
    check_memory(large, config, ranks(world))
    free(monkeypatch, need * GIB - 1)
    with pytest.raises(BadConfig) as refused:
        check_memory(large, config, ranks(world))
    message = str(refused.value)
    assert "\n" not in message
    assert f"needs {need:.1f} GiB per process" in message
    assert "raise engine.zero and the number of processes, use lora, or take a smaller model" in message


def test_weights_that_are_on_the_device_already_are_not_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = nn.Linear(100, 100, bias=False)
    free(monkeypatch, 12 * 10_000)
    check_memory(there, EngineConfig(), ranks(device="cpu"))
    with pytest.raises(BadConfig):  # on a GPU they are not yet
        check_memory(there, EngineConfig(), ranks())
    there.requires_grad_(False)
    free(monkeypatch, 0)
    check_memory(there, EngineConfig(), ranks(device="cpu"))


SEVEN = {
    "model_type": "qwen2",
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A 7B without weights: whoever reads them fails."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text(json.dumps(SEVEN))
    return tmp_path / "policy"


def recipe(name: str, **engine: Any) -> Any:
    config = {"sft": SFTConfig, "reward_model": RewardModelConfig, "grpo": GRPOConfig}[name]
    sampling = {"sampling": {"engine": "vllm", "gpu_memory": 0.3}} if name == "grpo" else {}
    return config.model_validate({"engine": {"dtype": "bfloat16", **engine}, **sampling})


@pytest.mark.parametrize(
    ("name", "engine", "world", "phrases"),
    [
        ("sft", {"zero": 0}, 8, ["optimizer 56.7", "weights 28.4", "raise sft.engine.zero"]),
        ("reward_model", {"zero": 1}, 8, ["gradients in flight", "gradients 26.4"]),
        (
            "grpo",  # 2.1 of states, 14.2 each of reference, reward model and gathered copy, 24 of vLLM
            {"zero": 3},
            64,
            ["while sampling", "vLLM 22.4", "reference 14.2", "reward model 13.2", "gathered weights 14.0"],
        ),
    ],
)
def test_a_training_that_cannot_fit_is_refused_before_anything_is_loaded(
    policy: Path, monkeypatch: pytest.MonkeyPatch, name: Any, engine: Any, world: int, phrases: list[str]
) -> None:
    config = recipe(name, **engine)
    free(monkeypatch, 66e9)
    with pytest.raises(BadConfig) as refused:
        check_recipe(name, policy, config, ranks(world))
    message = str(refused.value)
    assert "\n" not in message
    for phrase in (f"{name} needs ", "GiB per process", "`mathloop plan`", *phrases):
        assert phrase in message, message
    free(monkeypatch, 300e9)
    check_recipe(name, policy, config, ranks(world))


def test_what_is_offloaded_is_compared_with_the_hosts_memory(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 66e9)
    with pytest.raises(BadConfig):
        check_recipe("sft", policy, recipe("sft", zero=3), ranks(1))
    config = recipe("sft", zero=3, offload="optimizer")
    monkeypatch.setattr(capacity, "_free_memory", lambda: 200e9)
    check_recipe("sft", policy, config, ranks(1))
    monkeypatch.setattr(capacity, "_free_memory", lambda: 100e9)
    with pytest.raises(
        BadConfig, match=r"^sft offloads 1\d\d\.\d GiB per process, and 93\.1 GiB of this"
    ) as refused:
        check_recipe("sft", policy, config, ranks(1))
    assert "set sft.engine.offload to none, or use more nodes" in str(refused.value)


@pytest.mark.parametrize(("offload", "zero"), [("optimizer", 0), ("parameters", 2)])
def test_only_what_is_sharded_is_offloaded(offload: str, zero: int) -> None:
    with pytest.raises(
        ValidationError, match=rf"offload \({offload}\) needs zero .* and zero is {zero}: raise it"
    ):
        EngineConfig.model_validate({"offload": offload, "zero": zero})


def test_recipes_ask_before_they_load(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder has neither weights nor tokenizer: loading would be another error."""
    free(monkeypatch, 1e9)
    missing = policy.parent / "none"
    outputs = {"model": missing, "work": policy.parent / "work", "seed": 0, "problems": missing}
    with pytest.raises(BadConfig, match="sft needs"):
        sft.run(responses=[missing], policy=policy, config=SFTConfig(), **outputs)
    with pytest.raises(BadConfig, match="reward_model needs"):
        reward_model.run(responses=missing, policy=policy, config=RewardModelConfig(), **outputs)
    write_problems(missing, [])
    with pytest.raises(BadConfig, match="grpo needs"):
        grpo.run(reward_model=missing, policy=policy, config=GRPOConfig(), **outputs)
    assert not (policy.parent / "work").exists()


def test_processes_of_one_machine_share_its_memory(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 140e9, float("inf"))
    check_recipe("sft", policy, SFTConfig(), ranks(device="cpu"))  # 122 GB
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(BadConfig, match=r"65\.2 GiB are free"):
        check_recipe("sft", policy, SFTConfig(), ranks(2, device="cpu"))


def test_a_model_that_does_not_fit_stops_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1000.0)
    with pytest.raises(BadConfig, match=r"0\.0 GiB are free on cpu") as refused:
        Engine(nn.Linear(100, 100), SFTConfig(), 3, tmp_path / "work", recipe="sft", seed=0)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "work").exists()


def test_this_machine_has_some_memory_and_not_more_than_there_is() -> None:
    there = capacity._free_memory()
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 2**20 < there < int(total.split()[1]) * 1024


def exhaust() -> None:
    torch.empty(1 << 50)


def exhaust_python() -> None:
    bytearray(1 << 60)


def exhaust_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has ...")


@pytest.mark.parametrize("fail", [exhaust, exhaust_python, exhaust_gpu])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_memory_that_runs_out_in_a_step_is_a_line(tmp_path: Path, fail: Any, checkpointing: bool) -> None:
    config = SFTConfig(engine=EngineConfig(micro_batch_tokens=512, activation_checkpointing=checkpointing))

    class Net(nn.Linear):
        def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Any) -> None:
            pass

    def run() -> None:
        with Engine(Net(2, 2), config, 3, tmp_path, recipe="sft", seed=0) as engine:
            engine.backward(engine.forward(torch.ones(2)).sum())
            engine.update(loss=1.0)
            fail()

    with pytest.raises(BadConfig) as refused:
        run()
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith("step 1: out of memory with engine.micro_batch_tokens=512: halve it")
    assert ("set engine.activation_checkpointing=true" in message) is not checkpointing


def test_other_failures_are_not_taken_for_it() -> None:
    for error in (RuntimeError("shape mismatch"), ValueError("out of memory"), KeyError("x")):
        assert out_of_memory(error, EngineConfig()) is None


def test_utilization_is_six_a_weight_and_token_of_the_peak_of_all_ranks(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tiny_model(31)  # not tied: the embedding is looked up, the head is multiplied
    clock = iter([10.0, 12.0, 12.5, 13.0])
    monkeypatch.setattr(capacity, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    used = Utilization(net, EngineConfig(peak_tflops=1e-6), ranks(2))
    first, second = used.measure(100), used.measure(100)
    assert [first["tokens per second"], second["tokens per second"]] == [50.0, 200.0]
    weights = sum(p.numel() for p in net.parameters()) - net.get_input_embeddings().weight.numel()
    assert first["utilization"] == pytest.approx(50 * 6 * weights / 2e6)
    assert second["utilization"] == pytest.approx(4 * first["utilization"])
    for parameter in net.parameters():  # as ZeRO-3 leaves them: in shards elsewhere
        parameter.ds_numel = parameter.numel()
        parameter.data = torch.empty(0)
    assert Utilization(net, EngineConfig(peak_tflops=1e-6), ranks(2))._flops == 6 * weights
