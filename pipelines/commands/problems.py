"""`mathloop problems`: how a data set is read, before anything is spent on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mathloop.errors import BadConfig
from pipelines.commands.options import Sets

if TYPE_CHECKING:
    from mathloop.problems.config import ProblemsConfig
    from mathloop.problems.sources import Source
    from mathloop.records import Problem

_TOLD = 5
"""Broken rows that are printed."""
_LONGEST = 400
"""Characters of a statement that are printed."""


def problems(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE_OR_FOLDER…",
            help="Files, folders, s3://bucket/key, or hf://datasets/OWNER/NAME@REVISION/PATH.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every problem as one line of JSON instead.")
    ] = False,
    first: Annotated[int, typer.Option(metavar="N", min=0, help="Problems to print.")] = 3,
    sets: Sets = None,
) -> None:
    """Shows how problems are read: layout, rows, what is left out and why, and the first problems.

    Settings: --set 'problems.fields={answer: expected_answer}', problems.layout, problems.split and
    problems.rejects_share. With more broken rows than that share, which a run would refuse, it exits with 2.
    """
    config = _config(sets or [])
    for place in map(_fixed, places):
        with _opened(place, config) as source:
            if as_json:
                _print_json(source)
            else:
                _print_summary(place, source, first)
            source.check(config.rejects_share)


def _fixed(place: str) -> str:
    """A place of the Hub with the commit that is shown, and that a run would record."""
    from mathloop.storage import pinned, remote_url

    url = remote_url(place)
    return pinned(url) if url is not None and url.startswith("hf:") else place


@contextmanager
def _opened(place: str, config: ProblemsConfig) -> Iterator[Source]:
    from mathloop.problems.sources import read_source
    from mathloop.storage import local_copy

    with local_copy(place) as path:
        yield read_source(
            path, fields=config.fields, layout=config.layout or None, split=config.split or None
        )


def _config(sets: list[str]) -> ProblemsConfig:
    for text in sets:
        if not text.startswith("problems."):
            raise BadConfig(f"--set {text}: expected problems.FIELD=VALUE")
    from pipelines.profile import load_profile

    return load_profile("laptop", sets).problems


def _print_json(source: Source) -> None:
    import json

    from mathloop.problems.files import Digests

    digests = Digests()
    for problem in source:
        digests.add(problem)
        row: dict[str, Any] = {
            "id": problem.id,
            "statement": problem.problem,
            "answer": problem.answer,
            "choices": list(problem.choices),
            "source": problem.source,
            "language": problem.language,
            "level": problem.difficulty or None,
            "subject": problem.family,
            "solution": problem.solution,
        }
        print(json.dumps(row, ensure_ascii=False))
    digests.contradictions(source)


def _print_summary(place: str, source: Source, first: int) -> None:
    from mathloop.files import content_digest, joined_digest
    from mathloop.problems.files import Digests
    from mathloop.problems.sources.passages import text_fields

    digests = Digests()
    kept: list[Problem] = []
    counts: dict[str, Counter[str]] = {"languages": Counter(), "sources": Counter(), "subjects": Counter()}
    total = multiple = solved = 0
    for problem in source:
        digests.add(problem)
        total += 1
        multiple += bool(problem.choices)
        solved += problem.solution is not None
        for name, value in zip(counts, (problem.language, problem.source, problem.family), strict=True):
            counts[name][value] += 1
        if len(kept) < first:
            kept.append(problem)
    total -= len(digests.contradictions(source))
    repeats = digests.repeats
    files = f" ({len(source.files)} files)" if len(source.files) > 1 else ""
    print(f"{place}{files}")
    _line("layout", ", ".join(f"{name} ({rows:,} rows)" for name, rows in source.layouts.items()) or "none")
    left, broken = len(source.left_out), len(source.broken)
    _line("rows", f"{source.rows:,}: {total:,} problems, {left:,} left out, {broken:,} broken")
    for reason, times in Counter(skipped.reason for skipped in source.left_out).most_common():
        row = next(skipped.row for skipped in source.left_out if skipped.reason == reason)
        _line("left out", f"{times:,} × {reason} (first: row {row})")
    for error in source.broken[:_TOLD]:
        _line("broken", str(error))
    if broken > _TOLD:
        _line("broken", f"and {broken - _TOLD:,} more")
    if repeats.count:
        _line("repeated", str(repeats))
    if source.numbering is not None:
        _line("choices", f"numbered {source.numbering.reason}")
    if source.several:
        several = f"{source.several:,} gold answers are lists of several: all are asked for, in any order"
        _line("lists", f"{several} (forms of one value count once)")
    _line("with", f"solution {solved:,}, choices {multiple:,}")
    for name, counter in counts.items() if total else ():
        shown = [f"{value or '(none)'} {times:,}" for value, times in counter.most_common(6)]
        more = [f"{len(counter) - 6:,} more"] if len(counter) > 6 else []
        _line(name, ", ".join([*shown, *more]))
    _line("sha256", joined_digest([content_digest(path) for path in source.files]))
    _line("checked", f"decontamination looks at {', '.join(text_fields(source)) or 'nothing'}")
    for problem in kept:
        _print_problem(problem)


def _print_problem(problem: Problem) -> None:
    level = f", level {problem.difficulty}" if problem.difficulty else ""
    print(f"\n  {_visible(problem.id)} ({problem.language}{level}, {_visible(problem.source)})")
    print(f"    {_visible(problem.problem)}")
    for letter, choice in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", problem.choices, strict=False):
        print(f"      ({letter}) {_visible(choice)}")
    print(f"    gold: {_visible(problem.answer or '')}")


def _line(name: str, text: str) -> None:
    print(f"  {name:<10} {_visible(text)}")


def _visible(text: str) -> str:
    """A text on one line, without the control characters of an untrusted file."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
