"""Agreement with public graders' cases, labeled responses and benchmark gold answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mathloop.answers import extract_answer, verify, verify_response
from mathloop.answers.grading import grade_rows
from tests.paths import SHARED_DATA

pytestmark = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="the shared data folder is not beside this checkout"
)


def _rows(name: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (SHARED_DATA / name).read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]


def test_math_verify_cases() -> None:
    """All but the known wrong row, which expects 1 − 1/e to equal 1 + 1/e."""
    name = "graders/math_verify_cases.jsonl"
    graded = grade_rows((SHARED_DATA / name).read_bytes().splitlines(), name)
    wrong = [
        (row["gold"][-60:], row["pred"][-60:]) for row in graded if row["correct"] != bool(row["expected"])
    ]
    assert wrong == [(r"$1 - \frac{1}{\mathrm{e}}$", r"$1 + \frac{1}{\mathrm{e}}$")]


def test_nemo_skills_cases() -> None:
    name = "graders/nemo_skills_math_equal.jsonl"
    for row in grade_rows((SHARED_DATA / name).read_bytes().splitlines(), name):
        assert row["correct"] == row["expected"], row


def test_voting_labels() -> None:
    """All but the known wrong label: problem 72, sample 7."""
    wrong = [
        (row["idx"], sample)
        for row in _rows("voting/math_cot_100.jsonl")
        for sample, (response, score) in enumerate(zip(row["code"], row["score"], strict=True))
        if verify_response(row["gt"], response).correct != bool(score)
    ]
    assert wrong == [(72, 7)]


def test_gsm8k_model_solutions() -> None:
    seen, wrong = 0, []
    for row in _rows("train/gsm8k/example_model_solutions.jsonl"):
        gold = row["ground_truth"].rpartition("A:")[2].strip()
        for solution in (value for value in row.values() if isinstance(value, dict)):
            seen += 1
            verdict = verify_response(gold, solution["solution"])
            if verdict.correct != solution["is_correct"]:
                wrong.append((gold, solution["solution"][-40:]))
    assert seen == 5276
    assert wrong == []


def _golds() -> Iterator[str]:
    for path in sorted((SHARED_DATA / "benchmarks").glob("*/test.jsonl")):
        for row in _rows(str(path.relative_to(SHARED_DATA))):
            name = path.parent.name
            if name == "olympiadbench":
                yield from row["final_answer"]
            elif name == "gsm8k":
                yield row["answer"].rpartition("####")[2].strip()
            elif name == "mmlu_stem":
                yield "ABCD"[row["answer"]]
            else:
                answers = (row.get("answer"), row.get("Answer"), row.get("label"), row.get("choice_answer"))
                yield from (str(answer) for answer in answers if answer)


@pytest.mark.parametrize(
    "template",
    ["Thus 3 and 4 give $\\boxed{%s}$.", "Some steps.\n\n\\boxed{%s}\n\nThat was all 3 parts.", "%s"],
)
def test_gold_answers_survive_a_round_trip(template: str) -> None:
    for gold in _golds():
        response = template % gold
        answer = extract_answer(response) if "boxed" in template else response
        assert answer is not None, gold
        assert verify(gold, answer).correct, (gold, answer, verify(gold, answer))
