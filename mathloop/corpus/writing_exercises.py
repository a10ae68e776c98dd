"""Exercises of the nano corpus from which a model learns to write problems and to rewrite given ones.

Each is a prompt and the statement that it asks for, in the train split. The prompts are those of the
templates `nano_*` of `mathloop.writing`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mathloop.problems.nano import FAMILIES, LARGE, NAMES, THINGS, Family, NanoProblem, Numbers, split_of
from mathloop.problems.nano_grammar import readings
from mathloop.records import Language

PROMPTS: dict[str, dict[Language, str]] = {
    "nano_write": {"en": "Write a problem.", "zh": "写一道题。"},
    "nano_numbers": {"en": "Other numbers: {problem}", "zh": "换数字：{problem}"},
    "nano_reword": {"en": "Other words: {problem}", "zh": "换说法：{problem}"},
    "nano_condition": {"en": "One more condition: {problem}", "zh": "加条件：{problem}"},
    "nano_complexity": {"en": "One more step: {problem}", "zh": "加一步：{problem}"},
    "nano_translate": {"en": "In Chinese: {problem}"},
}
WRITING = "writing"
"""Style of a document with such an exercise, whose prompt gets no instruction to solve."""
BACK = "In English: {problem}"
_HARDER = {"gain": "together_more", "loss": "together_fewer"}
_LEVELS = (1, 2, 3)


@dataclass(frozen=True)
class Exercise:
    """What a document teaches."""

    operation: str
    """Name of the template, or `back`."""
    prompt: str
    statement: str
    language: Language
    """Of the statement."""


@dataclass(frozen=True)
class _Story:
    """A problem with everything that its wording names, and what other wordings may name besides."""

    family: Family
    language: Language
    wording: int
    numbers: Numbers
    words: dict[str, str]

    @property
    def statement(self) -> str:
        return self.family.wordings[self.language][self.wording].format(**self.words, **self.numbers)


def exercise(nano: NanoProblem, rng: random.Random) -> Exercise:
    """An exercise on the problem, of an operation that is possible for it."""
    story = _story(nano, rng)
    makers: list[tuple[str, Callable[[_Story, random.Random], _Story | None]]] = [
        ("nano_write", lambda story, _: story),
        ("nano_numbers", _other_numbers),
        ("nano_reword", _other_words),
    ]
    makers += [("nano_translate", _translated), ("back", _translated)] if story.language == "en" else []
    makers += [("nano_complexity", _harder)] if story.family.name in _HARDER else []
    makers += [("nano_condition", _with_condition)] if _is_single(story) else []
    rng.shuffle(makers)
    for name, make in makers:
        new = make(story, rng)
        if new is None or split_of(new.family.name, new.numbers) != "train":
            continue
        if name == "back":
            return Exercise(name, BACK.format(problem=new.statement), story.statement, "en")
        prompt = PROMPTS[name][story.language].format(problem=story.statement)
        return Exercise(name, prompt, new.statement, new.language)
    raise AssertionError("the first operation is possible for every problem of the train split")


def _story(nano: NanoProblem, rng: random.Random) -> _Story:
    language = nano.problem.language
    x, y = rng.sample(NAMES[language], 2)
    words = {"x": x, "y": y, "t": rng.choice(THINGS[language])}
    found = next(one for one in readings(nano.problem.problem) if one.family is nano.family)
    if (named := found.words.get("x")) is not None:
        words["y"] = rng.choice([name for name in NAMES[language] if name != named])
    return _Story(nano.family, language, nano.wording, nano.numbers, words | found.words)


def _other_numbers(story: _Story, rng: random.Random) -> _Story | None:
    for _ in range(20):
        numbers = story.family.draw(rng, rng.choice(_LEVELS))
        if split_of(story.family.name, numbers) == "train" and not any(
            numbers[name] == value for name, value in story.numbers.items()
        ):
            return _Story(story.family, story.language, story.wording, numbers, story.words)
    return None


def _other_words(story: _Story, rng: random.Random) -> _Story:
    return _Story(story.family, story.language, 1 - story.wording, story.numbers, story.words)


def _translated(story: _Story, rng: random.Random) -> _Story:
    words = {
        name: (THINGS if name == "t" else NAMES)["zh"][(THINGS if name == "t" else NAMES)["en"].index(value)]
        for name, value in story.words.items()
    }
    return _Story(story.family, "zh", story.wording, story.numbers, words)


def _harder(story: _Story, rng: random.Random) -> _Story:
    family = next(one for one in FAMILIES if one.name == _HARDER[story.family.name])
    return _Story(family, story.language, 0, story.numbers, story.words)


def _is_single(story: _Story) -> bool:
    return story.family.name == LARGE and "b" not in story.numbers


def _with_condition(story: _Story, rng: random.Random) -> _Story:
    family = next(one for one in FAMILIES if one.name == LARGE and len(one.steps) > 1)
    # A day's work becomes a day's sales, a truck's load a crate's.
    numbers = story.numbers | {"b": rng.randint(100, 999)}
    return _Story(family, story.language, 1 - story.wording, numbers, story.words)
