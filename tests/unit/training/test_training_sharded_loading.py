"""What ZeRO-3 loads in shards and what whole, and what of it does not depend on that. Without DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mathloop.models.reward_model import RewardModel
from mathloop.models.tokenizers import load_tokenizer
from mathloop.training import sharded
from mathloop.training.config import EngineConfig
from mathloop.training.fingerprint import fingerprint
from mathloop.training.ranks import Ranks
from tests.unit.training.toy import write_toy

HALF = EngineConfig(zero=3, dtype="bfloat16")


def ranks(world: int) -> Ranks:
    return Ranks(0, world, torch.device("cpu"))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loading")
    write_toy(folder)
    return folder / "policy"


@pytest.fixture
def rounded(policy: Path) -> Any:
    """The policy as ZeRO-3 loads it, but for the shards."""
    net = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.bfloat16)
    for parameter in net.parameters():
        parameter.ds_id = 0
    return net


def test_an_architecture_that_is_not_known_is_loaded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3_text"}))
    monkeypatch.setattr(sharded, "load_policy", lambda folder: ("whole", folder))
    monkeypatch.setattr(sharded, "new_reward_model", lambda folder: ("new", folder))
    assert sharded.load_trainable(tmp_path, HALF, ranks(2)) == ("whole", tmp_path)
    assert sharded.new_trainable_reward_model(tmp_path, HALF, ranks(2)) == ("new", tmp_path)


def test_a_reward_model_s_head_is_the_same_training_with_and_without_shards(
    policy: Path, rounded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded, "load_trainable", lambda *_: (rounded, None))
    torch.manual_seed(0)
    head = sharded.new_trainable_reward_model(policy, HALF, ranks(2))[0].head
    assert {parameter.dtype for parameter in head.parameters()} == {torch.bfloat16}
    torch.manual_seed(0)
    whole = RewardModel(rounded.base_model, rounded.config.hidden_size).head
    assert fingerprint(head) == fingerprint(whole)


def test_an_untrained_policy_is_not_saved_rounded(policy: Path, rounded: Any, tmp_path: Path) -> None:
    sharded.save_untrained(tmp_path / "model", policy, rounded, load_tokenizer(policy), ranks(1))
    saved, given = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", policy))
    assert saved.keys() == given.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in given.items())
