"""Whether what the writer's own programs compute can be an answer: no count and no amount is below zero.

A problem that takes away more than there is has a negative result, and it asks how many are left. Its writer
solves it with programs: what they print is arithmetic, while an answer in words often leaves out the sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from mathloop.records import Drops, Problem
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.synthesis.rejection import printed
from mathloop.writing.config import WritingConfig
from mathloop.writing.drafts import Drafts

NEGATIVE = "impossible: it asks for a quantity that its writer's programs find below zero"
_QUANTITY = re.compile(
    r"\bhow (?:many|much)\b(?! degrees)|(?:多少|几)(?![度何乎])[\u4e00-\u9fff]",
    re.IGNORECASE,
)
"""The question for a quantity; a temperature may be below zero, and so may a number of which it is
asked what it is ("是多少"); 几何 and 几乎 are other words."""
_BELOW_ZERO = re.compile(r"[-−]\s?(?=[\d.,/]*[1-9])[\d.,/]+(?:e[+-]?\d+)?")


def possible(
    problems: Iterator[Problem], drafts: Drafts, config: WritingConfig, drops: Drops
) -> Iterator[Problem]:
    """Yields the problems but those that ask for a quantity and of whose programs too many print less than 0.

    Only problems that ask for a quantity are solved. An answer that a problem keeps from its parent is not
    read.
    """
    while chunk := list(islice(problems, max(1, config.shard // config.programs))):
        asking = [one for one in chunk if asks_for_a_quantity(one.problem)]
        prompts = [f"{one.problem}\n{INSTRUCTIONS['tir']}" for one in asking for _ in range(config.programs)]
        numbers = [number for _ in asking for number in range(config.programs)]
        texts = iter(drafts.texts(prompts, numbers, "tir"))
        below = {
            one.id: sum(prints_less_than_zero(text.text) for text in islice(texts, config.programs))
            for one in asking
        }
        for one in chunk:
            number = below.get(one.id, 0)
            if number and number >= config.negative * config.programs:
                drops.add(NEGATIVE, one, programs=config.programs, below_zero=number)
            else:
                yield one


def asks_for_a_quantity(statement: str) -> bool:
    """Whether it asks how many or how much, in English or Chinese: for something that is never below zero."""
    return _QUANTITY.search(statement) is not None


def prints_less_than_zero(response: str) -> bool:
    """Whether the last line that a TIR response's last program printed is a number below zero."""
    outputs = printed(response)
    lines = outputs[-1].splitlines() if outputs else []
    return bool(lines) and _BELOW_ZERO.fullmatch(lines[-1].strip()) is not None
