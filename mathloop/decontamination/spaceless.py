"""Copies without spaces between words, whose tokens differ from the item's.

Only suspicious texts are compared letter by letter: with very long words, few or long tokens, or no space;
and statements with Greek letters, of which one may replace all of a Latin letter: α_{4} x^{4} + α_{3} x^{3}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.batches import Arrays, Batch
from mathloop.decontamination.hashing import U64, Ints, mix
from mathloop.decontamination.items import Items
from mathloop.decontamination.look_alikes import LATIN
from mathloop.decontamination.normalization import compact, normalize
from mathloop.decontamination.tables import Table
from mathloop.decontamination.tokenization import GREEK_LETTER, LETTER, Tokens

JOINED, FEW, DENSE = 16, 16, 6.5
"""Spaces may be missing where a word has as many letters, and in a statement of at most so many tokens, with
more characters per token, or with words or LaTeX commands and no space."""
ANCHOR, _LEAST_LETTERS = 32, 4
"""Characters of an item that are looked up anywhere in a text; letters that a shorter item must have."""
_OTHERS = re.compile(r"[^\w+\-*/^=<>,]|_|,(?!\d)|(?<!\d),")
_OPERATORS = str.maketrans("−–×·•÷", "--***/")
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(r"\d+")
_POWERS = np.cumprod(np.full(ANCHOR, 0x9E3779B97F4A7C15, np.uint64), dtype=np.uint64)
_CACHED = 4096
_SPACE, _BACKSLASH = ord(" "), ord("\\")


def spaceless(text: str) -> str:
    """Letters, digits and operators of a text; commas between digits stay.

    Greek letters are the Latin ones that they look like: without spaces α may be part of a word, and a
    capital sigma its end, whose small letter is another.
    """
    plain = compact("".join(normalize(text).split())).replace("ς", "σ")
    plain = plain if plain.isascii() else plain.translate(LATIN)
    return _OTHERS.sub("", plain.translate(_OPERATORS))


class Spaceless:
    """Looks up items in texts without spaces."""

    def __init__(self, items: Items, arrays: Arrays) -> None:
        self._items, self._keys = items, Table.of(arrays, "spaceless")
        self._of_item = lru_cache(_CACHED)(lambda item: spaceless(items[item].text))

    @staticmethod
    def build(texts: Iterable[str]) -> Arrays:
        """The arrays for the lookup: the first characters of each item."""
        plain = [spaceless(text) for text in texts]
        owners = [item for item, text in enumerate(plain) if len(_LETTER.findall(text)) >= _LEAST_LETTERS]
        keys = _keys(plain[item][:ANCHOR] for item in owners)
        return Table.build(keys, np.array(owners, np.int64)).named("spaceless")

    def find(self, batch: Batch) -> list[tuple[int, int]]:
        """(text, item) where a text, or a line of it, is the item, or contains a long one, but for spaces."""
        suspects = _suspects(batch).tolist()
        texts = [batch.passages[text].text for text in suspects]
        wholes = list(map(spaceless, texts))
        found = {
            (suspects[owner], item)
            for owner, place, item in self._matches(list(map(_grams, wholes)))
            if wholes[owner].startswith(self._of_item(item), place)
        }
        lines = [_short_lines(text, whole) for text, whole in zip(texts, wholes, strict=True)]
        for owner, place, item in self._matches([_keys(own.values()) for own in lines]):
            line, plain = list(lines[owner].items())[place]
            # 12 7 is 127 only where all spaces are missing.
            if plain == self._of_item(item) and (len(line.split()) == 1 or self._same_numbers(line, item)):
                found.add((suspects[owner], item))
        return sorted(found)

    def _matches(self, keys: Sequence[U64]) -> Iterable[tuple[int, int, int]]:
        """(text, position of the key in the text's keys, item) of each text's `keys`."""
        ends = np.cumsum(list(map(len, keys)))
        places, items = self._keys.find(np.concatenate([*keys, np.zeros(0, np.uint64)]))
        owners = np.searchsorted(ends, places, "right")
        within = places - (ends[owners] - np.array(list(map(len, keys)), np.int64)[owners])
        return zip(owners.tolist(), within.tolist(), items.tolist(), strict=True)

    def _same_numbers(self, line: str, item: int) -> bool:
        one, other = (_NUMBER.findall(compact(normalize(text))) for text in (line, self._items[item].text))
        return one == other


def _short_lines(text: str, whole: str) -> dict[str, str]:
    """The text and its lines, of which fewer than ANCHOR characters are left without spaces."""
    lines = {line: spaceless(line) for line in text.splitlines() if line != text} | {text: whole}
    return {line: plain for line, plain in lines.items() if len(plain) < ANCHOR}


def _suspects(batch: Batch) -> Ints:
    tokens, statements = batch.tokens, batch.statements
    long = np.flatnonzero((tokens.ends - tokens.starts >= JOINED) & (tokens.kinds == LETTER))
    short = np.flatnonzero(np.diff(statements.offsets) <= FEW)
    filled = np.flatnonzero(np.diff(statements.offsets))
    first, last = statements.offsets[filled], statements.offsets[filled + 1] - 1
    dense = statements.ends[last] - statements.starts[first] > DENSE * (last - first + 1)
    bare = _have(statements, statements.codes == _SPACE, first, last) == 0
    words = np.concatenate(([0], np.cumsum(statements.kinds == LETTER)))
    bare &= (words[last + 1] > words[first]) | (
        _have(statements, statements.codes == _BACKSLASH, first, last) > 0
    )
    greek = statements.texts(np.flatnonzero(statements.kinds == GREEK_LETTER))
    return np.unique(np.concatenate((tokens.texts(long), short, filled[dense], filled[bare], greek)))


def _have(tokens: Tokens, characters: npt.NDArray[np.bool_], first: Ints, last: Ints) -> Ints:
    """How many of the `characters`, a mask, are between the first and the last token of each text."""
    places = np.flatnonzero(characters)
    return np.searchsorted(places, tokens.ends[last]) - np.searchsorted(places, tokens.starts[first])


def _grams(text: str) -> U64:
    """[characters - ANCHOR + 1] The key of the characters from each position."""
    if len(text) < ANCHOR:
        return np.zeros(0, np.uint64)
    sums, size = _codes(text) * _POWERS[0], 1
    while size < ANCHOR:  # of twice as many characters each time
        sums, size = sums[:-size] + sums[size:] * _POWERS[size - 1], 2 * size
    return mix(sums)


def _keys(texts: Iterable[str]) -> U64:
    """[texts] The key of each text of at most ANCHOR characters."""
    return mix(_codes("".join(text.ljust(ANCHOR, "\0") for text in texts)).reshape(-1, ANCHOR) @ _POWERS)


def _codes(text: str) -> U64:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
