"""Hashes of tokens, eight characters at a time, for one token or for all of a batch."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.normalization import GREEK, KEPT_COMMANDS

U64 = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]

GRAM_BASE, FACTOR = 0xD1B54A32D192ED03, 0xE7037ED1A0B428DB
_BASE, _MIX = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
"""Odd, so that each has an inverse modulo 2**64."""
_MASK = (1 << 64) - 1
EIGHT = 8
"""Characters that fit the 64 bits of a hash."""
_LONG = 128
"""Letters of a token up to which the tokens of a batch are hashed together."""
_LAST_ASCII = 127
LOWEST = np.array([(1 << 8 * count) - 1 for count in range(EIGHT + 1)], np.uint64)
"""[count] The bits of the first `count` of them."""


def hash_token(token: str) -> int:
    """The hash that `tokenize` gives a token, and `stems` a stem."""
    value = 0
    if token.isascii():
        value = _following(value, token.encode())
    else:
        for letter in reversed(token):
            value = (value * _BASE + ord(letter)) & _MASK
    return _mixed(value)


def _mixed(value: int) -> int:
    value ^= value >> 32
    value = (value * _MIX) & _MASK
    return value ^ (value >> 32)


def mix(values: U64) -> U64:
    """Mixes every bit into all bits, so that any of them can index a table."""
    values = values ^ (values >> np.uint64(32))
    values *= np.uint64(_MIX)
    values ^= values >> np.uint64(32)
    return values


def _following(value: int, letters: bytes) -> int:
    """The value of a token, up to its last mix, after these further letters."""
    for start in range(0, len(letters), EIGHT):
        eight = int.from_bytes(letters[start : start + EIGHT], "little")
        value = ((_mixed(value) + eight) * FACTOR) & _MASK
    return value


def narrow(codes: Codes) -> npt.NDArray[np.uint8]:
    """The lower byte of each code: the character itself in an ASCII token."""
    return np.ascontiguousarray(codes, np.uint8)


def eights(letters: npt.NDArray[np.uint8], places: Ints) -> U64:
    """[places] Eight bytes from each position."""
    # A view of the same bytes with overlapping groups of eight.
    groups = np.ndarray((len(letters) - EIGHT + 1,), f"V{EIGHT}", letters.data, strides=(1,))
    return groups[places].view(np.uint64)


def hashes_of(codes: Codes, starts: Ints, lengths: Ints, greek: Ints) -> U64:
    """[tokens] The hash of each token; `greek` are the Greek letters among them."""
    letters = narrow(codes)
    values = (eights(letters, starts) & LOWEST[np.minimum(lengths, EIGHT)]) * np.uint64(FACTOR)
    done = EIGHT
    longer = np.flatnonzero(lengths > done)
    while len(longer) and done < _LONG:
        more = eights(letters, starts[longer] + done) & LOWEST[np.minimum(lengths[longer] - done, EIGHT)]
        values[longer] = (mix(values[longer]) + more) * np.uint64(FACTOR)
        done += EIGHT
        longer = longer[lengths[longer] > done]
    # A turn takes as long for one token as for hundreds: of very long ones there are few.
    for token in longer.tolist():
        rest = letters[starts[token] + done : starts[token] + lengths[token]]
        values[token] = _following(int(values[token]), rest.tobytes())
    hashes = mix(values)
    if codes.dtype != np.uint8:
        places, others = wide_hashes(codes, starts, starts + lengths)
        hashes[places] = others
        known, names = greek_names()
        hashes[greek] = names[np.searchsorted(known, codes[starts[greek]])]
    return hashes


def wide_hashes(codes: Codes, starts: Ints, ends: Ints) -> tuple[Ints, U64]:
    """The runs of characters that are not only ASCII, and their hashes."""
    others = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(codes > _LAST_ASCII, out=others[1:])
    places = np.flatnonzero(others[ends] > others[starts])
    powers, inverses = powers_of(_BASE, len(codes) + 1)
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    starts, ends = starts[places], ends[places]
    return places, mix((sums[ends] - sums[starts]) * inverses[starts])


_POWERS: dict[int, tuple[U64, U64]] = {}


def powers_of(base: int, size: int) -> tuple[U64, U64]:
    """base**i and its inverse, for i from 0 to at least `size` - 1."""
    found = _POWERS.get(base)
    if found is None or len(found[0]) < size:
        size = max(size, 1 << 18)
        found = _POWERS[base] = (_geometric(base, size), _geometric(pow(base, -1, 1 << 64), size))
    return found


def _geometric(factor: int, size: int) -> U64:
    values = np.full(size, factor, np.uint64)
    values[0] = 1
    return np.cumprod(values, dtype=np.uint64)


def grams_of(hashes: U64, size: int) -> U64:
    """[max(0, tokens - size + 1)] Hash of the `size` hashes from each position, as in `Tokens.grams`."""
    count = max(0, len(hashes) - size + 1)
    sums = sums_of(hashes)
    return (sums[size : size + count] - sums[:count]) * powers_of(GRAM_BASE, len(sums))[1][:count]


def sums_of(hashes: U64) -> U64:
    """[hashes + 1] Prefix sums of the n-gram polynomial."""
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * powers_of(GRAM_BASE, len(sums))[0][: len(hashes)], out=sums[1:])
    return sums


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
