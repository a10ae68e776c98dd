"""Normal forms: what has one key, what has another, and that a key never says more than the verifier."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathloop.answers import bounded, verify
from mathloop.answers import normal_form as forms
from mathloop.answers.deadline import Undecided
from mathloop.answers.fingerprints import may_be_equal, proved_equal
from mathloop.answers.normal_form import Form, normal_form
from mathloop.answers.normalization import normalize
from tests.unit.answers.test_answers_hostile import MONSTERS
from tests.unit.answers.test_answers_properties import LATEX_LIKE

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FORMS = [
    ["5", "5.0", "05", "10/2", "\\frac{10}{2}", "$5$", "５", "five", "+5", "\\sqrt{25}", "x=5",
     "x \\in \\{5\\}", "2x=10", "x-5=0", "\\{5\\}", "500%"],
    ["5 m", "500 cm", "5\\text{ m}", "5\\,\\mathrm{m}", "5米", "0.005 km", "x = 5\\text{ m}"],
    ["500"],
    ["5m"],
    ["1/3", "\\frac13", "0.(3)", "0.\\overline{3}", "三分之一", "1:3", "2:6"],
    ["0.333333", "33.3333%"],
    ["33.3333"],
    ["1234", "1,234", "1{,}234", "x = 1,234", "\\$1,234", "1234 dollars"],
    ["1, 2", "2, 1", "\\{1, 2\\}", "x=1 or x=2", "x_1=1, x_2=2", "\\frac{3\\pm1}{2}"],
    ["1, 1, 2"],
    ["(1, 2)", "x=1, y=2", "(x,y)=(1,2)", "1 < x < 2", "x \\in (1,2)", "1; 2",
     "\\begin{pmatrix}1\\\\2\\end{pmatrix}"],
    ["(2, 1)"],
    ["[1, 2]", "1 \\le x \\le 2", "2 \\ge x \\ge 1"],
    ["(1,3),(2,5)", "(2,5),(1,3)"],
    ["(1,5),(2,3)"],
    ["(2,3)"],
    ["x>2", "(2,\\infty)", "2<x", "-x<-2"],
    ["x<1 or x>3", "(-\\infty,1)\\cup(3,\\infty)", "(3,\\infty)\\cup(-\\infty,1)"],
    ["R", "\\mathbb{R}", "(-\\infty,\\infty)", "全体实数"],
    ["2x+1", "y=2x+1", "f(x)=2x+1", "2x-y+1=0", "1+2x", "x+x+1"],
    ["6/x", "y=\\frac{6}{x}", "xy=6"],
    ["x^2+y^2=4", "\\frac{x^2}{4}+\\frac{y^2}{4}=1", "4=y^2+x^2"],
    ["xy=x"],
    ["A", "(A)", "A.", "\\text{A}", "(A) 5 m", "A. five meters", "选A"],
    ["A: 7"],
    ["B, D", "BD", "B和D"],
    ["yes", "Yes.", "是"],
    ["无解", "no solution", "\\emptyset"],
    ["90^\\circ", "90 degrees", "90度"],
    ["1:2:3", "2:4:6"],
    ["12", "12 apples", "12 square units", "12个"],
    ["a>0, b<1", "b<1, a>0"],
    ["b>0, a<1"],
    ["20 m/s", "72 km/h", "20\\text{ m/s}"],
    ["10 or more"],
    ["10"],
    ["\\infty"],
    ["-\\infty"],
    ["\\log 5"],
    ["\\ln 5"],
    ["2:30"],
    ["2:30 pm", "14点30分"],
]  # fmt: skip


@pytest.mark.parametrize("spellings", FORMS, ids=lambda spellings: spellings[0])
def test_spellings_of_one_answer_have_one_key(spellings: list[str]) -> None:
    assert len({normal_form(spelling).key for spelling in spellings}) == 1


def test_different_answers_have_different_keys_and_are_not_proved_equal() -> None:
    for (one, *_), (other, *_) in combinations(FORMS, 2):
        assert not equal(one, other), (one, other)


def equal(one: str, other: str) -> bool:
    """Whether keys or proofs find two answers equal, names and nouns aside."""
    left, right = normal_form(one), normal_form(other)
    return left.key == right.key or (left.shape == right.shape and all(
        a.mark == b.mark or (may_be_equal(a, b) and proved_equal(a, b))
        for a, b in zip(left.parts, right.parts, strict=True)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\\frac{\\sqrt2}{2}", "\\frac{1}{\\sqrt2}"),
        ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"),
        ("[\\sqrt8, 3)", "[2\\sqrt2, 3)"),
        ("\\{\\sqrt8, -1\\}", "-1, 2\\sqrt2"),
        ("\\sqrt8 \\text{ m}", "200\\sqrt2\\text{ cm}"),
        ("\\sin 30^\\circ", "0.5"),
        ("\\log_2 32", "5"),
        ("|x|", "\\sqrt{x^2}"),
        ("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}"),
        ("\\frac{\\log 7}{\\log 2}", "\\log_2 7"),
        ("\\frac{\\pi}{2}\\text{ rad}", "90^\\circ"),
        ("\\sqrt2 x+y^2=1", "2x+\\sqrt2 y^2=\\sqrt2"),
    ],
)
def test_what_keys_leave_open_is_proved(one: str, other: str) -> None:
    assert equal(one, other)


def test_names_and_nouns_are_beside_the_key() -> None:
    assert [normal_form(text).noun for text in ("12 apples", "12", "12 pears")] == ["apple", "", "pear"]
    names = [normal_form(text).name for text in ("x=5", "5", "y=5", "f(x)=5", "P(A)=5")]
    assert names[0] != names[2] == names[3] != names[4] != ""
    assert names[1] == ""


def _pairs() -> list[tuple[str, str]]:
    rows = [
        json.loads(line)
        for name in ("pairs", "pairs_english", "pairs_chinese")
        for line in Path(__file__).with_name(f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [(row["gold"], row["pred"]) for row in rows if not row["equal"]]


def test_answers_that_are_different_have_different_forms() -> None:
    """On the verifier's own cases."""

    def together(one: Form, other: Form) -> bool:
        tags = (one.name, other.name), (one.noun, other.noun)
        return one.key == other.key and not any(a and b and a != b for a, b in tags)

    assert [pair for pair in _pairs() if together(*map(normal_form, pair))] == []


RATIONAL = st.fractions(min_value=-1000, max_value=1000, max_denominator=60)


@QUICK
@given(RATIONAL, RATIONAL)
def test_fractions_have_one_key_exactly_when_they_are_one_number(one: Fraction, other: Fraction) -> None:
    sign = "-" if other < 0 else ""
    typeset = f"x = {sign}\\frac{{{3 * abs(other.numerator)}}}{{{3 * other.denominator}}}"
    assert (normal_form(str(one)).key == normal_form(typeset).key) == (one == other)


@QUICK
@given(st.decimals(-1000, 1000, places=4))
def test_a_percentage_is_its_exact_value(number: object) -> None:
    assert normal_form(f"{number}%").key == normal_form(f"({number})/100").key


PIECES = [
    *"1250.xy=+-/^()[],;<%", "\\frac12", "\\sqrt2", "\\pi", "\\pm ", "\\le ", "\\cup ", "\\infty ", "\\{",
    "\\}", "\\text{ cm}", " m", "apples", "x_1", "元", "f(x)", "!", "(A)", "^\\circ",
]  # fmt: skip


def test_equal_keys_of_short_answers_are_equal_for_the_verifier() -> None:
    """Short random answers often mean the same; what is solved for its variable is more than it compares."""
    random = Random(3)
    together: dict[object, set[str]] = defaultdict(set)
    for _ in range(8000):
        text = "".join(random.choices(PIECES, k=random.randrange(1, 7)))
        form = normal_form(text)
        if form.parts and "=" not in text:
            together[form.key, form.name, form.noun].add(text)
    pairs = [(one, other) for texts in together.values() for one, other in pairwise(sorted(texts)[:5])]
    assert len(pairs) > 100
    assert [pair for pair in pairs if not verify(*pair).correct] == []


@QUICK
@given(st.text(max_size=60) | LATEX_LIKE)
def test_reading_an_answer_fails_only_where_it_is_too_deep_or_too_large(text: str) -> None:
    with suppress(Undecided, RecursionError, ArithmeticError, ValueError):
        forms._read(text, normalize(text))
    assert normal_form(text).shape


@pytest.mark.parametrize("monster", MONSTERS, ids=lambda monster: monster[:20])
def test_monsters_are_evaluated_within_their_steps(monster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = 0

    class Counting(bounded.BoundedExact):
        def value(self, node: object) -> Fraction:
            nonlocal evaluated
            evaluated += 1
            return super().value(node)  # type: ignore[arg-type]

    monkeypatch.setattr(bounded, "BoundedExact", Counting)
    for text in (monster + " ", f"x = {monster} "):
        form = normal_form(text)
        assert len(form.shape) < 20_000
    assert evaluated <= 20 * 20 * (bounded.MOST_STEPS + 1)


def test_an_answer_of_many_parts_is_only_text() -> None:
    long = ", ".join(str(number) for number in range(60))
    assert normal_form(long).parts == ()
    assert normal_form(long).key == normal_form(long.replace(", ", ",")).key
