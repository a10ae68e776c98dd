"""Rewards of responses by a reward model: dialogues as tokens, scored in packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mathloop.errors import BadConfig
from mathloop.models.memory import if_it_fits
from mathloop.models.packing import Sample, common_prefix, pack, share_prompts
from mathloop.models.reward_model import RewardModel
from mathloop.models.tokenizers import end_of_turn
from mathloop.records import Mode
from mathloop.sampling.prompts import Turn, encode_prompt

REMEDY = "take a smaller reward model, or shorter responses (sampling.max_tokens)"


def dialogue_tokens(
    tokenizer: Any, problem: str, mode: Mode, text: str, max_tokens: int, earlier: Sequence[Turn] = ()
) -> list[int]:
    """Tokens of prompt, response and end of turn; over-long ones lose their beginning."""
    after = text + end_of_turn(tokenizer)
    return encode_prompt(tokenizer, problem, mode, earlier=earlier, after=after)[-max_tokens:]


def share_prefix(rows: Sequence[Sequence[int]]) -> list[Sample]:
    """Samples of the tokens `rows`, of which none is learned and whose common prefix is their prompt."""
    common = common_prefix(rows)
    return [Sample(list(row), [0.0] * len(row), common) for row in rows]


@torch.inference_mode()
def score(
    model: RewardModel,
    tokenizer: Any,
    dialogues: Sequence[tuple[str, Mode, str]],
    *,
    tokens: int = 16384,
    max_tokens: int = 4096,
    earlier: Sequence[Turn] = (),
    remedy: str = REMEDY,
) -> list[float]:
    """Rewards (logits) of (problem, mode, response text), in order.

    `earlier` turns come before each of them. A forward pass reads packed rows of at most `tokens` tokens, in
    which responses to one problem share its prompt, and a longer dialogue alone. One that does not fit into
    memory is repeated with half as many tokens, and so are all that follow.

    Raises:
        BadConfig: a single dialogue does not fit; the message ends with `remedy`.
    """
    samples: list[Sample] = [Sample([], [], 0)] * len(dialogues)
    groups: dict[tuple[str, Mode], list[int]] = {}
    for i, (problem, mode, _) in enumerate(dialogues):
        groups.setdefault((problem, mode), []).append(i)
    for group in groups.values():
        rows = [dialogue_tokens(tokenizer, *dialogues[i], max_tokens, earlier) for i in group]
        for i, sample in zip(group, share_prefix(rows), strict=True):
            samples[i] = sample
    scores = [0.0] * len(samples)
    left = list(groups.values())
    while left:
        done: set[int] = set()
        for chosen in share_prompts(left, samples, tokens):
            values = if_it_fits(lambda: forward(model, [samples[i] for i in chosen]))  # noqa: B023
            if values is None:
                tokens = _halve(tokens, [samples[i] for i in chosen], remedy)
                break
            for index, value in zip(chosen, values, strict=True):
                scores[index] = value
            done.update(chosen)
        left = [rest for group in left if (rest := [i for i in group if i not in done])]
    return scores


@torch.inference_mode()
def forward(model: RewardModel, samples: Sequence[Sample]) -> list[float]:
    """Rewards (logits) of samples in one packed row; those with one prompt follow each other."""
    device = next(model.parameters()).device
    values: list[float] = model(pack(samples, device, share_prompts=True)).tolist()
    return values


def _halve(tokens: int, samples: Sequence[Sample], remedy: str) -> int:
    """Half of the tokens of a forward pass of `samples` that did not fit."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(samples) == 1:
        raise BadConfig(
            f"out of memory with one response of {len(samples[0].tokens)} tokens to score: {remedy}"
        )
    return max(1, min(tokens, sum(len(sample.tokens) for sample in samples)) // 2)
