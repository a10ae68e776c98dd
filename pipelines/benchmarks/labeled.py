"""Reads labeled answers and responses, in the layouts of public data sets, from one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.answers.grading import grade_rows
from mathloop.errors import BadData
from mathloop.files import open_plain, reading
from mathloop.lines import describe, parse_line
from mathloop.problems.sources import read_source

OPTIONS = ("precision", "strict", "allow_set_relation_comp")
EXTRACTORS = ("latex", "expr", "string")
"""Allowed values in a row's `match_types`: Math-Verify's extraction configs."""
SENTENCE = "Adding 3 and 4 to it gives \\boxed{%s}."
"""Sentence that a benchmark's gold answer is inserted into and extracted from."""

Row = tuple[Path, int, dict[str, Any]]


class Case(NamedTuple):
    """A gold answer and a text to grade against it."""

    place: str
    """Its place in the file: "row 3, response 2"."""
    gold: str
    text: str
    """An answer or, if `response` is set, a whole response."""
    right: bool
    """The label."""
    response: bool
    options: dict[str, Any] = {}  # noqa: RUF012
    """`OPTIONS` and `match_types`, if the row has them."""


class LabeledSet(NamedTuple):
    """The cases of one file."""

    name: str
    cases: list[Case]
    golds: bool = False
    """A benchmark's gold answers, each in a sentence: all are correct."""


def read_folder(folder: Path) -> tuple[list[LabeledSet], list[str]]:
    """The sets in a folder, and the patterns of `LAYOUT` without files.

    Raises:
        BadData: the folder does not exist or has none of these files, or a row is invalid.
    """
    with reading(folder):
        if not folder.is_dir():
            raise BadData("expected a folder" if folder.exists() else "there is no such folder", path=folder)
        present = {pattern: sorted(folder.glob(pattern)) for pattern in LAYOUT}
    missing = [pattern for pattern, files in present.items() if not files]
    if len(missing) == len(LAYOUT):
        raise BadData(f"no file to grade; expected any of {', '.join(LAYOUT)}", path=folder)
    sets = []
    for pattern, files in present.items():
        for file in files:
            name = str(file.relative_to(folder).with_suffix(""))
            cases = list(LAYOUT[pattern](file))
            if not cases:
                raise BadData("no rows; expected one JSON object per line", path=file)
            golds = pattern.startswith("benchmarks/")
            sets.append(LabeledSet(name.removesuffix("/test") if golds else name, cases, golds))
    return sets, missing


def _pairs(path: Path) -> Iterator[Case]:
    """Rows with gold, pred and expected."""
    rows = list(_rows(path))
    with reading(path), open_plain(path) as lines:
        for _ in grade_rows(lines, str(path)):
            pass  # raises for rows that `mathloop grade` rejects
    for row in rows:
        _, number, values = row
        options = {name: values[name] for name in OPTIONS if name in values}
        if "match_types" in values:
            types = values["match_types"]
            if not isinstance(types, list) or not types or not set(map(str, types)) <= set(EXTRACTORS):
                raise _bad(row, "match_types", f"a list of {', '.join(EXTRACTORS)}")
            options["match_types"] = types
        gold, text = (
            value if isinstance(value, str) else "" if value is None else repr(value)
            for value in (values["gold"], values.get("pred"))
        )
        yield Case(f"row {number}", gold, text, _label(row, "expected"), False, options)


def _votes(path: Path) -> Iterator[Case]:
    """Rows with gt (gold answer), code (responses) and score (their labels)."""
    for row in _rows(path):
        number = row[1]
        gold = _text(row, "gt")
        responses, labels = _field(row, "code"), _field(row, "score")
        if not isinstance(responses, list) or not all(isinstance(each, str) for each in responses):
            raise _bad(row, "code", "a list of texts")
        if not isinstance(labels, list) or len(labels) != len(responses):
            raise _bad(row, "score", f"a list of {len(responses)} labels, one for each response in 'code'")
        for index, (response, label) in enumerate(zip(responses, labels, strict=True), start=1):
            right = _label((path, number, {"score": label}), "score")
            yield Case(f"row {number}, response {index}", gold, response, right, True)


def _solutions(path: Path) -> Iterator[Case]:
    """Rows with ground_truth ("… A: 12") and, per model name, solution and is_correct."""
    for row in _rows(path):
        _, number, values = row
        gold = _text(row, "ground_truth").rpartition("A:")[2].strip()
        for model, solution in values.items():
            if isinstance(solution, dict):
                inner = (path, number, solution)
                text, right = _text(inner, "solution"), _label(inner, "is_correct")
                yield Case(f"row {number}, {model}", gold, text, right, True)


def _golds(path: Path) -> Iterator[Case]:
    """A benchmark's gold answers, each in a sentence; rows without an answer are skipped."""
    source = read_source(path)
    for place, problem in source.numbered():
        gold = problem.answer or ""
        yield Case(f"row {place.row}", gold, SENTENCE % gold, True, True)
    source.check()


LAYOUT: dict[str, Callable[[Path], Iterator[Case]]] = {
    "graders/*.jsonl": _pairs,
    "voting/*.jsonl": _votes,
    "train/gsm8k/example_model_solutions.jsonl": _solutions,
    "benchmarks/*/test.jsonl": _golds,
}


def _rows(path: Path) -> Iterator[Row]:
    with reading(path), open_plain(path) as lines:
        for number, line in enumerate(lines, start=1):
            values = parse_line(path, number, line)
            if values is not None:
                yield path, number, values


def _field(row: Row, field: str) -> Any:
    path, number, values = row
    if field not in values:
        raise BadData(f"the field is missing; a row needs {field!r}", path=path, row=number, field=field)
    return values[field]


def _text(row: Row, field: str) -> str:
    value = _field(row, field)
    if not isinstance(value, str):
        raise _bad(row, field, "a text")
    return value


def _label(row: Row, field: str) -> bool:
    value = _field(row, field)
    if value not in (True, False):  # 1, 0, 1.0 and 0.0 are equal to these
        raise _bad(row, field, "true, false, 1 or 0")
    return bool(value)


def _bad(row: Row, field: str, expected: str) -> BadData:
    path, number, values = row
    return BadData(
        f"expected {expected}, found {describe(values[field])}", path=path, row=number, field=field
    )


def count(sets: Sequence[LabeledSet]) -> int:
    """Total number of cases."""
    return sum(len(each.cases) for each in sets)
