"""Reads statements of the nano world: which situations a statement may be, and what their answers are.

The generator writes by wordings; this reads by the same ones, so that a statement that a model wrote can be
judged: in the world or not, with one answer or not.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from mathloop.problems.nano import (
    FAMILIES,
    NAMES,
    THINGS,
    Family,
    Numbers,
    Split,
    calculate,
    split_of,
)
from mathloop.records import Language

_NUMBERS = "abnmkp"
"""Names of numbers in wordings; the other names are people and things."""


class Reading(NamedTuple):
    """A statement as one of the world's situations."""

    family: Family
    language: Language
    wording: int
    numbers: Numbers
    words: dict[str, str]
    """The people x and y and the things t that the wording names."""


class Verdict(NamedTuple):
    """Whether a statement is a problem of the world with exactly one answer."""

    well_posed: bool
    reason: str
    """Why it is none; else its family, numbers and answer."""


def readings(statement: str) -> list[Reading]:
    """All situations whose wording the statement is, with any words and numbers."""
    found = []
    for family, language, wording, pattern in _patterns():
        if match := pattern.fullmatch(statement):
            parts = match.groupdict()
            numbers = {name: int(value) for name, value in parts.items() if name in _NUMBERS}
            words = {name: value for name, value in parts.items() if name not in _NUMBERS}
            found.append(Reading(family, language, wording, numbers, words))
    return found


def judge_statement(statement: str) -> Verdict:
    """Whether the statement is well-posed: one situation, its own people and things, and one answer.

    All results on the way, by both correct methods, must be natural numbers or 0, and both reach one answer.
    """
    found = readings(statement)
    if not found:
        return Verdict(False, "no wording of the nano world")
    answers: set[int] = set()
    for reading in found:
        if reason := _odd_words(reading):
            return Verdict(False, reason)
        if 0 in reading.numbers.values():
            return Verdict(False, "a number is 0")
        for steps in (reading.family.steps, reading.family.other_steps):
            results = [step[3] for step in calculate(steps, reading.numbers)]
            if min(results) < 0:
                return Verdict(False, f"{reading.family.name}: a result below 0")
            answers.add(results[-1])
    if len(answers) > 1:
        return Verdict(False, f"{len(answers)} answers: {', '.join(map(str, sorted(answers)))}")
    first = found[0]
    numbers = " ".join(f"{name}={value}" for name, value in first.numbers.items())
    return Verdict(True, f"{first.family.name} {numbers}, answer {answers.pop()}")


def split_of_statement(family: str, statement: str) -> Split | None:
    """The split of a statement in one of the family's wordings; None for any other statement.

    Code that derives new statements from others uses it to stay out of the benchmark split.
    """
    for reading in readings(statement):
        if reading.family.name == family:
            return split_of(family, reading.numbers)
    return None


def is_reserved(statement: str) -> bool:
    """Whether the statement is in a wording of the nano world with numbers of the benchmark split.

    This keeps the two splits apart, whoever writes: no gold answer is looked at.
    """
    return any(split_of(one.family.name, one.numbers) == "benchmark" for one in readings(statement))


def _odd_words(reading: Reading) -> str:
    names, things = NAMES[reading.language], THINGS[reading.language]
    for name, value in reading.words.items():
        known = things if name == "t" else names
        if value not in known:
            return f"{value!r} is no {'thing' if name == 't' else 'name'} of the nano world"
    if reading.words.get("x", "") == reading.words.get("y"):
        return f"{reading.words['x']} is two people at once"
    return ""


@cache
def _patterns() -> list[tuple[Family, Language, int, re.Pattern[str]]]:
    return [
        (family, language, number, _pattern(form))
        for family in FAMILIES
        for language, forms in family.wordings.items()
        for number, form in enumerate(forms)
    ]


def _pattern(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    for name in dict.fromkeys(re.findall(r"\{(\w)\}", form)):
        kind = r"[0-9]{1,9}" if name in _NUMBERS else r"\w+?"
        pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{kind})", 1)
        pattern = pattern.replace(rf"\{{{name}\}}", f"(?P={name})")
    return re.compile(pattern)
