"""What adaptive sampling saves and costs, on real responses with real rewards."""

from __future__ import annotations

import pytest

from mathloop.evaluation import Outcomes
from mathloop.evaluation.adaptive import measure_saving
from mathloop.evaluation.rescoring import fold, parse_fields
from mathloop.records import Problem, Response
from tests.paths import SHARED_DATA

VOTING = SHARED_DATA / "voting" / "math_cot_100.jsonl"


def outcomes(*answers: str) -> Outcomes:
    """Of one problem whose answer is 7."""
    responses = [
        Response("p", number, "cot", "", answer=answer, correct=answer == "7", reward=4.0, model="m")
        for number, answer in enumerate(answers)
    ]
    return Outcomes([Problem("p", "3+4?", answer="7")], responses)


def test_an_agreed_answer_takes_two_of_eight_and_a_split_vote_takes_nearly_all() -> None:
    agreed = measure_saving(outcomes(*"77777777"), "m", "cot", "weighted")
    assert (agreed.drawn, agreed.full, agreed.difference.value) == (2 / 8, 1, 0)
    split = measure_saving(outcomes(*"12345678"), "m", "cot", "maj")
    assert split.drawn == 7 / 8
    assert split.difference.value == 0
    with pytest.raises(ValueError, match="no samples in tir"):
        measure_saving(outcomes(*"77"), "m", "tir", "maj")


def test_real_votes_take_less_than_60_percent_and_lose_less_than_two_points() -> None:
    if not VOTING.is_file():
        pytest.skip("no voting/math_cot_100.jsonl in shared/data")
    fields = parse_fields("response=code,prediction=pred,answer=gt,reward=pred_score,label=score")
    found = fold([VOTING], fields).by_labels
    ((model, mode),) = found.entries
    for strategy in ("maj", "rm", "weighted"):
        saving = measure_saving(found, model, mode, strategy)
        assert saving.drawn < 0.6
        assert saving.difference.low > -0.02
