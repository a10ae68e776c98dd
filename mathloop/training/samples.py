"""Turns prompts and responses into token tensors with a loss mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mathloop.records import Mode
from mathloop.sampling.prompts import end_of_turn, render_prompt

_OUTPUT = re.compile(r"(?<=```output)\n.*?\n```\n?", re.DOTALL)


@dataclass(frozen=True)
class Sample:
    """Tokens of one prompt and response; `learned[i]` is True where the model is to write token i."""

    tokens: list[int]
    learned: list[bool]


def encode(tokenizer: Any, problem: str, mode: Mode, text: str) -> Sample:
    """Encodes one dialogue. The prompt and interpreter output (```output blocks) are not learned."""
    prompt = tokenizer(render_prompt(tokenizer, problem, mode), add_special_tokens=False)["input_ids"]
    tokens, learned, at = list(prompt), [False] * len(prompt), 0
    spans = [match.span() for match in _OUTPUT.finditer(text)] if mode == "tir" else []
    for start, end in [*spans, (len(text), len(text))]:
        written = tokenizer(text[at:start], add_special_tokens=False)["input_ids"]
        read = tokenizer(text[start:end], add_special_tokens=False)["input_ids"] if end > start else []
        tokens += written + read
        learned += [True] * len(written) + [False] * len(read)
        at = end
    tokens.append(int(tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer))))
    learned.append(True)
    return Sample(tokens, learned)


def collate(samples: Sequence[Sample], padding: int, device: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """Pads on the right: (tokens, attention, learned), each [batch, seq].

    Causal attention never looks right, so models need no mask for this padding; `attention` counts tokens.
    """
    width = max(len(s.tokens) for s in samples)
    tokens = torch.full((len(samples), width), padding, dtype=torch.long)
    attention = torch.zeros(len(samples), width, dtype=torch.long)
    learned = torch.zeros(len(samples), width)
    for row, sample in enumerate(samples):
        tokens[row, : len(sample.tokens)] = torch.tensor(sample.tokens)
        attention[row, : len(sample.tokens)] = 1
        learned[row, : len(sample.tokens)] = torch.tensor(sample.learned, dtype=torch.float)
    return tokens.to(device), attention.to(device), learned.to(device)


def padding_of(tokenizer: Any) -> int:
    """The padding token; padded places are masked out, so any token would do."""
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
