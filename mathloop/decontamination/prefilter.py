"""Marks the few texts that a rule may match, in compiled code, so that only these are checked by the rules.

ASCII texts are read where they are; those with LaTeX, and others, are normalized first.
The compiled code (`native/prefilter.c`) repeats the tokens, hashes and lookups of the rules for one text at a
time and stops at the first candidate. It never decides: a text that it passes over has no candidate that a
rule would accept, and all others take the way that they take without it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.answer_conflicts import values
from mathloop.decontamination.batches import Arrays, Passage
from mathloop.decontamination.hashing import Ints
from mathloop.decontamination.native import library
from mathloop.decontamination.native.arrays import Filter, Pointers, bits_near, index_fields, language
from mathloop.decontamination.normalization import APOSTROPHES, is_plain
from mathloop.decontamination.prompts import hinted
from mathloop.decontamination.structure import NUMBER
from mathloop.decontamination.tokenization import encoded

LONGEST = 200_000
"""Characters of a text that is marked as one."""
_BATCH = 1 << 18
"""Characters that are encoded at once, so that they are still in the processor's cache when they are read."""
_MATCHES, _PROMPTED, _UNREAD = np.uint8(1), np.uint8(2), np.uint8(4)
_LETTERS = ctypes.cast(ctypes.pythonapi.PyUnicode_AsUTF8AndSize, ctypes.c_void_p)
"""Gives the compiled code the characters of an ASCII string without a copy."""
_text, _is_statement, _answer = map(itemgetter, range(3))
"""Of a passage; faster than its attributes."""


class TooLong(Exception):
    """A text is longer than `LONGEST`: it has to be cut."""


class Marks(NamedTuple):
    """What is to be done with each of the passages."""

    may_match: npt.NDArray[np.bool_]
    """[passages] A rule may match it."""
    may_have_prompt: npt.NDArray[np.bool_]
    """[passages] It may be a question with a prompt around it."""


class Prefilter:
    """Of an index, and of some rules over it."""

    def __init__(
        self, arrays: Arrays, *, ngram: int, exact: bool, structure_ratio: float, rephrased: bool
    ) -> None:
        """`ngram` and `structure_ratio` are 0 without their rule. Raises Corrupt for a damaged index."""
        self._pointers = Pointers()
        fields, self._language = language()
        self._filter = Filter(
            ngram=ngram,
            exact=exact,
            structure_ratio=structure_ratio,
            rephrased=rephrased,
            number=NUMBER,
            **index_fields(arrays, self._pointers),
            **fields,
        )

    def marks(self, passages: Sequence[Passage]) -> Marks:
        """Marks the passages, of which those with a prompt are statements. Raises TooLong."""
        if not passages:
            return Marks(np.zeros(0, np.bool_), np.zeros(0, np.bool_))
        compiled = library()
        texts, statements = list(map(_text, passages)), list(map(_is_statement, passages))
        if compiled is None:
            _check_sizes(texts)
            return Marks(np.ones(len(texts), np.bool_), _hints(texts, range(len(texts))))
        are_ascii = np.fromiter(map(str.isascii, texts), np.bool_, len(texts))
        normal, changed = _normal(texts, np.flatnonzero(~are_ascii).tolist())
        are_ascii[changed] = True
        are_statements = np.array(statements, np.bool_)
        answers = values(map(_answer, passages))
        near, marks = bits_near(answers), np.zeros(len(texts), np.uint8)

        def mark(function: Any, own: Ints, *data: Any) -> None:
            found = np.zeros(len(own), np.uint8)
            arguments = (*data, len(own), are_statements[own], answers[own], near[own], found)
            failed = function(ctypes.byref(self._filter), *map(_argument, arguments))
            if failed:
                raise TooLong if failed > 0 else MemoryError
            marks[own] = found

        wide = np.flatnonzero(~are_ascii)
        _check_sizes(normal[place] for place in wide.tolist())
        own = np.flatnonzero(are_ascii)
        strings = np.array(normal, np.object_)  # an array of pointers
        mark(compiled.mark_strings, own, _LETTERS, LONGEST, strings[own])
        unread = np.flatnonzero(marks & _UNREAD)
        for places in (unread, wide):
            for own in _batches(places, normal):
                codes, offsets = encoded([normal[place] for place in own.tolist()])
                mark(compiled.mark_texts, own, codes, codes.itemsize > 1, offsets)
        # The compiled code has looked for hints in the others: no hint has an apostrophe.
        unseen = np.concatenate((unread, wide))
        prompted = (marks & _PROMPTED).astype(np.bool_)
        prompted[unseen] = _hints(texts, unseen.tolist())[unseen]
        return Marks((marks & _MATCHES).astype(np.bool_), prompted & are_statements)


def _check_sizes(texts: Iterable[str]) -> None:
    if max(map(len, texts), default=0) > LONGEST:
        raise TooLong


def _normal(texts: list[str], places: Sequence[int]) -> tuple[list[str], list[int]]:
    """The texts, and the places of those that are ASCII but for their apostrophes, which are replaced."""
    normal, changed = list(texts), []
    for place in places:
        text = texts[place]
        for apostrophe in APOSTROPHES:
            text = text.replace(apostrophe, "'")
        if is_plain(text):
            normal[place] = text
            changed.append(place)
    return normal, changed


def _hints(texts: Sequence[str], places: Sequence[int]) -> npt.NDArray[np.bool_]:
    """[texts] Which of those at `places` have a hint of a prompt."""
    found = np.zeros(len(texts), np.bool_)
    found[[places[place] for place in hinted([texts[place] for place in places])]] = True
    return found


def _batches(places: Ints, texts: Sequence[str]) -> Iterator[Ints]:
    """The positions of the texts that are encoded together."""
    ends = np.cumsum(np.fromiter((len(texts[place]) for place in places.tolist()), np.int64, len(places)))
    start = 0
    while start < len(places):
        most = _BATCH + (int(ends[start - 1]) if start else 0)
        end = max(start + 1, int(np.searchsorted(ends, most, "right")))
        yield places[start:end]
        start = end


def _argument(value: npt.NDArray[Any] | ctypes.c_void_p | int) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, ctypes.c_void_p):
        return value
    return ctypes.c_int64(value)
