"""Word problems of one step with numbers below ten, which a small pretrained model solves now and then.

They let a whole round be watched on two cores with a model that was trained on real text. Benchmark problems
have other numbers and other sentences than training problems, so that a gain on them is not recall: a hash of
operation and numbers decides the split, and each family has sentences that only the benchmark uses.
"""

from __future__ import annotations

import hashlib
import operator
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mathloop.errors import BadConfig
from mathloop.records import Problem

Split = Literal["train", "benchmark"]

BENCHMARK_SHARE = 0.3
"""Share of the pairs of numbers that training never sees."""
_NAMES = ("Tom", "Mia", "Sam", "Ana", "Leo", "Eva", "Ben", "Zoe", "Max", "Lily", "Noah", "Ruth")
_THINGS = (
    *("apples", "books", "pens", "cards", "coins", "eggs", "stickers", "marbles", "shells", "cookies"),
    *("flowers", "stamps"),
)
_NUMBERS = range(2, 10)
_MOST_REPEATS = 10_000
"""Consecutive repeated statements after which no new one is expected."""


@dataclass(frozen=True)
class Family:
    """One operation, worded in several ways; in every sentence `a` comes before `b`."""

    name: str
    calculate: Callable[[int, int], int]
    wordings: dict[Split, tuple[str, ...]]


FAMILIES: tuple[Family, ...] = (
    Family(
        "gets_more",
        operator.add,
        {
            "train": (
                "{x} has {a} {t}. {y} gives {x} {b} more. How many {t} does {x} have now?",
                "There are {a} {t} in a bag. {x} puts {b} more in. How many {t} are in the bag now?",
                "{x} finds {a} {t} in the morning and {b} in the evening. How many {t} does {x} find in all?",
                "{x} has {a} {t} and {y} has {b}. How many {t} do they have together?",
            ),
            "benchmark": (
                "{x} had {a} {t} and then bought {b} more. How many {t} does {x} have now?",
                "A shelf holds {a} {t}. {x} adds {b} to it. How many {t} are on the shelf now?",
            ),
        },
    ),
    Family(
        "gives_away",
        operator.sub,
        {
            "train": (
                "{x} has {a} {t} and gives {b} of them to {y}. How many {t} does {x} have left?",
                "There are {a} {t} on a table. {x} takes {b} of them away. How many {t} are still there?",
                "{x} had {a} {t} but lost {b} of them. How many {t} are left?",
                "{x} collects {a} {t} and sells {b} of them. How many {t} does {x} still have?",
            ),
            "benchmark": (
                "{x} bought {a} {t} and gave away {b}. How many {t} does {x} have now?",
                "A jar holds {a} {t}. {x} takes {b} out of it. How many {t} are left in the jar?",
            ),
        },
    ),
    Family(
        "boxes_of",
        operator.mul,
        {
            "train": (
                "{x} has {a} boxes. Each box holds {b} {t}. How many {t} does {x} have?",
                "{x} buys {a} bags with {b} {t} in each bag. How many {t} does {x} buy?",
                "There are {a} rows with {b} {t} in every row. How many {t} are there?",
                "{a} friends of {x} bring {b} {t} each. How many {t} do they bring?",
            ),
            "benchmark": (
                "{x} fills {a} baskets with {b} {t} each. How many {t} are in the baskets?",
                "A shop sells {a} packs. Every pack has {b} {t}. How many {t} does the shop sell?",
            ),
        },
    ),
)


def split_of(family: str, a: int, b: int) -> Split:
    """The split of an operation on two numbers, whatever the sentence around them."""
    digest = hashlib.sha256(f"{family} {a} {b}".encode()).digest()
    return "benchmark" if digest[0] / 256 < BENCHMARK_SHARE else "train"


def is_reserved(family: str, statement: str) -> bool:
    """Whether a statement derived from a problem of the family has numbers of the benchmark."""
    numbers = [int(digits) for digits in re.findall(r"[0-9]+", statement)]
    known = any(family == one.name for one in FAMILIES)
    return known and len(numbers) == 2 and split_of(family, *numbers) == "benchmark"


def generate(split: Split, count: int, seed: int) -> Iterator[Problem]:
    """Yields `count` different problems of `split`, the families in turn.

    The stream is a pure function of its arguments; a longer one starts with the shorter one.

    Raises:
        BadConfig: there are not as many.
    """
    rng = random.Random(f"one-step-{split}-{seed}")
    pairs = {family.name: _pairs(family, split) for family in FAMILIES}
    seen: set[str] = set()
    for index in range(count):
        family = FAMILIES[index % len(FAMILIES)]
        for _ in range(_MOST_REPEATS):
            a, b = rng.choice(pairs[family.name])
            x, y = rng.sample(_NAMES, 2)
            form = rng.choice(family.wordings[split])
            statement = form.format(x=x, y=y, t=rng.choice(_THINGS), a=a, b=b)
            if statement not in seen:
                break
        else:
            raise BadConfig(
                f"the generator one_step has no more than {index:,} different problems ({split} split), but "
                f"{count:,} were requested; request fewer"
            )
        seen.add(statement)
        yield Problem(
            id=f"one-step-{split}-{seed}-{index}",
            problem=statement,
            answer=str(family.calculate(a, b)),
            source="one_step",
            language="en",
            family=family.name,
            difficulty=1,
            parent=f"{family.name} a={a} b={b}",
        )


def _pairs(family: Family, split: Split) -> list[tuple[int, int]]:
    """The numbers of a split; the first is larger where they are subtracted."""
    return [
        (a, b)
        for a in _NUMBERS
        for b in _NUMBERS
        if (family.name != "gives_away" or a > b) and split_of(family.name, a, b) == split
    ]
