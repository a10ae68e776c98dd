"""The text of a response while it is written, token by token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any


class TokenStream:
    """Turns tokens into pieces of text, each sent once it cannot change any more.

    A piece waits while its last character is not whole, or while its end may be the beginning of a stop text,
    which is not part of the response.
    """

    def __init__(
        self, tokenizer: Any, ends: Collection[int], stop: Sequence[str], send: Callable[[str], None]
    ) -> None:
        """`ends` are tokens that end the response and have no text."""
        self._tokenizer, self._ends, self._stop, self._send = tokenizer, ends, stop, send
        self._tokens: list[int] = []
        self._begin = self._read = 0
        """The tokens from `begin` to `read` have been decoded; those after them are decoded with them."""
        self._held = ""

    def hear(self, place: int, token: int) -> None:
        """The response's token number `place`. One that was heard before is ignored: it began again."""
        if place != len(self._tokens) or token in self._ends:
            return
        self._tokens.append(token)
        before = self._tokenizer.decode(self._tokens[self._begin : self._read])
        text = self._tokenizer.decode(self._tokens[self._begin :])
        if text.endswith("\ufffd") or len(text) <= len(before):
            return
        self._begin, self._read = self._read, len(self._tokens)
        self._held += text[len(before) :]
        keep = max((_overlap(self._held, one) for one in self._stop), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if ready:
            self._send(ready)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`, or that follows from where it is inside."""
    if (found := text.find(stop)) >= 0:
        return len(text) - found
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
