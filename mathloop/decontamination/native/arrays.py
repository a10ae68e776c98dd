"""The arrays that the compiled code reads, as pointers: of an index, and of the lexicon."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.answer_conflicts import Values
from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.exact import CONTAINED
from mathloop.decontamination.hashing import U64, grams_of, greek_names, kept_commands, mix
from mathloop.decontamination.lexicon import lexicon
from mathloop.decontamination.prompts import HINTS
from mathloop.decontamination.sketches import COARSE
from mathloop.decontamination.structure import SHARED
from mathloop.decontamination.tables import Table, Vocabulary
from mathloop.decontamination.tokenization import character_classes
from mathloop.decontamination.words import CHINESE_DIGITS, CHINESE_POWERS
from mathloop.errors import Corrupt

_TABLES = ("grams", "whole", "anchors", "heads", "skeletons", "likeness", "rare", "sets", "words")
_STEPS, _NEAR = 1e4, 0.02
"""Answers are told apart that differ by about one in ten thousand."""
_ALL = ~np.uint64(0)


class _Table(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("keys", "starts", "values", "bits", "buckets")),
        *((name, ctypes.c_int64) for name in ("count", "bit_shift", "bucket_shift")),
    )


class _Vocabulary(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("keys", "slots")),
        ("mask", ctypes.c_uint64),
    )


def _fields(names: str, kind: Any) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Filter(ctypes.Structure):
    """As in `index.h`."""

    _fields_ = (
        ("hints", ctypes.c_char_p),
        *_fields("classes greek_letters greek_names command_keys command_values", ctypes.c_void_p),
        *_fields("greek_count command_count", ctypes.c_int64),
        ("number", ctypes.c_uint64),
        ("runs", ctypes.c_void_p),
        ("run_shift", ctypes.c_int64),
        *_fields("ngram exact", ctypes.c_int64),
        ("structure_ratio", ctypes.c_double),
        ("rephrased", ctypes.c_int64),
        *_fields(" ".join(f"table_{name}" for name in _TABLES), _Table),
        *_fields(
            "item_offsets item_bones anchor_places item_runs item_answers",
            ctypes.c_void_p,
        ),
        *_fields(
            "key_entries rare_entries set_entries",
            ctypes.c_void_p,
        ),
        *_fields("sketch_bits sketch_masses sketch_symbolic coarse", ctypes.c_void_p),
        ("item_count", ctypes.c_int64),
        *_fields("spelled counted words", _Vocabulary),
        *_fields("spelled_values is_tens is_unit compounds", ctypes.c_void_p),
        ("spelled_count", ctypes.c_int64),
        *_fields("counted_weights representatives word_weights articles", ctypes.c_void_p),
        ("article_count", ctypes.c_int64),
        *_fields("numerals numeral_values", ctypes.c_void_p),
        ("numeral_count", ctypes.c_int64),
    )


class Pointers:
    """Pointers to arrays, which live as long as this."""

    def __init__(self) -> None:
        self._kept: list[npt.NDArray[Any]] = []

    def to(self, array: npt.NDArray[Any], kind: Any) -> int:
        """Raises Corrupt for an array of another type than the compiled code expects."""
        kept = np.ascontiguousarray(array)
        _check("types", kept.dtype == kind)
        self._kept.append(kept)
        return kept.ctypes.data


def index_fields(arrays: Arrays, pointers: Pointers) -> dict[str, Any]:
    """The fields of an index. Raises Corrupt for a place outside, since the compiled code does not check."""
    items = len(arrays["items.offsets"]) - 1
    arrays = {**arrays, **_beginnings(arrays)}
    tables = {f"table_{name}": _table(arrays, name, items, pointers) for name in _TABLES}
    offsets, bones = arrays["items.offsets"], arrays["skeletons.tokens"]
    runs = _runs(bones)
    shapes: dict[str, tuple[int, ...]] = {
        "likeness.answers": (items, 4),
        "sketches.bits": (items, 24),
        "sketches.masses": (items, 3),
        "sketches.symbolic": (items,),
        "whole.runs": (items,),
    }
    for name, shape in shapes.items():
        _check(name, arrays[name].shape == shape)
    return tables | {
        "item_count": items,
        "item_offsets": pointers.to(offsets, np.int64),
        "item_bones": pointers.to(bones, np.uint64),
        "anchor_places": pointers.to(arrays["anchors.places"], np.int32),
        "item_runs": pointers.to(arrays["whole.runs"], np.uint64),
        "item_answers": pointers.to(arrays["likeness.answers"], np.float64),
        "key_entries": pointers.to(_entries(arrays, "likeness"), np.uint64),
        "rare_entries": pointers.to(_entries(arrays, "rare"), np.uint64),
        "set_entries": pointers.to(_entries(arrays, "sets"), np.uint64),
        "runs": pointers.to(runs, np.uint64),
        "run_shift": 65 - len(runs).bit_length(),
        "sketch_bits": pointers.to(arrays["sketches.bits"], np.uint64),
        "sketch_masses": pointers.to(arrays["sketches.masses"], np.float32),
        "sketch_symbolic": pointers.to(arrays["sketches.symbolic"], np.bool_),
        "coarse": pointers.to(np.array(COARSE), np.float64),
    }


def _beginnings(arrays: Arrays) -> Arrays:
    """Tables of long items by their first tokens, and of shorter ones by their anchors, see `exact`.

    Fewer texts have these than the anchors of all items.
    """
    offsets, tokens, places = arrays["items.offsets"], arrays["items.tokens"], arrays["anchors.places"]
    sizes = np.diff(offsets)
    inside = offsets[0] == 0 and int(offsets[-1]) == len(tokens) == len(arrays["skeletons.tokens"])
    _check("items", bool(inside and (sizes >= 0).all() and len(places) == len(sizes)))
    _check("anchors", bool(((places >= 0) & (places < np.maximum(sizes, 1))).all()))
    long, short = np.flatnonzero(sizes >= CONTAINED), np.flatnonzero((sizes > 1) & (sizes < CONTAINED))
    heads = grams_of(tokens, CONTAINED)[offsets[long]]
    anchors = grams_of(tokens, 2)[offsets[short] + places[short]]
    return Table.build(heads, long).named("heads") | Table.build(anchors, short).named("anchors")


def _table(arrays: Arrays, name: str, items: int, pointers: Pointers) -> _Table:
    table = Table.of(arrays, name)
    count, bits, buckets = len(table.keys), len(table.bits) * 8, len(table.buckets) - 1
    sizes = all(size > 0 and size & (size - 1) == 0 for size in (bits, buckets))
    starts = len(table.starts) == count + 1 and bool((np.diff(table.starts.astype(np.int64)) > 0).all())
    inside = starts and int(table.starts[0]) == 0 and int(table.starts[-1]) == len(table.values)
    numbers = name == "words" or not len(table.values)
    inside &= numbers or (int(table.values.min()) >= 0 and int(table.values.max()) < items)
    _check(name, sizes and inside and buckets > 1 and int(table.buckets.max()) <= count)
    return _Table(
        keys=pointers.to(table.keys, np.uint64),
        starts=pointers.to(table.starts, np.uint32),
        values=pointers.to(table.values, np.int32),
        bits=pointers.to(table.bits, np.uint8),
        buckets=pointers.to(table.buckets, np.uint32),
        count=count,
        bit_shift=65 - bits.bit_length(),
        bucket_shift=65 - buckets.bit_length(),
    )


@cache
def language() -> tuple[dict[str, Any], Pointers]:
    """The fields of the lexicon and of the characters, and what keeps their arrays alive."""
    pointers = Pointers()
    words = lexicon()
    letters, names = greek_names()
    commands, command_values = kept_commands()
    numerals = CHINESE_DIGITS | CHINESE_POWERS
    fields: dict[str, Any] = {
        # At least two letters each, which the compiled code looks at first.
        "hints": "".join(f"{hint}\0" for hint in HINTS if hint.isascii() and len(hint) > 1).encode(),
        "classes": pointers.to(character_classes(), np.uint8),
        "greek_letters": pointers.to(letters, np.uint32),
        "greek_names": pointers.to(names, np.uint64),
        "greek_count": len(letters),
        "command_keys": pointers.to(commands, np.uint64),
        "command_values": pointers.to(command_values, np.uint64),
        "command_count": len(commands),
        "spelled": _vocabulary(words.numbers, pointers),
        "counted": _vocabulary(words.counted, pointers),
        "words": _vocabulary(words.words, pointers),
        "spelled_values": pointers.to(words.values, np.uint64),
        "is_tens": pointers.to(words.is_tens, np.bool_),
        "is_unit": pointers.to(words.is_unit, np.bool_),
        "compounds": pointers.to(words.compounds, np.uint64),
        "spelled_count": len(words.values),
        "counted_weights": pointers.to(words.counted_weights, np.float64),
        "representatives": pointers.to(words.representatives, np.uint64),
        "word_weights": pointers.to(words.weights, np.float64),
        "articles": pointers.to(words.articles, np.uint64),
        "article_count": len(words.articles),
        "numerals": pointers.to(np.array(list(map(ord, numerals)), np.uint32), np.uint32),
        "numeral_values": pointers.to(np.array(list(numerals.values()), np.int64), np.int64),
        "numeral_count": len(numerals),
    }
    return fields, pointers


def _vocabulary(vocabulary: Vocabulary, pointers: Pointers) -> _Vocabulary:
    """A small table that is probed linearly: the perfect one is larger than the processor's cache."""
    keys = vocabulary.keys.tolist()
    mask = (1 << (8 * len(keys)).bit_length()) - 1  # most other words meet an empty slot at once
    slots = [0] * (mask + 1)
    for entry, key in enumerate(keys[1:], 1):
        place = key & mask
        while slots[place]:
            place = (place + 1) & mask
        slots[place] = entry
    array = np.array(slots, np.uint16)
    return _Vocabulary(
        keys=pointers.to(vocabulary.keys, np.uint64), slots=pointers.to(array, np.uint16), mask=mask
    )


def _runs(bones: U64) -> U64:
    """[2**n] Two bits for each run of `SHARED` tokens: with 8 runs per word one in 18 others passes."""
    hashes = grams_of(bones, SHARED)
    size = max(1, (len(hashes) // 8).bit_length() - 1)
    found = np.zeros(1 << size, np.uint64)
    low, high = hashes & np.uint64(63), (hashes >> np.uint64(6)) & np.uint64(63)
    np.bitwise_or.at(found, hashes >> np.uint64(64 - size), (np.uint64(1) << low) | (np.uint64(1) << high))
    return found


def bits_near(answers: Values) -> U64:
    """[texts] The bits of the answers that do not differ from each; all if it is unknown."""
    scaled = _scaled(answers)
    bits = _bits(scaled - _NEAR) | _bits(scaled + _NEAR)
    return np.where(np.isfinite(answers), bits, _ALL)


def _entries(arrays: Arrays, name: str) -> U64:
    """[keys, 2] Each key, and the bits of the answers of its items; all where one is unknown."""
    table, answers = Table.of(arrays, name), arrays["likeness.answers"]
    if not len(table.keys):
        return np.zeros((0, 2), np.uint64)
    bits = np.where(np.isnan(answers), np.uint64(0), _bits(_scaled(answers)))
    unknown = np.isnan(answers[:, 0]) | np.isinf(answers).any(axis=1)
    of_items = np.where(unknown, _ALL, np.bitwise_or.reduce(bits, axis=1))
    starts = table.starts[:-1].astype(np.int64)
    return np.stack((table.keys, np.bitwise_or.reduceat(of_items[table.values], starts)), axis=1)


def _scaled(answers: Values) -> Values:
    """Two answers that do not differ (see `answer_conflicts`) are at most `_NEAR` apart on this scale."""
    return np.asarray(np.arcsinh(np.nan_to_num(answers)) * _STEPS)


def _bits(scaled: Values) -> U64:
    """A bit for each answer, by its place on the scale."""
    return np.uint64(1) << (mix(np.floor(scaled).astype(np.int64).view(np.uint64)) >> np.uint64(58))


def _check(name: str, right: bool) -> None:
    if not right:
        raise Corrupt(f"the decontamination index is damaged ({name}); delete its folder to rebuild it")
