"""A small world of arithmetic word problems, in English and Chinese, with gold answers by construction.

It exists so that a whole round can be seen to work on two cores: a model of a million parameters can learn
it, and can still be wrong about it in ways that a verifier, a reward model and GRPO can mend. Each family is
one situation with its right calculation and a popular misreading of it (adding where one must subtract,
forgetting the second person in "together"). `large_numbers` needs products and sums that such a model cannot
compute in its head, so that Python pays off.

Train and benchmark problems never share a family with the same numbers: a hash of both decides the split.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mathloop.records import Language, Problem

Split = Literal["train", "benchmark"]
Numbers = dict[str, int]
Step = tuple[str, str, str]
"""(left, operator, right): names of numbers, or "#0", "#1"… for the results of earlier steps."""

LARGE = "large_numbers"
_NAMES = {
    "en": ["Tom", "Mia", "Sam", "Ana", "Leo", "Eva", "Ben", "Zoe"],
    "zh": ["小明", "小红", "小华", "小丽", "小刚", "小芳", "小军", "小雨"],
}
_THINGS = {
    "en": ["apples", "books", "pens", "cards", "coins", "eggs", "shells", "stamps"],
    "zh": ["苹果", "本子", "铅笔", "卡片", "贝壳", "鸡蛋", "邮票", "糖果"],
}


@dataclass(frozen=True)
class Family:
    """One situation: how its numbers are drawn, told, calculated and misread."""

    name: str
    draw: Callable[[random.Random, int], Numbers]
    """(random source, difficulty 1 to 3) → numbers for which the right calculation stays a natural number."""
    told: dict[Language, tuple[str, ...]]
    steps: tuple[Step, ...]
    misread: tuple[Step, ...]


@dataclass(frozen=True)
class NanoProblem:
    """A problem with its inner structure, from which a corpus writes right and wrong solutions."""

    problem: Problem
    family: Family
    numbers: Numbers
    telling: int
    """Which of the family's wordings."""


_STEPPED = (1, 2, 3)


def _pick(rng: random.Random, level: int, small: int, step: int) -> int:
    """A number from 2 up to `small` plus `step` per difficulty level."""
    return rng.randint(2, small + step * (level - 1))


def _two(rng: random.Random, level: int) -> Numbers:
    return {"a": _pick(rng, level, 20, 25), "b": _pick(rng, level, 20, 25)}


def _ordered(rng: random.Random, level: int) -> Numbers:
    b = _pick(rng, level, 15, 20)
    return {"a": b + _pick(rng, level, 15, 20), "b": b}


def _groups(rng: random.Random, level: int) -> Numbers:
    n, m = rng.randint(2, 5 + level), rng.randint(2, 7 + level)
    return {"n": n, "m": m, "k": rng.randint(1, n * m - 1)}


def _change(rng: random.Random, level: int) -> Numbers:
    n, m = rng.randint(2, 4 + level), rng.randint(2, 7 + level)
    return {"n": n, "m": m, "p": n * m + rng.randint(1, 10 + 10 * level)}


def _share(rng: random.Random, level: int) -> Numbers:
    n, each = rng.randint(2, 5 + level), rng.randint(3, 7 + level)
    return {"a": n * each, "n": n, "k": rng.randint(1, each - 1)}


def _times(rng: random.Random, level: int) -> Numbers:
    return {"a": _pick(rng, level, 9, 4), "n": rng.randint(2, 3 + level)}


def _three(rng: random.Random, level: int) -> Numbers:
    n, m = rng.randint(2, 4 + level), rng.randint(2, 7 + level)
    b = rng.randint(2, 10 * level)
    return {"n": n, "m": m, "b": b, "k": rng.randint(1, n * m + b - 1)}


def _large(rng: random.Random, level: int) -> Numbers:
    return {"a": rng.randint(200, 900 * level + 400), "n": rng.randint(12, 30 * level + 9)}


def _large_sum(rng: random.Random, level: int) -> Numbers:
    return {"a": rng.randint(100, 700), "n": rng.randint(12, 90), "b": rng.randint(1000, 3000 * level)}


FAMILIES: tuple[Family, ...] = (
    Family(
        "gain",
        _two,
        {
            "en": (
                "{x} has {a} {t}. {x} buys {b} more. How many {t} does {x} have now?",
                "There are {a} {t} in a box. {x} puts in {b} more. How many {t} are in the box?",
            ),
            "zh": (
                "{x}有{a}个{t}，又买了{b}个。{x}现在有多少个{t}？",
                "盒子里有{a}个{t}，{x}又放进{b}个。盒子里有多少个{t}？",
            ),
        },
        (("a", "+", "b"),),
        (("a", "-", "b"),),
    ),
    Family(
        "loss",
        _ordered,
        {
            "en": (
                "{x} has {a} {t} and gives {b} to {y}. How many {t} does {x} have left?",
                "{x} had {a} {t} and lost {b} of them. How many {t} are left?",
            ),
            "zh": (
                "{x}有{a}个{t}，给了{y}{b}个。{x}还剩多少个{t}？",
                "{x}原来有{a}个{t}，丢了{b}个。还剩多少个{t}？",
            ),
        },
        (("a", "-", "b"),),
        (("a", "+", "b"),),
    ),
    Family(
        "together_more",
        _two,
        {
            "en": (
                "{x} has {a} {t}. {y} has {b} more {t} than {x}. How many {t} do they have together?",
                "{x} read {a} pages. {y} read {b} more pages than {x}. How many pages did they read in all?",
            ),
            "zh": (
                "{x}有{a}个{t}，{y}比{x}多{b}个。两人一共有多少个{t}？",
                "{x}读了{a}页书，{y}比{x}多读{b}页。两人一共读了多少页？",
            ),
        },
        (("a", "+", "b"), ("a", "+", "#0")),
        (("a", "+", "b"),),
    ),
    Family(
        "together_fewer",
        _ordered,
        {
            "en": (
                "{x} has {a} {t}. {y} has {b} fewer {t} than {x}. How many {t} do they have together?",
                "{x} made {a} toys. {y} made {b} fewer toys than {x}. How many toys did they make in all?",
            ),
            "zh": (
                "{x}有{a}个{t}，{y}比{x}少{b}个。两人一共有多少个{t}？",
                "{x}做了{a}个玩具，{y}比{x}少做{b}个。两人一共做了多少个？",
            ),
        },
        (("a", "-", "b"), ("a", "+", "#0")),
        (("a", "+", "b"),),
    ),
    Family(
        "groups",
        _groups,
        {
            "en": (
                "{x} has {n} boxes with {m} {t} in each. {x} gives away {k}. How many {t} are left?",
                "There are {n} shelves with {m} {t} each. {x} takes {k} away. How many {t} remain?",
            ),
            "zh": (
                "{x}有{n}盒{t}，每盒{m}个，送出{k}个。还剩多少个{t}？",
                "有{n}个架子，每个架子放{m}个{t}，{x}拿走{k}个。还剩多少个？",
            ),
        },
        (("n", "*", "m"), ("#0", "-", "k")),
        (("n", "*", "m"), ("#0", "+", "k")),
    ),
    Family(
        "change",
        _change,
        {
            "en": (
                "{x} buys {n} {t} at {m} dollars each and pays with {p} dollars. How much change does {x} get?",
                "{x} has {p} dollars and buys {n} {t} for {m} dollars each. How much money is left?",
            ),
            "zh": (
                "{x}买了{n}个{t}，每个{m}元，付了{p}元。应找回多少元？",
                "{x}有{p}元，买了{n}个{t}，每个{m}元。还剩多少元？",
            ),
        },
        (("n", "*", "m"), ("p", "-", "#0")),
        (("p", "-", "m"), ("#0", "-", "n")),
    ),
    Family(
        "share",
        _share,
        {
            "en": (
                "{a} {t} are shared equally by {n} children. {x} eats {k} of one share. How many {t} are left in it?",
                "{x} packs {a} {t} into {n} equal bags, then takes {k} out of one bag. How many {t} are in that bag?",
            ),
            "zh": (
                "{a}个{t}平均分给{n}个孩子，{x}吃了自己的{k}个。{x}还有多少个？",
                "{x}把{a}个{t}平均装进{n}个袋子，从一个袋子里拿出{k}个。这个袋子里还有多少个？",
            ),
        },
        (("a", "/", "n"), ("#0", "-", "k")),
        (("a", "/", "n"), ("#0", "+", "k")),
    ),
    Family(
        "together_times",
        _times,
        {
            "en": (
                "{x} has {a} {t}. {y} has {n} times as many. How many {t} do they have together?",
                "{x} walks {a} miles. {y} walks {n} times as far. How many miles do they walk in all?",
            ),
            "zh": (
                "{x}有{a}个{t}，{y}的{t}是{x}的{n}倍。两人一共有多少个？",
                "{x}走了{a}千米，{y}走的路是{x}的{n}倍。两人一共走了多少千米？",
            ),
        },
        (("n", "*", "a"), ("a", "+", "#0")),
        (("n", "*", "a"),),
    ),
    Family(
        "three_steps",
        _three,
        {
            "en": (
                "{x} has {n} bags of {m} {t} and {b} loose ones. {x} sells {k}. How many {t} are left?",
                "{x} fills {n} rows with {m} {t} each and adds {b} more. Then {k} break. How many {t} are whole?",
            ),
            "zh": (
                "{x}有{n}袋{t}，每袋{m}个，另外还有{b}个，卖掉{k}个。还剩多少个{t}？",
                "{x}摆了{n}排{t}，每排{m}个，又添上{b}个，后来坏了{k}个。还有多少个好的？",
            ),
        },
        (("n", "*", "m"), ("#0", "+", "b"), ("#1", "-", "k")),
        (("n", "*", "m"), ("#0", "-", "b"), ("#1", "-", "k")),
    ),
    Family(
        LARGE,
        _large,
        {
            "en": (
                "A factory makes {a} {t} a day. How many {t} does it make in {n} days?",
                "A truck carries {a} {t}. How many {t} do {n} trucks carry?",
            ),
            "zh": (
                "工厂每天生产{a}个{t}，{n}天生产多少个{t}？",
                "一辆卡车运{a}个{t}，{n}辆卡车运多少个{t}？",
            ),
        },
        (("a", "*", "n"),),
        (("a", "+", "n"),),
    ),
    Family(
        LARGE,
        _large_sum,
        {
            "en": (
                "A shop gets {n} crates of {a} {t} and already has {b}. How many {t} does it have now?",
                "A farm sends {a} {t} a day for {n} days and keeps {b}. How many {t} is that in all?",
            ),
            "zh": (
                "商店运来{n}箱{t}，每箱{a}个，原来还有{b}个。现在有多少个{t}？",
                "农场每天送出{a}个{t}，送了{n}天，还留下{b}个。一共有多少个{t}？",
            ),
        },
        (("n", "*", "a"), ("#0", "+", "b")),
        (("n", "+", "a"), ("#0", "+", "b")),
    ),
)


def calculate(steps: tuple[Step, ...], numbers: Numbers) -> list[tuple[int, str, int, int]]:
    """Carries out `steps`: a list of (left, operator, right, result), each a natural or negative integer."""
    done: list[tuple[int, str, int, int]] = []
    for left, operator, right in steps:
        x, y = (done[int(v[1:])][3] if v[0] == "#" else numbers[v] for v in (left, right))
        result = {"+": x + y, "-": x - y, "*": x * y, "/": x // y if y else 0}[operator]
        done.append((x, operator, y, result))
    return done


def split_of(family: str, numbers: Numbers, benchmark_share: float = 0.2) -> Split:
    """The split that a family with these numbers belongs to, whatever the wording or language."""
    digest = hashlib.sha256(f"{family}{sorted(numbers.items())}".encode()).digest()
    return "benchmark" if digest[0] / 256 < benchmark_share else "train"


def generate(
    split: Split,
    count: int,
    seed: int,
    *,
    families: tuple[str, ...] | None = None,
    chinese_share: float = 0.3,
) -> Iterator[NanoProblem]:
    """Yields `count` different problems of `split`, every family as often as the others.

    The stream is a pure function of its arguments; a longer one starts with the shorter one.
    """
    chosen = [family for family in FAMILIES if families is None or family.name in families]
    rng = random.Random(f"nano-{split}-{seed}")
    seen: set[str] = set()
    index = 0
    while index < count:
        family = chosen[rng.randrange(len(chosen))]
        level = rng.choice(_STEPPED)
        numbers = family.draw(rng, level)
        if split_of(family.name, numbers) != split:
            continue
        language: Language = "zh" if rng.random() < chinese_share else "en"
        telling = rng.randrange(len(family.told[language]))
        x, y = rng.sample(_NAMES[language], 2)
        statement = family.told[language][telling].format(
            x=x, y=y, t=rng.choice(_THINGS[language]), **numbers
        )
        if statement in seen:
            continue
        seen.add(statement)
        answer = calculate(family.steps, numbers)[-1][3]
        problem = Problem(
            id=f"nano-{split}-{seed}-{index}",
            problem=statement,
            answer=str(answer),
            source="nano",
            language=language,
            family=family.name,
            difficulty=level + len(family.steps) - 1,
        )
        yield NanoProblem(problem, family, numbers, telling)
        index += 1
