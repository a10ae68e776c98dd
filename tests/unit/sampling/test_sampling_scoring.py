"""The reward model's scores of dialogues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.errors import BadConfig
from mathloop.models.loading import new_reward_model
from mathloop.models.packing import Pack
from mathloop.records import Mode
from mathloop.sampling.scoring import dialogue_tokens, score

DIALOGUES: list[tuple[str, Mode, str]] = [
    ("Mia has 3 apples.", "cot", "So the answer is \\boxed{7}."),
    ("Mia has 3 apples. Tom gives her 4 more. How many has she?", "cot", "3"),
    ("小明有3个苹果。", "tir", "```python\nprint(3 + 4)\n```\n```output\n7\n```\nThe answer is \\boxed{7}."),
    ("Short", "tir", ""),
    ("Mia has 3 apples.", "tir", "So the answer is \\boxed{7}."),
]


@pytest.fixture
def policy(tiny_model: Any, tokenizer: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_score_does_not_depend_on_its_batch(policy: Path) -> None:
    model, tokenizer = new_reward_model(policy)
    together = score(model, tokenizer, DIALOGUES)
    alone = [score(model, tokenizer, [dialogue])[0] for dialogue in DIALOGUES]
    assert together == pytest.approx(alone, abs=1e-5)
    assert score(model, tokenizer, DIALOGUES[::-1]) == pytest.approx(together[::-1], abs=1e-5)
    assert score(model, tokenizer, DIALOGUES, tokens=50) == pytest.approx(together, abs=1e-5)


def test_a_pass_is_bounded_and_reads_a_shared_prompt_once(policy: Path) -> None:
    model, tokenizer = new_reward_model(policy)
    asked = [*DIALOGUES, *((DIALOGUES[0][0], DIALOGUES[0][1], f"It is {i}.") for i in range(20))]
    expected = [score(model, tokenizer, [dialogue])[0] for dialogue in asked]
    lengths = [len(dialogue_tokens(tokenizer, *dialogue, 4096)) for dialogue in asked]
    rows: list[int] = []
    model.register_forward_pre_hook(lambda _, given: rows.append(len(given[0].tokens)))
    assert score(model, tokenizer, asked) == pytest.approx(expected, abs=1e-5)
    assert len(rows) == 1
    assert rows.pop() < 0.5 * sum(lengths)
    limit = max(lengths) + 10
    assert score(model, tokenizer, asked, tokens=limit) == pytest.approx(expected, abs=1e-5)
    assert max(rows) <= limit
    assert len(rows) < 0.5 * len(asked)


def test_a_pass_that_does_not_fit_is_repeated_in_halves(policy: Path) -> None:
    model, tokenizer = new_reward_model(policy)
    expected = score(model, tokenizer, DIALOGUES)
    longest = max(len(dialogue_tokens(tokenizer, *dialogue, 4096)) for dialogue in DIALOGUES)
    room = longest + 5

    def refuse(_: object, given: tuple[Pack]) -> None:
        if len(given[0].tokens) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(refuse)
    assert score(model, tokenizer, DIALOGUES) == pytest.approx(expected, abs=1e-5)
    room = 10
    with pytest.raises(BadConfig, match=r"with one response of \d+ tokens to score: lower that"):
        score(model, tokenizer, DIALOGUES, remedy="lower that")


def test_the_head_is_two_linear_layers_on_the_last_token(policy: Path) -> None:
    model, tokenizer = new_reward_model(policy)
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
    _, tokenizer = new_reward_model(policy)
    whole = dialogue_tokens(tokenizer, *DIALOGUES[2], 4096)
    assert dialogue_tokens(tokenizer, *DIALOGUES[2], 7) == whole[-7:]
    assert len(whole) > 7
