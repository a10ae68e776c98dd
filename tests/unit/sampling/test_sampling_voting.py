"""Votes on cases done by hand; the reward model's scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.errors import BadModel
from mathloop.records import Mode, Response
from mathloop.sampling.scoring import RewardModel, dialogue_tokens, score
from mathloop.sampling.voting import vote

DIALOGUES: list[tuple[str, Mode, str]] = [
    ("Mia has 3 apples.", "cot", "So the answer is \\boxed{7}."),
    ("Mia has 3 apples. Tom gives her 4 more. How many has she?", "cot", "3"),
    ("小明有3个苹果。", "tir", "```python\nprint(3 + 4)\n```\n```output\n7\n```\nThe answer is \\boxed{7}."),
    ("Short", "tir", ""),
    ("Mia has 3 apples.", "tir", "So the answer is \\boxed{7}."),
]


def answers(*given: str | None, rewards: tuple[float | None, ...] = ()) -> list[Response]:
    padded = [*rewards, *[None] * (len(given) - len(rewards))]
    return [Response("p", i, "cot", "", a, reward=padded[i]) for i, a in enumerate(given)]


@pytest.mark.parametrize(
    ("given", "winner", "share"),
    [
        (["3", "4", "4"], "4", 2 / 3),
        (["0.5", "7", "\\frac{1}{2}", "1/2"], "0.5", 3 / 4),  # other forms of one number
        (["7", "1/2", "7.0", "0.5", "0.50"], "1/2", 3 / 5),
        (["4", "3", "3", "4"], "4", 1 / 2),  # a tie: the first
        (["3", "4"], "3", 1 / 2),
        ([None, None, "9"], "9", 1.0),  # who does not answer does not vote
    ],
)
def test_the_most_frequent_answer_wins(given: list[str | None], winner: str, share: float) -> None:
    assert vote(answers(*given)) == (winner, pytest.approx(share))


@pytest.mark.parametrize("weighted", [False, True])
def test_nobody_answered(weighted: bool) -> None:
    assert vote(answers(None, None), weighted=weighted) == (None, 0.0)
    assert vote([], weighted=weighted) == (None, 0.0)


def test_a_vote_weighs_what_the_reward_model_gives() -> None:
    responses = answers("3", "3.0", "4", rewards=(-2.0, -1.0, 2.0))
    sigmoid = [1 / (1 + math.exp(-r)) for r in (-2.0, -1.0, 2.0)]
    assert vote(responses, weighted=True) == ("4", pytest.approx(sigmoid[2] / sum(sigmoid)))
    assert vote(responses) == ("3", pytest.approx(2 / 3))


def test_a_response_without_reward_weighs_one_half() -> None:
    responses = answers("3", "4", "4", rewards=(1.0, None, None))
    assert vote(responses, weighted=True) == ("4", pytest.approx(1 / (1 + 1 / (1 + math.exp(-1.0)))))


@pytest.fixture
def policy(tiny_model: Any, tokenizer: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_saved_model_gives_the_same_scores(policy: Path, tiny_model: Any, tmp_path: Path) -> None:
    model, tokenizer = RewardModel.from_policy(policy)
    around = tiny_model(len(tokenizer), seed=1)  # whose own backbone is another one
    around.model = model.backbone
    model.save(tmp_path / "saved", around, tokenizer)
    loaded, itself = RewardModel.load(tmp_path / "saved")
    scores = score(model, tokenizer, DIALOGUES)
    assert score(loaded, itself, DIALOGUES) == scores
    assert len(set(scores)) == len(scores)


def test_a_score_does_not_depend_on_its_batch(policy: Path) -> None:
    model, tokenizer = RewardModel.from_policy(policy)
    together = score(model, tokenizer, DIALOGUES)
    alone = [score(model, tokenizer, [dialogue])[0] for dialogue in DIALOGUES]
    assert together == pytest.approx(alone, abs=1e-5)
    assert score(model, tokenizer, DIALOGUES[::-1]) == pytest.approx(together[::-1], abs=1e-5)
    assert score(model, tokenizer, DIALOGUES, batch_size=2) == pytest.approx(together, abs=1e-5)


def test_padding_is_not_seen(policy: Path) -> None:
    model, tokenizer = RewardModel.from_policy(policy)
    tokens = torch.tensor([dialogue_tokens(tokenizer, *DIALOGUES[0], 4096)])
    attention = torch.ones_like(tokens)
    for filler in (0, 5):
        padded = torch.nn.functional.pad(tokens, (0, 9), value=filler)
        seen = torch.nn.functional.pad(attention, (0, 9))
        assert torch.allclose(model(padded, seen), model(tokens, attention), atol=1e-5)


def test_the_head_is_two_linear_layers_on_the_last_token(policy: Path) -> None:
    model, tokenizer = RewardModel.from_policy(policy)
    for dialogue in DIALOGUES:
        tokens = dialogue_tokens(tokenizer, *dialogue, 4096)
        assert tokens[-1] == tokenizer.eos_token_id
        with torch.no_grad():
            state = model.backbone(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
        first, second = (layer for layer in model.head if isinstance(layer, torch.nn.Linear))
        hidden = (first.weight @ state + first.bias).clamp(min=0)
        expected = (second.weight @ hidden + second.bias).item()
        assert score(model, tokenizer, [dialogue]) == pytest.approx([expected], abs=1e-5)


def test_a_long_dialogue_loses_its_beginning(policy: Path) -> None:
    _, tokenizer = RewardModel.from_policy(policy)
    whole = dialogue_tokens(tokenizer, *DIALOGUES[2], 4096)
    assert dialogue_tokens(tokenizer, *DIALOGUES[2], 7) == whole[-7:]
    assert len(whole) > 7


def test_what_is_saved_scores_the_same_and_has_the_form_that_vllm_reads(policy: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model, tokenizer = RewardModel.from_policy(policy)
    before = score(model.eval(), tokenizer, DIALOGUES)
    model.save(tmp_path / "saved", AutoModelForCausalLM.from_pretrained(policy), tokenizer)
    loaded, again = RewardModel.load(tmp_path / "saved")
    assert score(loaded, again, DIALOGUES) == pytest.approx(before, abs=1e-6)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert (config["architectures"], config["num_labels"]) == (["Qwen2ForRewardModel"], 1)
    names = set(load_file(tmp_path / "saved" / "model.safetensors"))
    assert {"score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias"} <= names
    assert not any(name.startswith("lm_head") for name in names)


def test_a_folder_without_a_head_that_fits_is_refused(policy: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(BadModel, match="no reward head"):
        RewardModel.load(policy)
    narrow = RewardModel(torch.nn.Identity(), 8).head.state_dict()
    save_file({f"score.{name}": value for name, value in narrow.items()}, policy / "head.safetensors")
    with pytest.raises(BadModel, match="width"):
        RewardModel.load(policy)
