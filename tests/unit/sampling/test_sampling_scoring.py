"""The reward model's scores of dialogues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.models.loading import new_reward_model
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
    assert score(model, tokenizer, DIALOGUES, batch_size=2) == pytest.approx(together, abs=1e-5)


def test_padding_is_not_seen(policy: Path) -> None:
    model, tokenizer = new_reward_model(policy)
    tokens = torch.tensor([dialogue_tokens(tokenizer, *DIALOGUES[0], 4096)])
    attention = torch.ones_like(tokens)
    for filler in (0, 5):
        padded = torch.nn.functional.pad(tokens, (0, 9), value=filler)
        seen = torch.nn.functional.pad(attention, (0, 9))
        assert torch.allclose(model(padded, seen), model(tokens, attention), atol=1e-5)


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
