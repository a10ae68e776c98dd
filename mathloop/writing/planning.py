"""Which problems a template is asked to work on. Memory grows with the number of texts, not of problems."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import xxhash

from mathloop.records import Language, Problem
from mathloop.writing.templates import Template

ReadProblems = Callable[[], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Task:
    """One text to ask for."""

    language: Language
    """Of the prompt."""
    parents: tuple[Problem, ...]
    sample: int
    """Number among the texts from the same parents."""


def plan(template: Template, read: ReadProblems, count: int, seed: int) -> Iterator[Task]:
    """`count` tasks, in the order of their first parents; fewer only where no problem can be a parent.

    Every problem is a parent equally often, up to one; a hash of seed and id decides which are once more. The
    second parent of a pair is the one before it in the file, of the same language.
    """
    if not template.does.fields:
        languages = sorted(template.prompts)
        for number in range(count):
            yield Task(languages[number % len(languages)], (), number)
        return
    total = sum(1 for one in read() if template.takes(one))
    if not total:
        return
    each, more = divmod(count, total)
    ranks = ((_rank(template, seed, one), one.id) for one in read() if template.takes(one))
    chosen = {one_id for _, one_id in heapq.nsmallest(more, ranks)}
    for first, second in _pairs(template, read, seed):
        for sample in range(each + (first.id in chosen)):
            parents = (first, second) if len(template.does.fields) > 1 else (first,)
            yield Task(first.language, parents, sample)


def _pairs(template: Template, read: ReadProblems, seed: int) -> Iterator[tuple[Problem, Problem]]:
    """Each parent with the one before it, of its language; the first with the last."""
    if len(template.does.fields) < 2:
        yield from ((one, one) for one in read() if template.takes(one))
        return
    before: dict[Language, Problem] = {}
    held: dict[Language, Problem] = {}
    for one in read():
        if not template.takes(one):
            continue
        if partner := before.get(one.language):
            yield one, partner
        else:
            held[one.language] = one
        before[one.language] = one
    for language, first in held.items():
        if before[language].id != first.id:  # a single problem of a language has no partner
            yield first, before[language]


def _rank(template: Template, seed: int, problem: Problem) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}\0{template.name}\0{problem.id}")
