"""ZeRO-3 creates a policy in shards: no process holds it whole, and what is trained is the same."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mathloop.records import Response, write_responses
from tests.unit.training import two_ranks
from tests.unit.training.toy import write_toy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("deepspeed") is None, reason="the package deepspeed is not installed"
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    write_toy(folder)
    write_responses(folder / "none.jsonl", [Response("of no problem", 0, "cot", "7")])
    two_ranks.run(folder, "sharded")
    return folder


def test_each_process_holds_its_shard_and_the_first_reads_one_tensor_at_a_time(folder: Path) -> None:
    first, second = (json.loads((folder / f"held-{rank}.json").read_text()) for rank in (0, 1))
    weights = load_file(folder / "policy" / "model.safetensors")
    count = sum(tensor.numel() for tensor in weights.values())
    for held in (first, second):
        assert held["whole"] == 0  # elements outside of shards
        assert count / 2 <= held["shards"] <= count / 2 + len(weights)  # a shard may have padding
        assert held["frequencies"] == "torch.float32"
    assert (first["tensors read"], first["most at a time"]) == (len(weights), 1)
    assert second["tensors read"] == 0


def test_the_shards_are_the_files_weights(folder: Path) -> None:
    weights = load_file(folder / "policy" / "model.safetensors")
    read = torch.load(folder / "read.pt")
    assert read.keys() == weights.keys()
    for name, tensor in weights.items():
        assert torch.equal(read[name], tensor), name


def test_a_policy_that_nothing_is_learned_from_is_saved_as_it_was(folder: Path) -> None:
    weights = load_file(folder / "policy" / "model.safetensors")
    saved = load_file(folder / "none-half" / "model.safetensors")
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize("name", ["sft", "none", "reward"])
def test_a_recipe_ends_with_the_weights_of_whole_models(folder: Path, name: str) -> None:
    whole, sharded = (load_file(folder / f"{name}-{stage}" / "model.safetensors") for stage in (0, 3))
    assert whole.keys() == sharded.keys()
    # Shifting all scores changes no loss: these biases have no gradient, of whose rounding AdamW makes steps.
    for tensor in whole.keys() - {"score.0.bias", "score.2.bias"}:
        torch.testing.assert_close(sharded[tensor], whole[tensor], rtol=1e-4, atol=1e-5)
