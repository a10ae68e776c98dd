"""One loader: each fault of a folder is one line, what is whole is loaded bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mathloop.errors import BadModel
from mathloop.models.folders import Kind
from mathloop.models.loading import check_model, load_policy, load_reward_model, new_reward_model, one_line
from mathloop.models.saving import save_model
from mathloop.models.tokenizers import check_tokenizer
from mathloop.sampling.scoring import score
from tests.model_faults import FAULTS, shard, write_models

LOADERS: dict[Kind, Any] = {"policy": load_policy, "reward model": load_reward_model}


def refusal(folder: Path, kind: Kind) -> str:
    """The one line that loading and checking the folder both end with."""
    lines = set()
    for attempt in (LOADERS[kind], lambda place: check_model(place, kind)):
        with pytest.raises(BadModel) as caught:
            attempt(folder)
        lines.add(str(caught.value))
    (line,) = lines
    assert "\n" not in line
    assert line.startswith(str(folder))
    assert "; " in line  # what to do
    return line


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", LOADERS)
def test_each_fault_is_one_line(
    policy: Path, reward_model: Path, tmp_path: Path, fault: str, kind: Kind
) -> None:
    folder = policy if kind == "policy" else reward_model
    break_folder, phrase = FAULTS[fault]
    break_folder(folder)
    assert phrase in refusal(folder, kind)
    assert not list(tmp_path.rglob("sprung"))  # what a pickle would have made


def test_the_other_kind_is_refused_by_its_name(policy: Path, reward_model: Path) -> None:
    said = "a reward model (Qwen2ForRewardModel), expected a policy; give the policy's folder"
    assert refusal(reward_model, "policy") == f"{reward_model}: {said}"
    line = refusal(policy, "reward model")
    assert "a policy (Qwen2ForCausalLM) with no reward head, expected a reward model" in line


def test_a_reward_model_is_known_by_its_weights_or_by_its_name(policy: Path, reward_model: Path) -> None:
    config = json.loads((reward_model / "config.json").read_text())
    (reward_model / "config.json").write_text(json.dumps({**config, "architectures": None}))
    assert "a reward model, expected a policy" in refusal(reward_model, "policy")
    config = json.loads((policy / "config.json").read_text())
    named = {**config, "architectures": ["Qwen2ForSequenceClassification"]}
    (policy / "config.json").write_text(json.dumps(named))
    assert "expected a policy" in refusal(policy, "policy")
    assert "the reward head does not fit" in refusal(policy, "reward model")


@pytest.mark.parametrize("name", ["score.0.weight", "score.2.bias"])
def test_a_head_that_does_not_fit_is_refused(reward_model: Path, name: str) -> None:
    weights = load_file(reward_model / "model.safetensors")
    for changed in (weights[name][:1].repeat(2, *[1] * (weights[name].dim() - 1)), None):
        others = {key: value for key, value in weights.items() if key != name}
        save_file(
            others if changed is None else {**others, name: changed}, reward_model / "model.safetensors"
        )
        assert f"the reward head does not fit the backbone: {name} is" in refusal(
            reward_model, "reward model"
        )


@pytest.mark.parametrize("tied", [True, False])
def test_a_policy_is_loaded_as_it_was_saved(tmp_path: Path, tied: bool) -> None:
    policy, reward_model = write_models(tmp_path, tied=tied)
    stored = load_file(policy / "model.safetensors")
    assert ("lm_head.weight" in stored) != tied
    check_model(policy, "policy")
    check_model(reward_model, "reward model")
    before = torch.get_rng_state()
    net, _ = load_policy(policy)
    assert torch.equal(torch.get_rng_state(), before)  # nothing was filled at random
    loaded = net.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in stored.items())
    assert torch.equal(loaded["lm_head.weight"], loaded["model.embed_tokens.weight"]) == tied
    assert {weight.dtype for weight in load_policy(policy, torch.bfloat16)[0].parameters()} == {
        torch.bfloat16
    }


def test_an_untied_head_that_is_missing_is_refused(tmp_path: Path) -> None:
    policy, _ = write_models(tmp_path, tied=False)
    weights = load_file(policy / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, policy / "model.safetensors")
    assert "the weights lack lm_head.weight, which config.json asks for" in refusal(policy, "policy")


def test_weights_in_shards_are_the_same_model(policy: Path, reward_model: Path) -> None:
    whole = load_policy(policy)[0].state_dict()
    dialogues: Any = [("Mia has 3.", "cot", "So 7.")]
    expected = score(*load_reward_model(reward_model), dialogues)
    for folder in (policy, reward_model):
        shard(folder)
    check_model(policy, "policy")
    check_model(reward_model, "reward model")
    parts = load_policy(policy)[0].state_dict()
    assert all(torch.equal(parts[name], weight) for name, weight in whole.items())
    assert score(*load_reward_model(reward_model), dialogues) == expected


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {"a": "../model.safetensors"}}'])
def test_a_damaged_index_is_refused(policy: Path, content: str) -> None:
    shard(policy)
    (policy / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refusal(policy, "policy")


def test_a_file_is_not_a_folder(policy: Path) -> None:
    assert "this is a file" in refusal(policy / "config.json", "policy")


def test_checking_reads_no_weights(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of many gigabytes is checked without their memory: one number stands for each tensor."""
    path = policy / "model.safetensors"
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    numbers = path.read_bytes()[header:]
    path.write_bytes(path.read_bytes()[:header] + b"\xff" * len(numbers))  # each would be a NaN
    expand, made = torch.Tensor.expand, []

    def keep(tensor: torch.Tensor, *shape: Any) -> torch.Tensor:
        made.append(expand(tensor, *shape))
        return made[-1]

    monkeypatch.setattr(torch.Tensor, "expand", keep)
    check_model(policy, "policy")
    assert made
    assert all(tensor.untyped_storage().nbytes() == 4 for tensor in made)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_is_not_blamed_on_the_folder(policy: Path, error: Exception) -> None:
    with (
        pytest.raises(BadModel, match="needs more memory than is free; choose a smaller model"),
        one_line(policy),
    ):
        raise error


def keep_numbers_whole(policy: Path) -> None:
    """tokenizer.json as of a model that reads 12 as one token; its config still says that it is a Qwen2."""
    path = policy / "tokenizer.json"
    whole = json.loads(path.read_text())
    split = whole["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    split["Regex"] = split["Regex"].replace(r"\p{N}|", r"\p{N}+|")
    first, second = whole["model"]["merges"].pop()
    vocabulary = whole["model"]["vocab"]
    vocabulary["12"] = vocabulary.pop(first + second)
    whole["model"]["merges"].append(["1", "2"])
    path.write_text(json.dumps(whole))


def test_a_tokenizer_splits_numbers_as_its_file_says(policy: Path, tmp_path: Path) -> None:
    """AutoTokenizer puts Qwen2's class in its place, which splits every number into digits."""
    keep_numbers_whole(policy)
    net, tokenizer = load_policy(policy)
    assert tokenizer.tokenize("12+7") == ["12", "+", "7"]
    assert tokenizer.eos_token == "<|im_end|>"
    save_model(tmp_path / "saved", net, tokenizer)
    assert load_policy(tmp_path / "saved")[1].tokenize("12+7") == ["12", "+", "7"]


def test_a_tokenizer_that_cannot_follow_its_file_is_refused(policy: Path) -> None:
    keep_numbers_whole(policy)
    path = policy / "tokenizer_config.json"
    added = {"content": "45", "special": False, "normalized": False}
    added |= {"lstrip": False, "rstrip": False, "single_word": False}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_tokens_decoder": {"399": added}}))
    with pytest.raises(BadModel, match=r"does not split text as tokenizer\.json says"):
        load_policy(policy)


def test_a_tokenizer_that_cannot_end_a_response_or_knows_no_text(policy: Path) -> None:
    _, tokenizer = load_policy(policy)
    tokenizer.eos_token = None
    with pytest.raises(BadModel, match="no eos_token"):
        check_tokenizer(policy, tokenizer)

    class Empty:
        chat_template, eos_token_id, unk_token_id = "{{ messages }}", 0, 1

        def __init__(self, known: list[int]) -> None:
            self.known = known

        def apply_chat_template(self, turns: Any, **given: Any) -> str:
            return str(turns)

        def __call__(self, text: str, **given: Any) -> dict[str, list[int]]:
            return {"input_ids": self.known}

    for known in ([], [1, 1, 1]):
        with pytest.raises(BadModel, match="no vocabulary"):
            check_tokenizer(policy, Empty(known))


def test_a_new_reward_model_has_the_policys_backbone(policy: Path) -> None:
    torch.manual_seed(4)
    model, _ = new_reward_model(policy)
    backbone = load_policy(policy)[0].model.state_dict()
    assert all(torch.equal(model.backbone.state_dict()[name], weight) for name, weight in backbone.items())
    torch.manual_seed(4)
    again, _ = new_reward_model(policy)
    assert torch.equal(model.head[0].weight, again.head[0].weight)


def test_a_saved_reward_model_scores_the_same_and_has_vllms_form(policy: Path, tmp_path: Path) -> None:
    dialogues: Any = [("Mia has 3.", "cot", "So 7."), ("3 + 4", "tir", "")]
    model, tokenizer = new_reward_model(policy)
    before = score(model.eval(), tokenizer, dialogues)
    model.save(tmp_path / "saved", tokenizer)
    loaded, again = load_reward_model(tmp_path / "saved")
    assert score(loaded, again, dialogues) == before
    assert len(set(before)) == len(before)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert (config["architectures"], config["num_labels"]) == (["Qwen2ForRewardModel"], 1)
    names = set(load_file(tmp_path / "saved" / "model.safetensors"))
    assert {name for name in names if not name.startswith("model.")} == {
        "score.0.weight",
        "score.0.bias",
        "score.2.weight",
        "score.2.bias",
    }


def test_other_weights_are_saved_in_the_place_of_its_own(policy: Path, tmp_path: Path) -> None:
    model, tokenizer = new_reward_model(policy)
    doubled = {name: 2 * weight for name, weight in model.state_dict().items()}
    model.save(tmp_path / "saved", tokenizer, doubled)
    loaded, _ = load_reward_model(tmp_path / "saved")
    assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in doubled.items())


def test_a_source_is_checked_without_torch(policy: Path, reward_model: Path) -> None:
    script = (
        "import sys\n"
        "from mathloop.models.sources import find_source\n"
        f"print(find_source({str(policy)!r}))\n"
        f"try: find_source({str(reward_model)!r})\n"
        "except Exception as error: print(error)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first == str(policy)
    assert "expected a policy" in second
