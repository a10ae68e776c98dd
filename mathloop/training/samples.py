"""Turns prompts and responses into tokens, each with a loss weight."""

from __future__ import annotations

import re
from typing import Any

from mathloop.models.packing import Sample
from mathloop.models.tokenizers import end_of_turn
from mathloop.records import Mode
from mathloop.sampling.config import PromptConfig
from mathloop.sampling.prompts import DEFAULT, encode_prompt

_OUTPUT = re.compile(r"(?<=```output)\n.*?\n```\n?", re.DOTALL)


def encode(
    tokenizer: Any,
    problem: str,
    mode: Mode,
    text: str,
    *,
    prompt_weight: float = 0.0,
    ended: bool = True,
    ends: frozenset[int] = frozenset(),
    asked: PromptConfig = DEFAULT,
) -> Sample:
    """Encodes one dialogue. Interpreter output (```output blocks) is not learned.

    A response that `ended` by itself closes with the template's end of turn, in place of any of the model's
    end tokens `ends` that its text closes with; one cut at a limit teaches no end.

    `asked` says how the problem is put to the model. The prompt's tokens have the weight `prompt_weight`. If
    that is not 0, as in pretraining, the sample has no prompt to share.
    """
    prompt = encode_prompt(tokenizer, problem, mode, asked)
    tokens, weights, at = list(prompt), [prompt_weight] * len(prompt), 0
    spans = [match.span() for match in _OUTPUT.finditer(text)] if mode == "tir" else []
    for start, end in [*spans, (len(text), len(text))]:
        written = tokenizer(text[at:start], add_special_tokens=False)["input_ids"]
        read = tokenizer(text[start:end], add_special_tokens=False)["input_ids"] if end > start else []
        tokens += written + read
        weights += [1.0] * len(written) + [0.0] * len(read)
        at = end
    while len(tokens) > len(prompt) and tokens[-1] in ends:
        tokens.pop()
        weights.pop()
    if ended:
        tokens.append(int(tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer))))
        weights.append(1.0)
    return Sample(tokens, weights, 0 if prompt_weight else len(prompt))
