"""A round's problems from a published data set: every row checked, with only digests in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from mathloop.answers import verify
from mathloop.errors import BadData
from mathloop.lines import shown
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.sources import Source, read_source
from mathloop.problems.sources.parsing import Place
from mathloop.records import Problem

_TOLD = 3
"""Repeated problems whose ids are told."""


def read_problem_file(
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    layout: str | None = None,
    split: str | None = None,
) -> Iterator[Problem]:
    """Yields the problems of a file or folder, each checked against those before it.

    Raises:
        BadData: at the end, if a row is broken: one line about the first few of them. Or the file has no
            rows at all, or cannot be read.
    """
    source = read_source(path, fields=fields, layout=layout, split=split)
    seen = _Seen()
    for place, problem in source.numbered():
        try:
            seen.add(problem, place)
        except BadData as error:
            source.broken.append(error.bare())
            continue
        yield problem
    source.check()


class Repeats:
    """Problems whose statement is that of an earlier one. Holds some 200 bytes per problem."""

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[str, str]] = {}
        """Hash of a statement → id and answer of its first problem."""
        self.count = self.differing = 0
        """Problems that repeat a statement; those among them with another answer than the first."""
        self.ids: list[tuple[str, str]] = []
        """The first of them, each with the id of the earlier problem."""

    def add(self, problem: Problem) -> None:
        """Adds the next problem."""
        answer = problem.answer or ""
        first, gold = self._first.setdefault(_digest(problem.problem), (problem.id, answer))
        if first == problem.id:
            return
        self.count += 1
        self.differing += answer != gold and not verify(gold, answer).correct
        if len(self.ids) < _TOLD:
            self.ids.append((problem.id, first))

    def __str__(self) -> str:
        """A line's part: "3 problems repeat an earlier one (b like a, …), 1 of them with another answer"."""
        some = ", ".join(f"{one} like {first}" for one, first in self.ids)
        more = ", …" if self.count > len(self.ids) else ""
        other = f", {self.differing:,} of them with another answer" if self.differing else ""
        repeat = "problem repeats" if self.count == 1 else "problems repeat"
        return f"{self.count:,} {repeat} the statement of an earlier one ({some}{more}){other}"


class Digests:
    """Hashes of the problems of a data set, 16 bytes of each: they find rows that contradict earlier ones."""

    def __init__(self) -> None:
        self._ids, self._statements = array("Q"), array("Q")
        self.repeats = Repeats()
        """Repeated statements, once `contradictions` has been called."""

    def add(self, problem: Problem) -> None:
        """Adds the next problem."""
        self._ids.append(xxhash.xxh3_64_intdigest(problem.id))
        self._statements.append(xxhash.xxh3_64_intdigest(problem.problem))

    def contradictions(self, source: Source) -> set[int]:
        """The positions of the problems that contradict an earlier one, each an error in `source.broken` too.

        The source, all of whose problems were added, is read again where ids or statements are repeated.
        """
        ids, statements = _repeated(self._ids), _repeated(self._statements)
        if not ids and not statements:
            return set()
        found: set[int] = set()
        errors: list[BadData] = []
        seen = _Seen()
        for position, (place, problem) in enumerate(source.numbered()):
            if (
                xxhash.xxh3_64_intdigest(problem.id) in ids
                or xxhash.xxh3_64_intdigest(problem.problem) in statements
            ):
                self.repeats.add(problem)
                try:
                    seen.add(problem, place)
                except BadData as error:
                    found.add(position)
                    errors.append(error.bare())
        source.broken += errors
        return found


class ProblemTable:
    """The problems of a file or folder that a round can use: digests of each, 24 bytes per problem.

    The data is read once, and a second time where ids or statements are repeated; `problems` reads it again
    for those that are asked for.
    """

    def __init__(self, place: Path, config: ProblemsConfig) -> None:
        """Reads and checks all rows.

        Raises:
            BadData: more than `config.rejects_share` of the rows are broken, or fewer than two are not.
        """
        self.source: Source = read_source(
            place, fields=config.fields, layout=config.layout or None, split=config.split or None
        )
        digests, orders = Digests(), array("Q")
        for problem in self.source:
            digests.add(problem)
            orders.append(order_of(problem.problem))
        self.orders: npt.NDArray[np.uint64] = np.frombuffer(orders, np.uint64).copy()
        """A hash of each problem's statement; equal statements have equal ones."""
        self.broken = digests.contradictions(self.source)
        """The positions of problems that contradict an earlier one."""
        self.source.check(config.rejects_share)
        if len(self.orders) - len(self.broken) < 2:
            message = "expected at least two rows: one to train on and one for the benchmark"
            raise BadData(message, path=place)

    def problems(self, positions: Collection[int]) -> list[Problem]:
        """The problems at these positions in the data, in the order in which they are asked for."""
        wanted = set(positions)
        found = {at: problem for at, problem in enumerate(self.source.again()) if at in wanted}
        return [found[at] for at in positions]


def order_of(statement: str) -> int:
    """A number from 0 to 2**64 by which a round orders statements, whatever file they are in."""
    return int.from_bytes(hashlib.sha256(statement.encode()).digest()[:8])


def _repeated(digests: array[int]) -> set[int]:
    ordered = np.sort(np.frombuffer(digests, np.uint64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _digest(statement: str) -> bytes:
    return hashlib.blake2b(statement.encode(), digest_size=16).digest()


class _Seen:
    """The rows so far: ids are unique, and equal statements have equal answers."""

    def __init__(self) -> None:
        self._ids: dict[str, Place] = {}
        self._answers: dict[bytes, tuple[Place, str]] = {}
        """Hash of a statement → row, answer."""

    def add(self, problem: Problem, place: Place) -> None:
        """Adds the next row's problem; raises BadData if it contradicts an earlier row."""
        if (known := self._ids.get(problem.id)) is not None:
            message = f"{shown(problem.id)} is the id of {_row(known, place)} too; "
            raise place.bad(message + "give each row its own, or none (problems.fields={id: ''})", "id")
        answer = problem.answer or ""
        first, gold = self._answers.setdefault(_digest(problem.problem), (place, answer))
        if answer != gold and not verify(gold, answer).correct:
            message = (
                f"{shown(answer)}, but {_row(first, place)} gives the same problem the answer {shown(gold)}"
            )
            raise place.bad(f"{message}; keep the right row", "answer")
        self._ids[problem.id] = place


def _row(other: Place, place: Place) -> str:
    return f"row {other.row}" if other.path == place.path else f"row {other.row} of {other.path.name}"
