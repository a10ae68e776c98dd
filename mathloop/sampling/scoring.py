"""Rewards of responses by a reward model: dialogues as tokens, scored in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mathloop.errors import BadConfig
from mathloop.models.memory import if_it_fits
from mathloop.models.reward_model import RewardModel
from mathloop.models.tokenizers import end_of_turn
from mathloop.records import Mode
from mathloop.sampling.prompts import Turn, encode_prompt


def dialogue_tokens(
    tokenizer: Any, problem: str, mode: Mode, text: str, max_tokens: int, earlier: Sequence[Turn] = ()
) -> list[int]:
    """Tokens of prompt, response and end of turn; over-long ones lose their beginning."""
    after = text + end_of_turn(tokenizer)
    return encode_prompt(tokenizer, problem, mode, earlier=earlier, after=after)[-max_tokens:]


def pad(rows: Sequence[Sequence[int]], device: Any = None) -> tuple[Tensor, Tensor]:
    """(tokens, attention), both [batch, seq], padded on the right with zeros."""
    width = max(map(len, rows))
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    attention = torch.zeros(len(rows), width, dtype=torch.long)
    for at, row in enumerate(rows):
        tokens[at, : len(row)] = torch.tensor(row)
        attention[at, : len(row)] = 1
    return tokens.to(device), attention.to(device)


@torch.inference_mode()
def score(
    model: RewardModel,
    tokenizer: Any,
    dialogues: Sequence[tuple[str, Mode, str]],
    *,
    batch_size: int = 256,
    max_tokens: int = 4096,
    earlier: Sequence[Turn] = (),
) -> list[float]:
    """Rewards (logits) of (problem, mode, response text), in order; batches are made of like lengths.

    `earlier` turns come before each of them.
    A batch that does not fit into memory is scored again in halves, and so are all that follow.
    """
    rows = [dialogue_tokens(tokenizer, *dialogue, max_tokens, earlier) for dialogue in dialogues]
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores = [0.0] * len(rows)
    device = next(model.parameters()).device
    start = 0
    while start < len(rows):
        chosen = by_length[start : start + batch_size]
        values = if_it_fits(lambda: model(*pad([rows[i] for i in chosen], device)).tolist())  # noqa: B023
        if values is None and len(chosen) == 1:
            raise BadConfig("out of memory with one response to score: take a smaller reward model")
        if values is None:
            batch_size = len(chosen) // 2
            continue
        for index, value in zip(chosen, values, strict=True):
            scores[index] = value
        start += len(chosen)
    return scores
