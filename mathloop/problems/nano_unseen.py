"""A family of the nano world that none of its corpora and training sets contains: only to measure on.

Its sentences are those of other families, one after another, so that a model knows every word of it, and its
calculation has a step more than theirs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from mathloop.problems.nano import NAMES, THINGS, Family, Numbers, calculate
from mathloop.records import Language, Problem

NAME = "unseen"
"""Name of the family, and of the benchmark that it is."""


def _draw(rng: random.Random, level: int) -> Numbers:
    a, b = rng.randint(3, 6 + 3 * level), rng.randint(1, 9)
    return {"a": a, "b": b, "k": rng.randint(1, min(9, a + b - 1))}


FAMILY = Family(
    NAME,
    _draw,
    {
        "en": (
            "{x} has {a} {t} and buys {b} more. {x} gives {y} {k}. How many {t} are left?",
            "A box has {a} {t}. {x} adds {b}. {y} takes {k}. How many {t} are left?",
        ),
        "zh": (
            "{x}有{a}个{t}，又买{b}个，给{y}{k}个。还剩几个？",
            "盒里有{a}个{t}，{x}放进{b}个，{y}拿走{k}个。还剩几个？",
        ),
    },
    (("a", "+", "b"), ("#0", "-", "k")),
    (("b", "+", "a"), ("#0", "-", "k")),
    (("a", "+", "b"), ("#0", "+", "k")),
)


def unseen(count: int, *, chinese_share: float = 0.3) -> Iterator[Problem]:
    """Yields `count` problems of the family, the same ones every time, no two with the same numbers."""
    rng = random.Random("nano-unseen")
    seen: set[str] = set()
    while len(seen) < count:
        numbers = FAMILY.draw(rng, rng.choice((1, 2, 3)))
        language: Language = "zh" if rng.random() < chinese_share else "en"
        x, y = rng.sample(NAMES[language], 2)
        wording = rng.choice(FAMILY.wordings[language])
        statement = wording.format(x=x, y=y, t=rng.choice(THINGS[language]), **numbers)
        setting = f"{NAME} {' '.join(f'{name}={number}' for name, number in numbers.items())}"
        if setting in seen:
            continue
        yield Problem(
            id=f"{NAME}-{len(seen)}",
            problem=statement,
            answer=str(calculate(FAMILY.steps, numbers)[-1][3]),
            source=NAME,
            language=language,
            family=NAME,
            parent=setting,
        )
        seen.add(setting)
