"""Generated answers and responses with labels that are correct by construction, for use without a data set.

Each gold answer is paired with an equal answer in another notation, or with a slightly different one.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random

from pipelines.benchmarks.labeled import Case, LabeledSet

SEED = 0
PAIRS = 320
RESPONSES = 200

Draw = Callable[[Random, bool], tuple[str, str]]
"""Draws a gold answer and another one, which is equal or slightly different."""


def draw_sets() -> list[LabeledSet]:
    """Pairs and responses, the same in every run."""
    random = Random(SEED)
    pairs = [_case(index, random, response=False) for index in range(PAIRS)]
    responses = [_case(index, random, response=True) for index in range(RESPONSES)]
    return [LabeledSet("generated pairs", pairs), LabeledSet("generated responses", responses)]


def _case(index: int, random: Random, response: bool) -> Case:
    draw = KINDS[index % len(KINDS)]
    right = random.random() < 0.5
    gold, other = draw(random, right)
    kind = draw.__name__.removeprefix("_")
    if response:
        other = random.choice(CHINESE if any("一" <= c <= "鿿" for c in other) else ENGLISH) % other
    return Case(f"{index + 1} ({kind})", gold, other, right, response)


ENGLISH = (
    "First we get 7, then 12.\n\nSo the result is $\\boxed{%s}$.",
    "There are 3 cases.\nIn the last one, \\[x = 5.\\]\nThe answer is $%s$.",
    "Step 1: 4 + 8 = 12.\nStep 2: see above.\n#### $%s$",
    "**Solution.** Take 2 of them.\n\nThe final answer is $\\boxed{%s}$. I hope it is correct.",
)
CHINESE = ("先算出3，再算出8。\n所以答案是%s。", "由题意得 $x=4$。\n\n故答案为 $\\boxed{%s}$。")


def _number(random: Random, equal: bool) -> tuple[str, str]:
    value = random.randint(1000, 99_999_999)
    shown = value if equal else value + random.choice((-10, -1, 1, 10))
    return str(value), random.choice((f"{shown:,}", f"{shown}.0", f"{shown:,}".replace(",", "{,}")))


def _fraction(random: Random, equal: bool) -> tuple[str, str]:
    value = Fraction(random.randint(1, 60), random.choice((3, 4, 7, 8, 9, 25)))
    factor = random.randint(2, 6)
    top = value.numerator * factor + (0 if equal else 1)
    bottom = value.denominator * factor
    gold = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    return gold, random.choice((f"\\dfrac{{{top}}}{{{bottom}}}", f"{top}/{bottom}"))


def _decimal(random: Random, equal: bool) -> tuple[str, str]:
    thousandths = random.randint(1, 9999) * 2 + 1
    shown = thousandths if equal else thousandths + 1
    return f"\\frac{{{thousandths}}}{{1000}}", f"{shown / 1000:.3f}"


def _radical(random: Random, equal: bool) -> tuple[str, str]:
    factor, inside = random.randint(2, 9), random.choice((2, 3, 5, 6, 7, 10, 11))
    square = factor * factor * inside + (0 if equal else 1)
    return f"{factor}\\sqrt{{{inside}}}", f"\\sqrt{{{square}}}"


def _rationalized(random: Random, equal: bool) -> tuple[str, str]:
    top, inside = random.randint(1, 9), random.choice((2, 3, 5, 7))
    sign = "" if equal else "-"
    return f"\\frac{{{top}}}{{\\sqrt{{{inside}}}}}", f"{sign}\\frac{{{top}\\sqrt{{{inside}}}}}{{{inside}}}"


def _polynomial(random: Random, equal: bool) -> tuple[str, str]:
    one, other = random.randint(1, 9), random.randint(1, 9)
    constant = one * other + (0 if equal else 1)
    return f"(x+{one})(x-{other})", f"x^2{one - other:+}x-{constant}"


def _interval(random: Random, equal: bool) -> tuple[str, str]:
    low = random.randint(-20, 20)
    high = low + random.randint(1, 30)
    closing = "]" if equal else ")"
    return f"({low}, {high}]", f"\\left({2 * low}/2, \\frac{{{3 * high}}}{{3}}\\right{closing}"


def _set(random: Random, equal: bool) -> tuple[str, str]:
    members = random.sample(range(-30, 30), random.randint(2, 5))
    others = random.sample(members, len(members))
    if not equal:
        others[0] = 31
    gold, other = (", ".join(map(str, each)) for each in (members, others))
    return f"\\{{{gold}\\}}", f"\\{{{other}\\}}"


def _tuple(random: Random, equal: bool) -> tuple[str, str]:
    one, other = random.sample(range(-30, 30), 2)
    pair = (one, other) if equal else (other, one)
    return f"({one}, {other})", f"\\left(\\frac{{{2 * pair[0]}}}{{2}}, {pair[1]}\\right)"


def _unit(random: Random, equal: bool) -> tuple[str, str]:
    value = random.randint(2, 500)
    unit = random.choice(("cm", "km", "kg", "hours"))
    return f"{value}", f"{value if equal else value + 1} \\text{{ {unit}}}"


def _equation(random: Random, equal: bool) -> tuple[str, str]:
    slope, offset = random.randint(2, 9), random.randint(1, 20)
    other = offset if equal else offset + 1
    return f"y = {slope}x + {offset}", f"{slope}x - y + {other} = 0"


def _chinese_number(random: Random, equal: bool) -> tuple[str, str]:
    value = random.randint(21, 98)
    shown = value if equal else value + 1
    tens, ones = divmod(shown, 10)
    return str(value), f"{DIGITS[tens]}十{DIGITS[ones] if ones else ''}"


def _chinese_fraction(random: Random, equal: bool) -> tuple[str, str]:
    bottom = random.choice((3, 5, 7, 9))
    top = random.randint(1, bottom - 2)
    shown = top if equal else top + 1
    return f"\\frac{{{top}}}{{{bottom}}}", f"{DIGITS[bottom]}分之{DIGITS[shown]}"


def _chinese_unit(random: Random, equal: bool) -> tuple[str, str]:
    value = random.randint(2, 500)
    return str(value), f"{value if equal else value + 1}{random.choice(('厘米', '元', '个', '千克'))}"


DIGITS = "零一二三四五六七八九"
KINDS: tuple[Draw, ...] = (
    _number,
    _fraction,
    _decimal,
    _radical,
    _rationalized,
    _polynomial,
    _interval,
    _set,
    _tuple,
    _unit,
    _equation,
    _chinese_number,
    _chinese_fraction,
    _chinese_unit,
)
