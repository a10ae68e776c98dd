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

from mathloop.decontamination.normalization import (
    GREEK,
    IDEOGRAPHS,
    IN_TUPLES,
    KEPT_COMMANDS,
    REACH,
    is_plain,
    normalize,
)

U64 = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]

DIGIT, LETTER, IDEOGRAPH, GREEK_LETTER, SINGLE = 1, 2, 3, 4, 5
"""Classes of characters, where 0 separates tokens; and of tokens, where SINGLE is a single letter."""
_BASE, _GRAM_BASE, _FACTOR = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0xE7037ED1A0B428DB
"""Odd, so that each has an inverse modulo 2**64."""
_MASK = (1 << 64) - 1
_EIGHT = 8
"""Characters that fit the 64 bits of a hash."""
_LAST_ASCII = 127
_LOWEST = np.array([(1 << 8 * count) - 1 for count in range(_EIGHT + 1)], np.uint64)
"""[count] The bits of the first `count` of them."""
_PAD = "\n" * (_EIGHT + 1)
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
        values *= _powers(_GRAM_BASE, len(self.sums))[1][:count]
        return np.asarray(values)

    def runs(self, starts: Ints, sizes: Ints) -> U64:
        """[runs] Hash of `sizes` tokens from each of `starts`, the same as in `grams`."""
        values = self.sums[starts + sizes] - self.sums[starts]
        return np.asarray(values * _powers(_GRAM_BASE, len(self.sums))[1][starts])

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
        return replace(self, hashes=hashes, sums=_sums(hashes))

    def texts(self, places: Ints) -> Ints:
        """[places] The text that each token belongs to."""
        return np.searchsorted(self.offsets, places, "right") - 1


STEM = 5
"""Letters of a word that its stem keeps."""


def stem(word: str) -> str:
    """The first letters of a word, which most of its forms share; a short word loses its plural s."""
    return word[:-1] if 3 < len(word) <= STEM and word[-1] == "s" else word[:STEM]


def encoded(texts: Sequence[str]) -> tuple[Codes, Ints, npt.NDArray[np.bool_]]:
    """The normalized characters of all texts, between line ends, and where each begins: [texts + 1].

    ASCII letters may be capital ones. The last array tells which texts are as they were: [texts].
    """
    joined, plain = "\n".join(texts), np.ones(len(texts), np.bool_)
    if not is_plain(joined):
        plain = np.fromiter(map(is_plain, texts), np.bool_, len(texts))
        texts = [text if own else normalize(text) for text, own in zip(texts, plain.tolist(), strict=True)]
        joined = "\n".join(texts)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1, out=offsets[1:])
    return _codes(joined), offsets, plain


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
        codes, classes = _ascii(_narrow(raw))
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


def hash_token(token: str) -> int:
    """The hash that `tokenize` gives a token, and `stems` a stem."""
    value = 0
    if token.isascii():
        for start in range(0, len(token), _EIGHT):
            eight = int.from_bytes(token[start : start + _EIGHT].encode(), "little")
            value = ((_mixed(value) + eight) * _FACTOR) & _MASK
    else:
        for letter in reversed(token):
            value = (value * _BASE + ord(letter)) & _MASK
    return _mixed(value)


def _mixed(value: int) -> int:
    return int(mix(np.array([value], np.uint64))[0])


def mix(values: U64) -> U64:
    """Mixes every bit into all bits, so that any of them can index a table."""
    values = values ^ (values >> np.uint64(32))
    values *= np.uint64(0xD6E8FEB86659FD93)
    values ^= values >> np.uint64(32)
    return values


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
    hashes = _hashes(codes, starts, lengths, kinds)
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
    return Tokens(hashes, kinds, np.searchsorted(starts, rows), _sums(hashes), starts, ends, codes)


def stems(tokens: Tokens) -> U64:
    """[tokens] Hash of each word's stem, see `stem`; other tokens keep their hash."""
    codes = tokens.codes
    words = np.flatnonzero((tokens.kinds == LETTER) & (codes[tokens.starts - 1] != _BACKSLASH))
    starts, ends = tokens.starts[words], tokens.ends[words]
    lengths = ends - starts
    plural = (lengths > 3) & (lengths <= STEM) & (codes[ends - 1] == _PLURAL)
    kept = np.minimum(lengths, STEM) - plural
    found = tokens.hashes.copy()
    found[words] = mix((_eights(_narrow(codes), starts) & _LOWEST[kept]) * np.uint64(_FACTOR))
    if codes.dtype != np.uint8:
        places, values = _wide(codes, starts, starts + kept)
        found[words[places]] = values
    return found


def _narrow(codes: Codes) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(codes, np.uint8)


def _eights(letters: npt.NDArray[np.uint8], places: Ints) -> U64:
    """[places] Eight bytes from each position."""
    # A view of the same bytes with overlapping groups of eight.
    eights = np.ndarray((len(letters) - _EIGHT + 1,), f"V{_EIGHT}", letters.data, strides=(1,))
    return eights[places].view(np.uint64)


def _hashes(codes: Codes, starts: Ints, lengths: Ints, kinds: npt.NDArray[np.uint8]) -> U64:
    """[tokens] The hash of each token."""
    narrow = _narrow(codes)
    values = (_eights(narrow, starts) & _LOWEST[np.minimum(lengths, _EIGHT)]) * np.uint64(_FACTOR)
    done = _EIGHT
    longer = np.flatnonzero(lengths > done)
    while len(longer):
        more = _eights(narrow, starts[longer] + done) & _LOWEST[np.minimum(lengths[longer] - done, _EIGHT)]
        values[longer] = (mix(values[longer]) + more) * np.uint64(_FACTOR)
        done += _EIGHT
        longer = longer[lengths[longer] > done]
    hashes = mix(values)
    if codes.dtype != np.uint8:
        places, others = _wide(codes, starts, starts + lengths)
        hashes[places] = others
        greek = np.flatnonzero(kinds == GREEK_LETTER)
        letters, names = greek_names()
        hashes[greek] = names[np.searchsorted(letters, codes[starts[greek]])]
    return hashes


def _wide(codes: Codes, starts: Ints, ends: Ints) -> tuple[Ints, U64]:
    """The runs of characters that are not only ASCII, and their hashes."""
    others = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(codes > _LAST_ASCII, out=others[1:])
    places = np.flatnonzero(others[ends] > others[starts])
    powers, inverses = _powers(_BASE, len(codes) + 1)
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    starts, ends = starts[places], ends[places]
    return places, mix((sums[ends] - sums[starts]) * inverses[starts])


def grams_of(hashes: U64, size: int) -> U64:
    """[max(0, tokens - size + 1)] Hash of the `size` hashes from each position, as in `Tokens.grams`."""
    count = max(0, len(hashes) - size + 1)
    sums = _sums(hashes)
    return (sums[size : size + count] - sums[:count]) * _powers(_GRAM_BASE, len(sums))[1][:count]


def _sums(hashes: U64) -> U64:
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * _powers(_GRAM_BASE, len(sums))[0][: len(hashes)], out=sums[1:])
    return sums


_POWERS: dict[int, tuple[U64, U64]] = {}


def _powers(base: int, size: int) -> tuple[U64, U64]:
    """base**i and its inverse, for i from 0 to at least `size` - 1."""
    powers = _POWERS.get(base)
    if powers is None or len(powers[0]) < size:
        size = max(size, 1 << 18)
        powers = _POWERS[base] = (_geometric(base, size), _geometric(pow(base, -1, 1 << 64), size))
    return powers


def _geometric(factor: int, size: int) -> U64:
    values = np.full(size, factor, np.uint64)
    values[0] = 1
    return np.cumprod(values, dtype=np.uint64)


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


@cache
def greek_names() -> tuple[npt.NDArray[np.uint32], U64]:
    """The Greek letters, sorted, and the hash of each one's name."""
    letters = sorted(GREEK)
    values = [hash_token(GREEK[letter]) for letter in letters]
    return np.array([ord(letter) for letter in letters], np.uint32), np.array(values, np.uint64)


@cache
def kept_commands() -> tuple[U64, U64]:
    """The hashes of the LaTeX commands that are kept, sorted, and of the token that each becomes."""
    pairs = sorted((hash_token(name), hash_token(token)) for name, token in KEPT_COMMANDS.items())
    return np.array([key for key, _ in pairs], np.uint64), np.array([value for _, value in pairs], np.uint64)
