"""Whether written problems can be solved, and how hard they are: votes of the writer's own solutions."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import xxhash

from mathloop.answers import extract_answer
from mathloop.records import Drops, Problem, Response, read_problems, write_problems
from mathloop.sampling.judging import judge
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.voting import choose, group_answers
from mathloop.writing.config import WritingConfig
from mathloop.writing.drafts import Drafts

LEVELS = 5
"""Difficulties: 1 where all votes agree, one more per fifth of them that does not."""


def solved(
    problems: Iterator[Problem], drafts: Drafts, config: WritingConfig, drops: Drops
) -> Iterator[Problem]:
    """Yields the problems whose votes agree, each with a difficulty of 1 to 5.

    The answer stays open: in synthesis the majority answer takes its place. A problem that keeps its parent's
    answer is as easy as votes are right. Hard problems get as many samples again, while the budget lasts.
    """
    budget = config.budget
    while chunk := list(islice(problems, max(1, config.shard // config.votes))):
        votes = _draw(chunk, drafts, 0, config.votes)
        hard = [at for at, one in enumerate(chunk) if _agreement(one, votes[at]) < config.hard]
        hard = hard[: budget // config.votes]
        budget -= len(hard) * config.votes
        more = _draw([chunk[at] for at in hard], drafts, config.votes, config.votes)
        for at, further in zip(hard, more, strict=True):
            votes[at] += further
        for problem, responses in zip(chunk, votes, strict=True):
            agreed = _agreement(problem, responses)
            if agreed < config.agreement:
                drops.add("its votes do not agree", problem, agreement=agreed, votes=len(responses))
            else:
                yield replace(problem, difficulty=difficulty(agreed))


def difficulty(agreement: float) -> int:
    """1 (all votes agree) to 5, from the share of the votes that do."""
    return 1 + min(LEVELS - 1, int((1 - agreement) * LEVELS + 1e-9))


def balance(problems: Iterator[Problem], file: Path, keep: int, seed: int, drops: Drops) -> Iterator[Problem]:
    """Yields at most `keep` problems, as many of each difficulty as far as there are: the easy ones make way.

    `file` holds all of them meanwhile. Memory grows with `keep` alone.
    """
    levels: Counter[int] = Counter()

    def counted() -> Iterator[Problem]:
        for problem in problems:
            levels[problem.difficulty] += 1
            yield problem

    write_problems(file, counted())
    quotas = shares(levels, keep)
    chosen: set[str] = set()
    for level, quota in quotas.items():
        ranks = ((_rank(seed, one), one.id) for one in read_problems(file) if one.difficulty == level)
        chosen |= {one_id for _, one_id in heapq.nsmallest(quota, ranks)}
    for problem in read_problems(file):
        if problem.id in chosen:
            yield problem
        else:
            drops.add("beyond the share of its difficulty", problem)


def shares(sizes: Counter[int], keep: int) -> dict[int, int]:
    """How many of each level are kept, at most `keep` in all: equally many, as far as a level has them."""
    quotas = dict.fromkeys(sizes, 0)
    # The hardest first: what does not divide evenly is theirs.
    for level in sorted(sizes, key=lambda one: (sizes[one], -one)):
        open_levels = sum(1 for one in sizes if sizes[one] > quotas[one] and not quotas[one])
        quotas[level] = min(sizes[level], -(-(keep - sum(quotas.values())) // max(1, open_levels)))
    return quotas


def _draw(problems: Sequence[Problem], drafts: Drafts, first: int, count: int) -> list[list[Response]]:
    prompts = [f"{one.problem}\n{INSTRUCTIONS['cot']}" for one in problems for _ in range(count)]
    numbers = [first + number for _ in problems for number in range(count)]
    texts = iter(drafts.texts(prompts, numbers))
    return [
        [
            Response(one.id, first + number, "cot", text.text, extract_answer(text.text, one.language))
            for number, text in enumerate(islice(texts, count))
        ]
        for one in problems
    ]


def _agreement(problem: Problem, responses: Sequence[Response]) -> float:
    """Share of the responses with the gold answer, or without one with the most frequent answer."""
    if problem.answer is not None:
        return sum(bool(judge(problem.answer, one).correct) for one in responses) / len(responses)
    groups = group_answers(responses)
    winner = choose("maj", groups)
    return winner.votes / len(responses)


def _rank(seed: int, problem: Problem) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}\0{problem.id}")
