"""Groups of equal answers: an equivalence, whatever the order, at a bounded number of proofs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathloop.answers import fingerprints
from mathloop.records import Response
from mathloop.voting import Group, group_answers, sigmoid
from mathloop.voting.grouping import MOST_PROOFS
from tests.unit.answers.test_answers_hostile import MONSTERS
from tests.unit.answers.test_answers_properties import LATEX_LIKE

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SPELLED = [
    "5", "x=5", "y=5", "5 m", "500 cm", "500", "x=500", "1/3", "0.333333", "33.3333%", "\\frac13", "12",
    "12 apples", "12 pears", "\\sqrt2/2", "x=\\sqrt2/2", "1/\\sqrt2", "y=1/\\sqrt2", "\\sqrt{0.5}", "A",
    "(A)", "(1,2)", "1,2", "2,1", "n(n+1)/2", "\\sum_{k=1}^n k", "|x|", "\\sqrt{x^2}", "无解", "no solution",
    "xy=6", "y=6/x", "??", "? ?",
]  # fmt: skip
ANSWERS = st.lists(st.none() | st.sampled_from(SPELLED) | LATEX_LIKE, max_size=10)


def drawn(answers: Sequence[str | None], rewards: Sequence[float | None] = ()) -> list[Response]:
    padded = [*rewards, *[None] * (len(answers) - len(rewards))]
    return [Response("p", i, "cot", "", answer, reward=padded[i]) for i, answer in enumerate(answers)]


def partition(answers: Sequence[str | None]) -> list[set[int]]:
    """Positions that are together."""
    return [{one.sample for one in group.responses} for group in group_answers(drawn(answers))]


def together(answers: Sequence[str | None]) -> set[frozenset[str | None]]:
    """Answers that are together, their order aside."""
    return {frozenset(one.answer for one in group.responses) for group in group_answers(drawn(answers))}


def test_the_unit_is_kept_and_rounding_is_not_equality() -> None:
    assert together(["5 m", "500", "5", "500 cm"]) == {
        frozenset({"5 m", "500 cm"}), frozenset({"5"}), frozenset({"500"})
    }  # fmt: skip
    assert together(["1/3", "0.333333", "\\frac{1}{3}", "33.3333%", "33.3333"]) == {
        frozenset({"1/3", "\\frac{1}{3}"}), frozenset({"0.333333", "33.3333%"}), frozenset({"33.3333"})
    }  # fmt: skip


def test_names_and_nouns_count_only_where_they_differ() -> None:
    assert len(partition(["5", "x=5", "5 apples", "7", "y=7"])) == 2
    assert together(["5", "x=5", "y=5"]) == {frozenset({"5"}), frozenset({"x=5"}), frozenset({"y=5"})}
    assert together(["3 apples", "3", "3 pears", "3 apple"]) == {
        frozenset({"3 apples", "3 apple"}), frozenset({"3"}), frozenset({"3 pears"})
    }  # fmt: skip
    assert len(partition(["x=\\sqrt8", "y=2\\sqrt2"])) == 2
    assert len(partition(["x=\\sqrt8", "2\\sqrt2"])) == 1


def test_groups_are_in_the_order_of_their_first_responses() -> None:
    groups = group_answers(drawn(["1/2", None, "7", "0.5", "  ", "14/2"]))
    assert [(group.answer, group.votes, len(group.responses)) for group in groups] == [
        ("1/2", 2, 2), (None, 0, 2), ("7", 2, 2)
    ]  # fmt: skip
    assert group_answers([]) == []


@QUICK
@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_partition_does_not_depend_on_the_order(answers: list[str | None], shuffler: object) -> None:
    shuffled = answers[:]
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]
    assert together(answers) == together(shuffled)


def test_every_order_of_answers_that_only_proofs_join() -> None:
    answers = ["\\sqrt2/2", "1/\\sqrt2", "\\sqrt{0.5}", "x=\\sqrt2/2", "y=1/\\sqrt2"]
    assert len({frozenset(together(order)) for order in permutations(answers)}) == 1


@QUICK
@given(ANSWERS)
def test_it_is_an_equivalence_and_loses_no_response(answers: list[str | None]) -> None:
    found = partition(answers)
    assert sorted(position for group in found for position in group) == list(range(len(answers)))
    of = {position: number for number, group in enumerate(found) for position in group}
    for one, text in enumerate(answers):
        for other, same in enumerate(answers):
            if (text or "").strip() == (same or "").strip():
                assert of[one] == of[other]
    groups = group_answers(drawn(answers))
    assert sum(group.votes for group in groups) == sum(bool(text and text.strip()) for text in answers)


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The proofs that were made."""
    made: list[tuple[str, str]] = []
    prove = fingerprints.proved_equal

    def counted(one: fingerprints.Part, other: fingerprints.Part) -> bool:
        made.append((one.mark, other.mark))
        return prove(one, other)

    monkeypatch.setattr(fingerprints, "proved_equal", counted)
    return made


HARD = [f"\\sqrt2+10^{{-{digits}}}" for digits in range(20, 84)]
"""64 different numbers that floats cannot tell apart."""


def test_64_answers_that_are_hard_to_compare_cost_few_proofs(proofs: list[tuple[str, str]]) -> None:
    assert len(partition(HARD)) == 64
    assert len(proofs) == MOST_PROOFS < 64 * 63 // 2 // 10


def test_what_the_budget_leaves_undecided_does_not_depend_on_the_order() -> None:
    hard = [*HARD[:40], *(f"\\sqrt2+\\frac{{1}}{{10^{{{digits}}}}}" for digits in range(20, 60))]
    assert together(hard) == together(hard[::-1])


def test_64_spellings_of_one_number_are_one_group(proofs: list[tuple[str, str]]) -> None:
    assert len(partition([f"\\sqrt{{{2 * n * n}}}/{n}" for n in range(1, 65)])) == 1
    assert len(proofs) <= 63


def test_answers_that_are_read_exactly_cost_no_proof(proofs: list[tuple[str, str]]) -> None:
    answers = (
        [f"{n}/{n + 1}" for n in range(16)] + [f"x^2+{n}" for n in range(16)] + ["A", "x>3", "1,2", "5 m"]
    )
    assert len(partition(answers)) == len(answers)
    assert proofs == []


def test_a_proof_that_fails_keeps_answers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def undecided(*_: object) -> bool:
        raise fingerprints.Undecided("not found out")

    monkeypatch.setattr("mathloop.answers.equivalence.Comparison.same", undecided)
    assert len(partition(["\\sqrt8", "2\\sqrt2"])) == 2


def test_monsters_are_grouped_with_few_proofs(proofs: list[tuple[str, str]]) -> None:
    groups = group_answers(drawn([*MONSTERS, *MONSTERS]))
    assert all(len(group.responses) >= 2 for group in groups)
    assert len(proofs) <= MOST_PROOFS


def test_integers_and_equal_texts_import_nothing_that_reads_answers() -> None:
    code = (
        "import json, sys\n"
        "from types import SimpleNamespace as Generation\n"
        "from mathloop.voting import STRATEGIES, choose, group_answers\n"
        "for answers in (['7', '8', '07', None], ['1/2', '1/2', None]):\n"
        "    choose('maj', group_answers([Generation(answer=a, reward=None) for a in answers]))\n"
        "before = sorted(sys.modules)\n"
        "group_answers([Generation(answer=a, reward=None) for a in ('1/2', '0.5', '\\\\sqrt2')])\n"
        "print(json.dumps([before, sorted(sys.modules)]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = map(set, json.loads(shown))
    assert not before & {"sympy", "mpmath", "torch", "numpy", "pydantic", "mathloop.answers"}
    assert not after & {"sympy", "mpmath", "torch", "numpy"}


def test_a_group_knows_its_weight_and_its_best_response() -> None:
    (group,) = group_answers(drawn(["7", "7.0", "14/2", "7"], [-1.0, float("nan"), 2.0, None]))
    assert group.rewards == [-1.0, 2.0]
    assert group.weight == pytest.approx(sigmoid(-1.0) + sigmoid(2.0))
    assert group.best.sample == 2
    assert Group("7", tuple(drawn(["7", "7"]))).best.sample == 0
    assert Group(None, tuple(drawn([None], [3.0]))).weight == 0


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_sigmoid_never_overflows(logit: float) -> None:
    assert 0 <= sigmoid(logit) <= 1
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1)


def test_money_and_degrees_join_a_number_alone_and_cents_do_not_mislead() -> None:
    def sizes(*answers: str) -> dict[str | None, int]:
        return {group.answer: group.votes for group in group_answers(drawn(answers))}

    assert sizes("18", "$18", "18 dollars", "1800 cents") == {"18": 4}
    assert sizes("90", "90^\\circ", "90 degrees") == {"90": 3}
    assert sizes("5", "$5", "500 cents", "500") == {"5": 3, "500": 1}
    # Two currencies are two answers, and then a number alone is neither.
    assert sizes("18", "$18", "18元") == {"18": 1, "$18": 1, "18元": 1}
    assert sizes("5", "5 m", "500 cm", "500") == {"5": 1, "5 m": 2, "500": 1}
