"""Tokens of many texts at once, as arrays of hashes, without a Python loop over tokens.

A table classifies the characters. Runs of one class are tokens, which are hashed eight characters at a time.
Prefix sums of a polynomial over the hashes give the hash of any n-gram by one subtraction; the same method
over characters hashes words of other scripts. `normalization.tokens` defines what a token is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.hashing import (
    EIGHT,
    FACTOR,
    GRAM_BASE,
    LOWEST,
    U64,
    Codes,
    Ints,
    eights,
    hashes_of,
    kept_commands,
    mix,
    narrow,
    powers_of,
    sums_of,
    wide_hashes,
)
from mathloop.decontamination.normalization import (
    GREEK,
    IDEOGRAPHS,
    IN_TUPLES,
    KEPT_COMMANDS,
    REACH,
    is_plain,
    normalize,
)

DIGIT, LETTER, IDEOGRAPH, GREEK_LETTER, SINGLE = 1, 2, 3, 4, 5
"""Classes of characters, where 0 separates tokens; and of tokens, where SINGLE is a single letter."""
_PAD = "\n" * (EIGHT + 1)
"""Padding around a batch, so that neighbors of any character exist."""
_ROUND_OPEN, _ROUND_CLOSE, _SQUARE_OPEN, _SQUARE_CLOSE, _RIGHT = map(ord, "()[]r")
_IN_TUPLES = np.zeros(1 << 16, np.bool_)
_IN_TUPLES[[ord(letter) for letter in IN_TUPLES]] = True
"""By code of the basic plane."""
_COMMA, _APOSTROPHE, _DOT, _BACKSLASH, _OPEN, _CLOSE, _BANG, _PLURAL = map(ord, ",'.\\{}!s")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch of texts."""

    hashes: U64
    """[tokens]"""
    kinds: npt.NDArray[np.uint8]
    """[tokens] DIGIT, LETTER, IDEOGRAPH, GREEK_LETTER or SINGLE."""
    offsets: Ints
    """[texts + 1] The first token of each text."""
    sums: U64
    """[tokens + 1] Prefix sums of the n-gram polynomial."""
    starts: Ints
    ends: Ints
    """[tokens] Where each begins and ends in `codes`."""
    codes: Codes
    """The normalized characters of all texts, separated by line ends."""

    def characters(self, start: int, end: int) -> str:
        """The characters from `start` up to, but not including, `end`."""
        encoding = "ascii" if self.codes.dtype == np.uint8 else "utf-32-le"
        return self.codes[start:end].tobytes().decode(encoding, "surrogatepass")

    def word(self, place: int) -> str:
        """The token at `place`."""
        start = int(self.starts[place])
        word = self.characters(start, int(self.ends[place]))
        is_command = self.codes[start - 1] == _BACKSLASH
        return GREEK.get(word) or (KEPT_COMMANDS.get(word, word) if is_command else word)

    def grams(self, size: int) -> U64:
        """[max(0, tokens - size + 1)] Hash of the `size` tokens from each position; some span two texts."""
        count = max(0, len(self.hashes) - size + 1)
        values = self.sums[size : size + count] - self.sums[:count]
        values *= powers_of(GRAM_BASE, len(self.sums))[1][:count]
        return np.asarray(values)

    def runs(self, starts: Ints, sizes: Ints) -> U64:
        """[runs] Hash of `sizes` tokens from each of `starts`, the same as in `grams`."""
        values = self.sums[starts + sizes] - self.sums[starts]
        return np.asarray(values * powers_of(GRAM_BASE, len(self.sums))[1][starts])

    def head(self, texts: int) -> Tokens:
        """The first `texts` texts only."""
        end = int(self.offsets[texts])
        return Tokens(
            self.hashes[:end],
            self.kinds[:end],
            self.offsets[: texts + 1],
            self.sums[: end + 1],
            self.starts[:end],
            self.ends[:end],
            self.codes,
        )

    def with_hashes(self, hashes: U64) -> Tokens:
        """A copy with other token hashes."""
        return replace(self, hashes=hashes, sums=sums_of(hashes))

    def texts(self, places: Ints) -> Ints:
        """[places] The text that each token belongs to."""
        return np.searchsorted(self.offsets, places, "right") - 1


STEM = 5
"""Letters of a word that its stem keeps."""


def stem(word: str) -> str:
    """The first letters of a word, which most of its forms share; a short word loses its plural s."""
    return word[:-1] if 3 < len(word) <= STEM and word[-1] == "s" else word[:STEM]


def encoded(texts: Sequence[str]) -> tuple[Codes, Ints]:
    """The normalized characters of all texts, between line ends, and where each begins: [texts + 1]."""
    normal = list(map(normalize, texts))
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, normal), np.int64, len(normal)) + 1, out=offsets[1:])
    return _codes("\n".join(normal)), offsets


def _codes(text: str) -> Codes:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def tokenize(texts: Sequence[str]) -> Tokens:
    """Tokens of `texts`, in order. Takes about 60 bytes of memory per character."""
    joined = "\n".join(texts)
    if is_plain(joined):
        normal = texts
    else:
        normal = [text.lower() if is_plain(text) else normalize(text) for text in texts]
        joined = "\n".join(normal)
    raw = _codes(f"{_PAD}{joined}{_PAD}")
    sizes = np.fromiter(map(len, normal), np.int64, len(normal))
    rows = np.concatenate(([0], np.cumsum(sizes + 1))) + len(_PAD)
    codes: Codes
    if raw.dtype == np.uint8:
        codes, classes = _ascii(narrow(raw))
    else:
        codes, table = raw, character_classes()
        classes = table[np.minimum(codes, len(table) - 1)]
        astral = codes >= len(table)
        if astral.any():
            classes[astral] = np.where((codes[astral] >= 0x20000) & (codes[astral] <= 0x3FFFF), IDEOGRAPH, 0)
    dots = np.flatnonzero(codes == _DOT)
    dots = dots[(classes[dots - 1] == DIGIT) & (classes[dots + 1] == DIGIT)]
    deleted = _deleted(codes, classes)
    classes[dots] = DIGIT
    if len(deleted):
        keep = np.ones(len(codes), bool)
        keep[deleted] = False
        codes, classes = codes[keep], classes[keep]
        rows = rows - np.searchsorted(deleted, rows)
    return _cut(codes, classes, rows)


def _ascii(raw: npt.NDArray[np.uint8]) -> tuple[Codes, npt.NDArray[np.uint8]]:
    """Lower-case codes, and the classes of the characters. Codes below a range wrap around."""
    upper = (raw - np.uint8(ord("A"))) < 26
    codes = raw + (upper.view(np.uint8) << np.uint8(5))
    digits = (codes - np.uint8(ord("0"))) < 10
    letters = (codes - np.uint8(ord("a"))) < 26
    return codes, digits.view(np.uint8) * np.uint8(DIGIT) + letters.view(np.uint8) * np.uint8(LETTER)


def _deleted(codes: Codes, classes: npt.NDArray[np.uint8]) -> Ints:
    """Positions of apostrophes inside words and of thousands separators, sorted."""
    marks = np.flatnonzero(codes == _APOSTROPHE)
    found = [marks[(classes[marks - 1] == LETTER) & (classes[marks + 1] == LETTER)]]
    commas = np.flatnonzero(codes == _COMMA)
    plain = commas[classes[commas - 1] == DIGIT]
    thousands = plain[_thousand(classes, plain + 1)]
    found.append(thousands[~_in_tuples(codes, classes, thousands)])
    spaced = plain[(codes[plain + 1] == _BACKSLASH) & (codes[plain + 2] == _BANG)]
    spaced = spaced[_thousand(classes, spaced + 3)]
    found += [spaced, spaced + 1, spaced + 2]
    braced = commas[
        (codes[commas - 1] == _OPEN) & (codes[commas + 1] == _CLOSE) & (classes[commas - 2] == DIGIT)
    ]
    braced = braced[_thousand(classes, braced + 2)]
    found += [braced - 1, braced, braced + 1]
    return np.sort(np.concatenate(found))


def _in_tuples(codes: Codes, classes: npt.NDArray[np.uint8], commas: Ints) -> npt.NDArray[np.bool_]:
    """[commas] Whether brackets around each enclose numbers only, see `normalization`."""
    starts, ends = _reach(codes, classes, commas, -1), _reach(codes, classes, commas, 1)
    before, after, last = codes[starts], codes[ends], codes[ends + 1]
    opened = (before == _ROUND_OPEN) | (before == _SQUARE_OPEN)
    opened |= (before == _OPEN) & (codes[starts - 1] == _BACKSLASH)
    closed = (after == _ROUND_CLOSE) | (after == _SQUARE_CLOSE)
    closed |= (after == _BACKSLASH) & ((last == _CLOSE) | (last == _RIGHT))
    return np.asarray(opened & closed)


def _reach(codes: Codes, classes: npt.NDArray[np.uint8], commas: Ints, step: int) -> Ints:
    """[commas] The first character before or after each that is neither a digit nor allowed in tuples."""
    places = commas + step
    left = np.arange(len(commas))
    for _ in range(REACH - (step > 0)):
        own = places[left]
        left = left[
            (classes[own] == DIGIT) | _IN_TUPLES[np.minimum(codes[own].astype(np.int64), len(_IN_TUPLES) - 1)]
        ]
        if not len(left):
            break
        places[left] += step
    return places


def _thousand(classes: npt.NDArray[np.uint8], places: Ints) -> npt.NDArray[np.bool_]:
    digits = np.ones(len(places), bool)
    for ahead in range(3):
        digits &= classes[places + ahead] == DIGIT
    digits &= classes[places + 3] != DIGIT
    return digits


def _cut(codes: Codes, classes: npt.NDArray[np.uint8], rows: Ints) -> Tokens:
    border = classes[1:] != classes[:-1]
    if codes.dtype != np.uint8:
        border |= classes[1:] >= IDEOGRAPH
    edges = np.flatnonzero(border) + 1
    kinds = classes[edges]
    token = np.flatnonzero(kinds != 0)
    starts = edges[token]
    ends = edges[np.minimum(token + 1, len(edges) - 1)]  # the padding ends with a separator
    kinds = kinds[token]
    lengths = ends - starts
    hashes = hashes_of(codes, starts, lengths, np.flatnonzero(kinds == GREEK_LETTER))
    commands = np.flatnonzero((codes[starts - 1] == _BACKSLASH) & (kinds == LETTER))
    if len(commands):
        keys, values = kept_commands()
        places = np.minimum(np.searchsorted(keys, hashes[commands]), len(keys) - 1)
        kept = keys[places] == hashes[commands]
        hashes[commands[kept]] = values[places[kept]]
        keep = np.ones(len(starts), bool)
        keep[commands[~kept]] = False
        starts, ends, kinds = starts[keep], ends[keep], kinds[keep]
        hashes = hashes[keep]
    kinds[(ends - starts == 1) & (kinds == LETTER)] = SINGLE
    return Tokens(hashes, kinds, np.searchsorted(starts, rows), sums_of(hashes), starts, ends, codes)


def stems(tokens: Tokens) -> U64:
    """[tokens] Hash of each word's stem, see `stem`; other tokens keep their hash."""
    codes = tokens.codes
    words = np.flatnonzero((tokens.kinds == LETTER) & (codes[tokens.starts - 1] != _BACKSLASH))
    starts, ends = tokens.starts[words], tokens.ends[words]
    lengths = ends - starts
    plural = (lengths > 3) & (lengths <= STEM) & (codes[ends - 1] == _PLURAL)
    kept = np.minimum(lengths, STEM) - plural
    found = tokens.hashes.copy()
    found[words] = mix((eights(narrow(codes), starts) & LOWEST[kept]) * np.uint64(FACTOR))
    if codes.dtype != np.uint8:
        places, values = wide_hashes(codes, starts, starts + kept)
        found[words[places]] = values
    return found


@cache
def character_classes() -> npt.NDArray[np.uint8]:
    """[65536] The class of each character of the basic plane."""
    table = np.zeros(1 << 16, np.uint8)
    kinds = {
        DIGIT: r"\d",
        LETTER: r"[^\W\d_]",
        IDEOGRAPH: f"[{IDEOGRAPHS}]",
        GREEK_LETTER: f"[{''.join(GREEK)}]",
    }
    plane = "".join(map(chr, range(1 << 16)))
    for kind, pattern in kinds.items():
        for match in re.finditer(f"{pattern}+", plane):
            table[match.start() : match.end()] = kind
    return table
