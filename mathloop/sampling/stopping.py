"""Stop texts: what ends a response besides the model's own end tokens, such as the next few-shot question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Stop:
    """Texts that end a sequence."""

    texts: tuple[str, ...]
    may_end: frozenset[int]
    """Tokens that may complete one of `texts`; only then is the sequence decoded."""
    decode: Callable[[list[int]], str]

    def find(self, tokens: Sequence[int], sampled: Sequence[bool]) -> str:
        """The text that the last token completed, or none (""); what the interpreter wrote ends nothing."""
        if tokens[-1] not in self.may_end:
            return ""
        begin = len(tokens) - 1
        # A character is four bytes at most, and each byte may be a token.
        first = max(0, begin - 4 * max(map(len, self.texts)))
        while begin > first and sampled[begin - 1]:
            begin -= 1
        tail = self.decode(list(tokens[begin:]))
        found = [(tail.find(text), text) for text in self.texts if text in tail]
        return min(found)[1] if found else ""


@lru_cache(maxsize=8)
def stop_at(tokenizer: Any, texts: tuple[str, ...]) -> Stop | None:
    """What decoding needs to stop at `texts`; None for none."""
    if not texts:
        return None
    last = {text[-1] for text in texts}
    decoded = ((token, tokenizer.decode([token])) for token in range(len(tokenizer)))
    # A token with a part of a character decodes as the replacement character.
    may_end = frozenset(token for token, text in decoded if "\ufffd" in text or not last.isdisjoint(text))
    return Stop(texts, may_end, tokenizer.decode)
