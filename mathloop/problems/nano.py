"""A small world of arithmetic word problems, in English and Chinese, with gold answers by construction.

It exists so that a whole round can be watched on two cores: a model of a million parameters can learn it, but
still makes errors that a verifier, a reward model and GRPO can reduce. Each family is one situation with two
correct calculations (only one for plain subtraction) and a common misreading (adding instead of subtracting,
forgetting the second person in "together"). `large_numbers` needs products and sums that such a model cannot
compute itself, so that Python is useful.

Train and benchmark problems never share a family with the same numbers: a hash of both decides the split.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mathloop.errors import BadConfig
from mathloop.records import Language, Problem

Split = Literal["train", "benchmark"]
Numbers = dict[str, int]
Step = tuple[str, str, str]
"""(left, operator, right): names of numbers, or "#0", "#1"… for the results of earlier steps."""

LARGE = "large_numbers"
NAMES = {
    "en": ["Tom", "Mia", "Sam", "Ana", "Leo", "Eva"],
    "zh": ["小明", "小红", "小华", "小丽", "小刚", "小芳"],
}
THINGS = {
    "en": ["apples", "books", "pens", "cards", "coins", "eggs"],
    "zh": ["苹果", "本子", "铅笔", "卡片", "鸡蛋", "糖果"],
}


@dataclass(frozen=True)
class Family:
    """One situation: how its numbers are drawn, worded, calculated and misread."""

    name: str
    draw: Callable[[random.Random, int], Numbers]
    """(random generator, difficulty 1 to 3) → numbers for which all correct results are natural numbers."""
    wordings: dict[Language, tuple[str, ...]]
    steps: tuple[Step, ...]
    other_steps: tuple[Step, ...]
    """A second correct method, or `steps` again: a vote favors an answer that several methods reach."""
    misread: tuple[Step, ...]


@dataclass(frozen=True)
class NanoProblem:
    """A problem with its structure, from which a corpus writes correct and wrong solutions."""

    problem: Problem
    family: Family
    numbers: Numbers
    wording: int
    """Index of the family's wording in the problem's language."""


_LEVELS = (1, 2, 3)


def _two(rng: random.Random, level: int) -> Numbers:
    return _ordered(rng, 10 * level)


def _few(rng: random.Random, level: int) -> Numbers:
    return _ordered(rng, 4 + 4 * level)


def _ordered(rng: random.Random, most: int) -> Numbers:
    b = rng.randint(1, min(9, most // 2))
    return {"a": rng.randint(b + 1, most), "b": b}


def _groups(rng: random.Random, level: int) -> Numbers:
    n, m = rng.randint(2, 2 + level), rng.randint(2, 3 + 2 * level)
    return {"n": n, "m": m, "k": rng.randint(1, min(n * m - 1, 9))}


def _change(rng: random.Random, level: int) -> Numbers:
    n, m = rng.randint(2, 2 + level), rng.randint(2, 3 + 2 * level)
    return {"n": n, "m": m, "p": n * m + rng.randint(1, 9)}


def _times(rng: random.Random, level: int) -> Numbers:
    return {"a": rng.randint(2, 3 + 3 * level), "n": rng.randint(2, 2 + level)}


def _large(rng: random.Random, level: int) -> Numbers:
    return {"a": rng.randint(100, 300 * level), "n": rng.randint(11, 33 * level)}


def _large_sum(rng: random.Random, level: int) -> Numbers:
    return {"a": rng.randint(100, 300 * level), "n": rng.randint(11, 33 * level), "b": rng.randint(100, 999)}


FAMILIES: tuple[Family, ...] = (
    Family(
        "gain",
        _two,
        {
            "en": (
                "{x} has {a} {t} and buys {b} more. How many {t} now?",
                "A box has {a} {t}. {x} adds {b}. How many {t} now?",
            ),
            "zh": ("{x}有{a}个{t}，又买{b}个。现在有几个？", "盒里有{a}个{t}，{x}放进{b}个。现在有几个？"),
        },
        (("a", "+", "b"),),
        (("b", "+", "a"),),
        (("a", "-", "b"),),
    ),
    Family(
        "loss",
        _two,
        {
            "en": (
                "{x} has {a} {t} and gives {y} {b}. How many {t} are left?",
                "{x} had {a} {t} and lost {b}. How many {t} are left?",
            ),
            "zh": ("{x}有{a}个{t}，给{y}{b}个。还剩几个？", "{x}有{a}个{t}，丢了{b}个。还剩几个？"),
        },
        (("a", "-", "b"),),
        (("a", "-", "b"),),
        (("a", "+", "b"),),
    ),
    Family(
        "together_more",
        _few,
        {
            "en": (
                "{x} has {a} {t}. {y} has {b} more than {x}. How many {t} together?",
                "{x} read {a} pages. {y} read {b} more. How many pages together?",
            ),
            "zh": ("{x}有{a}个{t}，{y}比{x}多{b}个。一共几个？", "{x}读{a}页，{y}多读{b}页。一共几页？"),
        },
        (("a", "+", "b"), ("a", "+", "#0")),
        (("a", "+", "a"), ("#0", "+", "b")),
        (("a", "+", "b"),),
    ),
    Family(
        "together_fewer",
        _few,
        {
            "en": (
                "{x} has {a} {t}. {y} has {b} fewer than {x}. How many {t} together?",
                "{x} made {a} toys. {y} made {b} fewer. How many toys together?",
            ),
            "zh": ("{x}有{a}个{t}，{y}比{x}少{b}个。一共几个？", "{x}做{a}个，{y}少做{b}个。一共几个？"),
        },
        (("a", "-", "b"), ("a", "+", "#0")),
        (("a", "+", "a"), ("#0", "-", "b")),
        (("a", "-", "b"),),
    ),
    Family(
        "groups",
        _groups,
        {
            "en": (
                "{x} has {n} boxes of {m} {t} and gives away {k}. How many {t} are left?",
                "{n} shelves hold {m} {t} each. {x} takes {k}. How many {t} are left?",
            ),
            "zh": (
                "{x}有{n}盒{t}，每盒{m}个，送出{k}个。还剩几个？",
                "有{n}排{t}，每排{m}个，{x}拿走{k}个。还剩几个？",
            ),
        },
        (("n", "*", "m"), ("#0", "-", "k")),
        (("m", "*", "n"), ("#0", "-", "k")),
        (("n", "*", "m"), ("#0", "+", "k")),
    ),
    Family(
        "change",
        _change,
        {
            "en": (
                "{x} buys {n} {t} at {m} dollars each and pays {p}. How much change?",
                "{x} has {p} dollars and buys {n} {t} for {m} each. How much is left?",
            ),
            "zh": (
                "{x}买{n}个{t}，每个{m}元，付{p}元。找回几元？",
                "{x}有{p}元，买{n}个{t}，每个{m}元。还剩几元？",
            ),
        },
        (("n", "*", "m"), ("p", "-", "#0")),
        (("m", "*", "n"), ("p", "-", "#0")),
        (("n", "*", "m"),),
    ),
    Family(
        "together_times",
        _times,
        {
            "en": (
                "{x} has {a} {t}. {y} has {n} times as many. How many {t} together?",
                "{x} walks {a} miles. {y} walks {n} times as far. How many miles together?",
            ),
            "zh": ("{x}有{a}个{t}，{y}是{x}的{n}倍。一共几个？", "{x}走{a}千米，{y}走{n}倍。一共几千米？"),
        },
        (("n", "*", "a"), ("a", "+", "#0")),
        (("a", "*", "n"), ("#0", "+", "a")),
        (("n", "*", "a"),),
    ),
    Family(
        LARGE,
        _large,
        {
            "en": (
                "A factory makes {a} {t} a day. How many {t} in {n} days?",
                "A truck carries {a} {t}. How many {t} on {n} trucks?",
            ),
            "zh": ("工厂每天生产{a}个{t}，{n}天几个？", "一车运{a}个{t}，{n}车几个？"),
        },
        (("a", "*", "n"),),
        (("n", "*", "a"),),
        (("a", "+", "n"),),
    ),
    Family(
        LARGE,
        _large_sum,
        {
            "en": (
                "A shop has {b} {t} and gets {n} crates of {a}. How many {t} now?",
                "A farm keeps {b} {t} and sells {a} a day for {n} days. How many {t} in all?",
            ),
            "zh": (
                "商店有{b}个{t}，又来{n}箱，每箱{a}个。现在几个？",
                "农场留{b}个{t}，每天卖{a}个，卖{n}天。一共几个？",
            ),
        },
        (("n", "*", "a"), ("#0", "+", "b")),
        (("a", "*", "n"), ("b", "+", "#0")),
        (("n", "+", "a"), ("#0", "+", "b")),
    ),
)


_MOST_VARIANTS = 3
"""Benchmark problems with the same family and numbers: more would measure the same."""
_MOST_REPEATS = 10_000
"""Consecutive repeated statements after which no new one is expected."""


def calculate(steps: tuple[Step, ...], numbers: Numbers) -> list[tuple[int, str, int, int]]:
    """Calculates `steps`: a list of (left, operator, right, result), where numbers are integers."""
    done: list[tuple[int, str, int, int]] = []
    for left, operator, right in steps:
        x, y = (done[int(v[1:])][3] if v[0] == "#" else numbers[v] for v in (left, right))
        result = {"+": x + y, "-": x - y, "*": x * y, "/": x // y if y else 0}[operator]
        done.append((x, operator, y, result))
    return done


def split_of(family: str, numbers: Numbers, benchmark_share: float = 0.2) -> Split:
    """The split of a family with these numbers, independent of wording and language."""
    digest = hashlib.sha256(f"{family}{sorted(numbers.items())}".encode()).digest()
    return "benchmark" if digest[0] / 256 < benchmark_share else "train"


def generate(
    split: Split,
    count: int,
    seed: int,
    *,
    families: tuple[str, ...] | None = None,
    chinese_share: float = 0.3,
    distinct: bool = True,
) -> Iterator[NanoProblem]:
    """Yields `count` problems of `split`, uniform over families; all statements differ if `distinct`.

    The stream is a pure function of its arguments; a longer one starts with the shorter one.
    """
    chosen = [family for family in FAMILIES if families is None or family.name in families]
    rng = random.Random(f"nano-{split}-{seed}")
    seen: set[str] = set()
    variants: Counter[str] = Counter()
    index = repeats = 0
    while index < count:
        family = chosen[rng.randrange(len(chosen))]
        level = rng.choice(_LEVELS)
        numbers = family.draw(rng, level)
        if split_of(family.name, numbers) != split:
            continue
        language: Language = "zh" if rng.random() < chinese_share else "en"
        wording = rng.randrange(len(family.wordings[language]))
        x, y = rng.sample(NAMES[language], 2)
        statement = family.wordings[language][wording].format(
            x=x, y=y, t=rng.choice(THINGS[language]), **numbers
        )
        setting = f"{family.name} {' '.join(f'{name}={number}' for name, number in numbers.items())}"
        if distinct:
            enough = split == "benchmark" and variants[setting] == _MOST_VARIANTS
            repeats = repeats + 1 if statement in seen or enough else 0
            if repeats > _MOST_REPEATS:
                raise BadConfig(
                    f"the built-in generator has no more than {index:,} different problems "
                    f"({split} split), but {count:,} were requested; request fewer"
                )
            if repeats:
                continue
            seen.add(statement)
            variants[setting] += 1
        answer = calculate(family.steps, numbers)[-1][3]
        problem = Problem(
            id=f"nano-{split}-{seed}-{index}",
            problem=statement,
            answer=str(answer),
            source="nano",
            language=language,
            family=family.name,
            difficulty=level + len(family.steps) - 1,
            parent=setting,
        )
        yield NanoProblem(problem, family, numbers, wording)
        index += 1


def exercises(rng: random.Random) -> Iterator[tuple[int, str, int, int]]:
    """Yields endless calculations of the small families: (left, operator, right, result).

    Like a multiplication table they have no story, so they belong to no split.
    """
    small = [family for family in FAMILIES if family.name != LARGE]
    while True:
        family = rng.choice(small)
        steps = rng.choice((family.steps, family.other_steps, family.misread))
        yield rng.choice(calculate(steps, family.draw(rng, rng.choice(_LEVELS))))
