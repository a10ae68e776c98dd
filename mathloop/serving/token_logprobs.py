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
MOST_LIKELIEST = 20
"""Of OpenAI's `top_logprobs`."""


class TokenLogprob(NamedTuple):
    """A sampled token."""

    token: str
    logprob: float
    """Natural logarithm of its probability under the distribution that it was drawn from, before top-p."""
    likeliest: tuple[tuple[str, float], ...] = ()
    """As many tokens in its place as the question asks for, the likeliest first."""


def of_decoded(tokenizer: Any, decoded: Decoded, text: str) -> list[TokenLogprob]:
    """The tokens that the policy sampled, not those that the interpreter wrote; none after a stop text."""
    special = set(tokenizer.all_special_ids)
    most = len(decoded.tokens)
    if decoded.stop:  # the first tokens that hold the text, whose last one may begin the stop text
        most = bisect_left(range(most), len(text), key=lambda n: len(tokenizer.decode(decoded.tokens[:n])))
    likeliest = decoded.likeliest or [[]] * len(decoded.tokens)
    rows = zip(decoded.tokens[:most], decoded.logprobs, decoded.sampled, likeliest, strict=False)
    return [
        TokenLogprob(
            tokenizer.decode([token]),
            logprob,
            tuple((tokenizer.decode([other]), value) for other, value in others),
        )
        for token, logprob, sampled, others in rows
        if sampled and token not in special
    ]


def of_choice(choice: Any, likeliest: int) -> list[TokenLogprob] | None:
    """Those of a choice of an OpenAI-compatible server; None if they are not there as they should be.

    `likeliest` are asked for in each token's place, of which a server may give one more: the token itself.
    """
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or len(content) > MOST:
        return None
    found = []
    for row in content:
        one = _of_row(row)
        others = row.get("top_logprobs", []) if likeliest and isinstance(row, dict) else []
        if one is None or not isinstance(others, list) or len(others) > MOST_LIKELIEST + 1:
            return None
        shown = [_of_row(other) for other in others[:likeliest]]
        if any(other is None for other in shown):
            return None
        found.append(one._replace(likeliest=tuple((o.token, o.logprob) for o in shown if o is not None)))
    return found


def _of_row(row: Any) -> TokenLogprob | None:
    token, value = (row.get("token"), row.get("logprob")) if isinstance(row, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return TokenLogprob(token, float(value))


def to_openai(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    """OpenAI's object. A token that is a part of a character has no bytes of its own here."""
    if tokens is None:
        return None
    rows = [
        {
            **_row(one.token, one.logprob),
            "top_logprobs": [_row(token, logprob) for token, logprob in one.likeliest],
        }
        for one in tokens
    ]
    return {"content": rows, "refusal": None}


def _row(token: str, logprob: float) -> dict[str, Any]:
    data = None if "\ufffd" in token else list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": logprob, "bytes": data}
