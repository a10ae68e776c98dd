"""A process of several takes its own GPU before any model is loaded. CUDA calls are recorded, not made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from mathloop.training import grpo, pretrain, reward_model, sft
from mathloop.training.config import GRPOConfig, PretrainConfig, RewardModelConfig, SFTConfig
from tests.unit.training.toy import write_toy

NAMES = ("problems", "policy", "model", "work")


class Loaded(BaseException):
    """The first model reached a GPU; no error handling of the recipes looks at it."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of rank 3 of 8, which is the second process of its machine, in their order."""
    made: list[str] = []
    for name, value in {"WORLD_SIZE": "8", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: made.append(f"set_device {device}"))
    monkeypatch.setattr(distributed, "is_initialized", lambda: any("join" in call for call in made))
    monkeypatch.setattr(
        distributed, "init_process_group", lambda backend, **_: made.append(f"join by {backend}")
    )

    def to(module: nn.Module, *place: Any, **_: Any) -> nn.Module:
        made.append(f"to {place[0]}")
        raise Loaded

    monkeypatch.setattr(nn.Module, "to", to)
    return made


@pytest.mark.parametrize(
    ("recipe", "config"),
    [
        (sft.run, SFTConfig()),
        (reward_model.run, RewardModelConfig()),
        (grpo.run, GRPOConfig()),
    ],
)
def test_a_rank_takes_its_gpu_before_a_model_is_loaded(
    calls: list[str], tmp_path: Path, recipe: Callable[..., Any], config: Any
) -> None:
    write_toy(tmp_path)
    paths: dict[str, Any] = {name: tmp_path / name for name in NAMES}
    paths["problems"] = tmp_path / "problems.jsonl"
    responses = tmp_path / "responses.jsonl"
    if recipe is grpo.run:
        paths["reward_model"] = tmp_path / "policy"
    else:
        paths["responses"] = [responses] if recipe is sft.run else responses
    with pytest.raises(Loaded):
        recipe(**paths, config=config, seed=0)
    assert calls[:2] == ["set_device 1", "join by nccl"]
    assert calls[-1] == "to cuda"  # the current device: GPU 1 from here on


def test_pretraining_takes_its_gpu_before_it_reads_the_corpus(calls: list[str], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="corpus"):
        pretrain.run(
            corpus=tmp_path / "corpus.jsonl",
            model=tmp_path / "model",
            work=tmp_path / "work",
            config=PretrainConfig(),
            seed=0,
        )
    assert calls == ["set_device 1", "join by nccl"]
