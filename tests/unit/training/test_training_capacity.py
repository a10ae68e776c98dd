"""What does not fit is said before it starts or where it fails; utilization is of known arithmetic."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mathloop.errors import BadConfig
from mathloop.training import capacity
from mathloop.training.capacity import GIB, Utilization, check_memory, out_of_memory
from mathloop.training.config import EngineConfig, SFTConfig
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


@pytest.mark.parametrize(
    ("zero", "world", "need"),
    [(0, 1, 4.0), (0, 4, 4.0), (1, 4, 2.5), (2, 4, 1.75), (3, 4, 1.0)],
)
def test_weights_gradients_and_two_moments_must_fit_each_in_its_share(
    large: nn.Module, monkeypatch: pytest.MonkeyPatch, zero: Any, world: int, need: float
) -> None:
    config = EngineConfig(zero=zero)
    monkeypatch.setattr(capacity, "_free_memory", lambda device: need * GIB)
    check_memory(large, config, ranks(world))
    monkeypatch.setattr(capacity, "_free_memory", lambda device: need * GIB - 1)
    with pytest.raises(BadConfig) as refused:
        check_memory(large, config, ranks(world))
    message = str(refused.value)
    assert "\n" not in message
    assert f"needs {need:.1f} GiB per process" in message
    assert "raise engine.zero and the number of processes, use lora, or take a smaller model" in message


def test_weights_that_are_in_this_memory_already_and_frozen_ones_need_no_more(
    large: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "_free_memory", lambda device: 3.0 * GIB)
    check_memory(large, EngineConfig(), ranks(device="cpu"))
    large.requires_grad_(False)
    monkeypatch.setattr(capacity, "_free_memory", lambda device: 1.0 * GIB)
    check_memory(large, EngineConfig(), ranks())


def test_a_model_that_does_not_fit_stops_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "_free_memory", lambda device: 1000.0)
    with pytest.raises(BadConfig, match=r"0\.0 GiB are free on cpu") as refused:
        Engine(nn.Linear(100, 100), SFTConfig(), 3, tmp_path / "work", recipe="sft", seed=0)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "work").exists()


def test_this_machine_has_some_memory_and_not_more_than_there_is() -> None:
    free = capacity._free_memory(torch.device("cpu"))
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 2**20 < free < int(total.split()[1]) * 1024


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
    clock = iter([10.0, 12.0, 12.5])
    monkeypatch.setattr(capacity, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    used = Utilization(net, EngineConfig(peak_tflops=1e-6), ranks(2))
    first, second = used.measure(100), used.measure(100)
    assert [first["tokens per second"], second["tokens per second"]] == [50.0, 200.0]
    weights = sum(p.numel() for p in net.parameters()) - net.get_input_embeddings().weight.numel()
    assert first["utilization"] == pytest.approx(50 * 6 * weights / 2e6)
    assert second["utilization"] == pytest.approx(4 * first["utilization"])
