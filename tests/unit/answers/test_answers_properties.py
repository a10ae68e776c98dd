"""Equality is reflexive and symmetric, never crashes, and follows arithmetic."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathloop.answers import extract_answer, verify
from mathloop.answers.exact import Exact
from mathloop.answers.normalization import normalize
from mathloop.answers.numbers import read_number
from mathloop.answers.tree import read
from mathloop.answers.words import chinese_integer

QUICK = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
PIECES = [
    *"0123456789xyzn()[]{}^_+-*/=<>,;:.!|%$ ", "\\frac", "\\sqrt", "\\pi", "\\sin ", "\\log", "\\left",
    "\\right", "\\{", "\\}", "\\pm ", "\\le ", "\\cup ", "\\in ", "\\infty ", "\\text{",
    "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "&", "\\boxed{", "^{", "_{", "或", "分之", "二", "元",
    "percent", "cm", "answer is", "\\quad", "\\$", "\n", "and", "°", "\\overline{", "\\dot",
    "\\sum_{k=1}^",
]  # fmt: skip
LATEX_LIKE = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)
RATIONAL = st.fractions(min_value=-1000, max_value=1000, max_denominator=60)


@QUICK
@given(LATEX_LIKE, LATEX_LIKE)
def test_symmetric(left: str, right: str) -> None:
    verdict = verify(left, right)
    assert verdict.rule != "fault"
    assert verdict.correct == verify(right, left).correct


@QUICK
@given(LATEX_LIKE)
def test_reflexive(text: str) -> None:
    if normalize(text):
        assert verify(text, text).correct
        assert verify(text, f" {text}").correct or not normalize(f" {text}")
    extract_answer(text)


@QUICK
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_a_verdict(gold: str, prediction: str) -> None:
    verdict = verify(gold, prediction)
    assert verdict.reason
    assert verdict.rule != "fault"


@QUICK
@given(RATIONAL, RATIONAL)
def test_fractions_are_equal_exactly_when_they_are(one: Fraction, other: Fraction) -> None:
    sign = "-" if other < 0 else ""
    typeset = f"{sign}\\frac{{{abs(other.numerator)}}}{{{other.denominator}}}"
    assert verify(str(one), typeset).correct == (one == other)
    assert verify(f"x={one}", f"${typeset}$").correct == (one == other)


@QUICK
@given(st.integers(1, 10**9), st.integers(0, 3))
def test_thousands_and_decimals(number: int, zeros: int) -> None:
    assert verify(f"{number:,}", str(number) + ("." + "0" * zeros if zeros else "")).correct
    assert verify(f"\\${number:,}", str(number)).correct
    assert not verify(f"{number:,}", str(number + 1)).correct


@QUICK
@given(st.lists(st.integers(-9, 9), min_size=3, max_size=3), st.integers(-9, 9))
def test_polynomials_from_their_roots(roots: list[int], change: int) -> None:
    a, b, c = roots
    factored = "".join(f"(x-({root}))" for root in roots)
    expanded = f"x^3-({a + b + c})x^2+({a * b + b * c + a * c})x-({a * b * c + change})"
    assert verify(factored, expanded).correct == (change == 0)


@QUICK
@given(st.integers(1, 400), st.integers(1, 400))
def test_square_roots(one: int, other: int) -> None:
    assert verify(f"\\sqrt{{{one * one * other}}}", f"{one}\\sqrt{{{other}}}").correct
    assert verify(f"\\sqrt{{{one}}}", f"\\sqrt{{{other}}}").correct == (one == other)


@QUICK
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=5, unique=True), st.randoms(use_true_random=False))
def test_sets_have_no_order_and_tuples_do(items: list[int], random: object) -> None:
    shuffled = items[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = ", ".join(map(str, items)), ",".join(map(str, shuffled))
    assert verify(f"\\{{{one}\\}}", f"\\{{{other}\\}}").correct
    if len(items) > 1:
        assert verify(f"({one})", f"({other})").correct == (items == shuffled)


@QUICK
@given(st.integers(0, 10**9 - 1))
def test_chinese_integers(number: int) -> None:
    assert chinese_integer(_in_chinese(number)) == number


def _in_chinese(number: int) -> str:
    """An independent, plain writer of Chinese numerals."""
    digits = "零一二三四五六七八九"
    if number < 10:
        return digits[number]
    for value, mark in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= value:
            head, rest = divmod(number, value)
            gap = "零" if 0 < rest < value // 10 else ""
            return _in_chinese(head) + mark + gap + (_in_chinese(rest) if rest else "")
    raise AssertionError


@QUICK
@given(RATIONAL, RATIONAL, st.sampled_from("+-*/"))
def test_the_parser_computes(one: Fraction, other: Fraction, operator: str) -> None:
    if operator == "/" and not other:
        return
    expected = {"+": one + other, "-": one - other, "*": one * other, "/": other and one / other}[operator]
    assert Exact(0).value(read(f"({one}){operator}({other})")) == expected


@QUICK
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-10000, max_value=10000))
def test_numbers_are_read_exactly(number: object) -> None:
    assert read_number(str(number)) == Fraction(str(number))
