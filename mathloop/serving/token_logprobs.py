"""OpenAI's `logprobs`: the sampled tokens of a response with their log-probabilities."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mathloop.sampling.decoding import Decoded

MOST = 1 << 20
"""Tokens of a response."""


class TokenLogprob(NamedTuple):
    """A sampled token."""

    token: str
    logprob: float
    """Natural logarithm of its probability under the distribution that it was drawn from, before top-p."""


def of_decoded(tokenizer: Any, decoded: Decoded, text: str) -> list[TokenLogprob]:
    """The tokens that the policy sampled, not those that the interpreter wrote; none after a stop text."""
    special = set(tokenizer.all_special_ids)
    most = len(decoded.tokens)
    if decoded.stop:  # the first tokens that hold the text, whose last one may begin the stop text
        most = bisect_left(range(most), len(text), key=lambda n: len(tokenizer.decode(decoded.tokens[:n])))
    rows = zip(decoded.tokens[:most], decoded.logprobs, decoded.sampled, strict=False)
    return [
        TokenLogprob(tokenizer.decode([token]), logprob)
        for token, logprob, sampled in rows
        if sampled and token not in special
    ]


def of_choice(choice: Any) -> list[TokenLogprob] | None:
    """Those of a choice of an OpenAI-compatible server; None if they are not there as they should be."""
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or len(content) > MOST:
        return None
    found = []
    for row in content:
        token, value = (row.get("token"), row.get("logprob")) if isinstance(row, dict) else (None, None)
        if not isinstance(token, str) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        found.append(TokenLogprob(token, float(value)))
    return found


def to_openai(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    """OpenAI's object. A token that is a part of a character has no bytes of its own here."""
    if tokens is None:
        return None
    rows = [
        {
            "token": token,
            "logprob": logprob,
            "bytes": None if "\ufffd" in token else list(token.encode("utf-8", "replace")),
            "top_logprobs": [],
        }
        for token, logprob in tokens
    ]
    return {"content": rows, "refusal": None}
