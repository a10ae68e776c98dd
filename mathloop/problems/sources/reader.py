"""Streams the problems of a published data set, and counts how it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mathloop.errors import BadConfig, BadData
from mathloop.problems.sources.files import (
    check_once,
    column_names,
    data_files,
    file_rows,
    name_of,
    splits_in,
)
from mathloop.problems.sources.layouts import COLUMNS, Layout, by_name, narrowed, recognize, with_fields
from mathloop.problems.sources.numbering import Numbering, has_number, numbering
from mathloop.problems.sources.parsing import LeftOut, Place, has_several, parse_row
from mathloop.problems.sources.places import Row, has_place, outer_columns
from mathloop.records import Problem

_UNKNOWN = 100
"""Rows after which a data set of which no row has a known layout is given up."""
_MOST_KNOWN = 1000
"""Sets of columns whose layouts are kept; rows of a file have few different ones."""
SHOWN = 5
"""Broken rows that an error shows."""


class Skipped(NamedTuple):
    """A row without a final answer, which is not broken: a proof, or a problem that nobody solved."""

    path: Path
    row: int
    reason: str


class Source:
    """The problems of a place, as a stream that can be read again; afterwards it knows how it was read."""

    def __init__(self, place: Path, files: list[Path], kinds: Layouts, *, prose: bool = False) -> None:
        self.place, self.files, self.kinds, self._prose = place, files, kinds, prose
        self.numbering: Numbering | None = None
        """How the right choices are numbered; None before a row names one by its number."""
        self._start()

    def again(self) -> Source:
        """The same source with counts of its own."""
        other = Source(self.place, self.files, self.kinds, prose=self._prose)
        other.numbering = self.numbering
        return other

    def _start(self) -> None:
        self.rows = 0
        """Rows seen, broken ones included."""
        self.layouts: Counter[str] = Counter()
        """Layout recognized → rows."""
        self.broken: list[BadData] = []
        """What is wrong with each broken row."""
        self.left_out: list[Skipped] = []
        self.several = 0
        """Problems whose gold answer is a list of several, which are all asked for."""

    def __iter__(self) -> Iterator[Problem]:
        """Yields the problems in order, and counts from the beginning.

        Raises:
            BadData: a file cannot be read at all, or has a layout that is not known.
        """
        return (problem for _, problem in self.numbered())

    def numbered(self) -> Iterator[tuple[Place, Problem]]:
        """As iteration, with the place of each row."""
        self._start()
        before: Counter[str] = Counter()  # rows of earlier files of the same name: its shards
        for path in self.files:
            number, name = 0, name_of(path)
            for number, row in file_rows(path, self.kinds.columns, self._break):
                self.rows += 1
                place = Place(path, number)
                problem = self._problem(row, place, name, f"{name}-{before[name] + number}")
                if problem is not None:
                    yield place, problem
            before[name] += number
        self._check_known()
        if not self.rows:
            message = "no rows; expected one problem per row, with a statement and an answer"
            raise BadData(message, path=self.place)
        if len(self.broken) in (0, self.rows):
            self.kinds.check_named(self.place)

    def _problem(self, row: Row, place: Place, name: str, default_id: str) -> Problem | None:
        try:
            layout = self.kinds.of(row, place)
            self.layouts[layout.name] += 1
            if self.numbering is None and layout.choices and has_number(row, layout):
                self.numbering = numbering(self._known_rows())
            first = self.numbering.first if self.numbering else 0
            problem = parse_row(
                row, layout, place, name=name, default_id=default_id, prose=self._prose, first=first
            )
            self.several += not problem.choices and has_several(row, layout)
            return problem
        except LeftOut as left:
            self.left_out.append(Skipped(place.path, place.row, str(left)))
        except BadData as error:
            self.broken.append(error.bare())
            if not self.layouts and self.rows >= _UNKNOWN:
                self._check_known()
        return None

    def _known_rows(self) -> Iterator[tuple[Row, Layout]]:
        """All rows of a known layout."""
        for path in self.files:
            for number, row in file_rows(path, self.kinds.columns, lambda _: None):
                with suppress(BadData):
                    yield row, self.kinds.of(row, Place(path, number))

    def _check_known(self) -> None:
        """Raises that the layout is unknown if no row has had a known one."""
        unknown = next((error for error in self.broken if isinstance(error, UnknownLayout)), None)
        if unknown is not None and not self.layouts:
            raise unknown

    def _break(self, error: BadData) -> None:
        self.rows += 1
        self.broken.append(error)

    def check(self, rejects_share: float = 0.0) -> None:
        """Raises BadData that tells the first broken rows if they are more than this share of all."""
        if len(self.broken) > rejects_share * self.rows:
            raise many(self.broken)


class Layouts:
    """The layout of each row: the one that the user sets, or the one that its columns are recognized by."""

    def __init__(self, fields: Mapping[str, str], layout: str | None) -> None:
        self._fields = dict(fields)
        self._fixed = by_name(layout) if layout else None
        if self._fields:
            with_fields(None, self._fields)  # raises for a name that is no part
        self._known: dict[tuple[str, ...], Layout] = {}
        named = outer_columns(self._fields.values())
        self.columns = COLUMNS | named
        self._missing = {place for place in self._fields.values() if place}
        """Named places that no row has had yet."""

    def check_named(self, place: Path) -> None:
        """Raises BadConfig if a part is named to be in a column, or a path into one, that no row has."""
        for part, named in self._fields.items():
            if named in self._missing:
                what = "path" if "." in named else "column"
                message = f"no row has the {what} {named!r}; correct it"
                remedy = ", or write '' for none" if part != "problem" else ""
                raise BadConfig(f"problems.fields.{part}: {place}: {message}{remedy}")

    def of(self, row: Row, place: Place) -> Layout:
        """The layout of a row; raises UnknownLayout."""
        if self._missing:
            self._missing = {name for name in self._missing if not has_place(row, name)}
        columns = tuple(row)
        found = self._known.get(columns)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            layout = self._fixed or recognize(row)
            if self._fields:
                layout = with_fields(layout, self._fields)
            if layout is None:
                layout = self._unknown(row, place)
            found = self._known[columns] = narrowed(layout, row.keys())
        return found

    def _unknown(self, row: Row, place: Place) -> Layout:
        names = column_names(place.path) or list(map(str, row))
        listed = ", ".join(names)
        listed = listed if len(listed) <= 300 else f"{listed[:297]}..."
        missing = "answer" if {"problem", "question"} & {*names} else "problem"
        raise UnknownLayout(
            f"missing; of no known layout, with the fields {listed or '(none)'}: say which hold the "
            "statement and the gold answer, --set 'problems.fields={problem: FIELD, answer: FIELD}'",
            path=place.path,
            row=place.row,
            field=missing,
        )


class UnknownLayout(BadData):
    """The fields of a row fit no layout, and none are named."""


def read_source(
    place: Path,
    *,
    fields: Mapping[str, str] | None = None,
    layout: str | None = None,
    split: str | None = None,
    prose: bool = False,
) -> Source:
    """The problems at a place: a file or folder in any of the formats of `files` and layouts of `LAYOUTS`.

    Args:
        fields: part of a problem → the column that holds it, or a path into one: {"answer":
            "expected_answer"}; the other parts are where the recognized layout has them.
        layout: name of a layout, in place of recognition.
        split: of a folder with several, the one to read.
        prose: keep rows whose answer is a worked solution that marks no final answer.

    Raises:
        BadConfig: a name in `fields` or `layout` is unknown.
        BadData: nothing readable is there, the same data is there twice, or there are several splits and
            none is chosen.
    """
    layouts = Layouts(fields or {}, layout)
    files = data_files(place, split)
    check_once(place, files)
    found = splits_in(place) if split is None and place.is_dir() else []
    if len(found) > 1:
        message = f"it has the splits {', '.join(found)}; choose one with --set problems.split={found[0]}"
        raise BadData(message, path=place)
    return Source(place, files, layouts, prose=prose)


def many(errors: list[BadData]) -> BadData:
    """One error of one line for several broken rows."""
    first = errors[0]
    if len(errors) == 1:
        return first
    others = "; ".join(
        f"row {error.row}, the same" if _said(error) == _said(first) else _without_path(error)
        for error in errors[1:SHOWN]
    )
    more = f"; and {len(errors) - SHOWN:,} more" if len(errors) > SHOWN else ""
    message = f"{message_of(first)} ({len(errors):,} broken rows; the others: {others}{more})"
    return BadData(message, path=first.path, row=first.row, field=first.field)


def _said(error: BadData) -> tuple[str | None, str]:
    return error.field, message_of(error)


def message_of(error: BadData) -> str:
    """What an error says without its place."""
    where = str(BadData("", path=error.path, row=error.row, field=error.field))
    return str(error).removeprefix(where)


def _without_path(error: BadData) -> str:
    return str(BadData(message_of(error), row=error.row, field=error.field))
