"""Plain documents as samples for pretraining: one after another, cut at a fixed length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mathloop.models.packing import Sample

_TOGETHER = 64
"""Documents that are encoded at a time."""
_END = "<|endoftext|>"


def packed(tokenizer: Any, texts: Iterable[str], max_tokens: int) -> Iterator[Sample]:
    """Samples of `max_tokens` tokens each, all learned; only the last one may be shorter.

    Every document ends with `<|endoftext|>`, or the tokenizer's end token if it has none; a sample may begin
    inside of a document and hold several. Memory does not grow with the documents.
    """
    end = tokenizer.get_vocab().get(_END, tokenizer.eos_token_id)
    rest: list[int] = []
    iterator = iter(texts)
    while batch := list(islice(iterator, _TOGETHER)):
        for tokens in tokenizer(batch, add_special_tokens=False)["input_ids"]:
            rest += [*tokens, end]
            while len(rest) >= max_tokens:
                yield _sample(rest[:max_tokens])
                del rest[:max_tokens]
    if len(rest) > 1:  # of one token nothing is predicted
        yield _sample(rest)


def _sample(tokens: list[int]) -> Sample:
    return Sample(tokens, [1.0] * len(tokens), 0)
