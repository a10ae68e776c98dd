"""Public layouts beside the 29 of `formats`, whose gold answers were once read wrong without a word."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.errors import BadConfig, BadData
from mathloop.problems.sources import read_source
from mathloop.problems.sources.parsing import Place
from mathloop.problems.sources.passages import texts_of
from mathloop.problems.sources.places import listed
from mathloop.records import Problem

CHATML = (
    "<|im_start|>system\nPlease reason step by step.<|im_end|>\n<|im_start|>user\nWhat is 1+2?<|im_end|>\n"
    "<|im_start|>assistant\n"
)
ORCA = "He is 5th, so there are 4 runners before him. Therefore the answer is 4."
MGSM = "Step-by-Step Answer: 5+6=11. The answer is 11."
HARP = {
    "problem": "What is 1+1?",
    "answer": "2",
    "answer_choice": "B",
    "choices": {"A": "1", "B": "2", "C": "3"},
}
FOUR = {"A": "1", "B": "2", "C": "3", "D": "4"}


def problems_of(folder: Path, row: dict[str, Any]) -> list[Problem]:
    path = folder / "p.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    source = read_source(path)
    found = list(source)
    assert source.broken == []
    return found


USER_TURN = [{"role": "user", "content": "p"}]
MODEL_TURN = [{"role": "assistant", "content": "So \\boxed{6}"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "p"}, {"type": "text", "text": "q"}]}]


@pytest.mark.parametrize("solution", ["See p. 6", "x = 6", "用6", "Proof.", "6. 7", "6\n7"])
def test_a_short_solution_that_is_no_number_is_no_answer(tmp_path: Path, solution: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"question": "p", "solution": solution}))
    source = read_source(path)
    assert [*source] == []
    assert len(source.left_out) == 1


@pytest.mark.parametrize(
    ("row", "statement", "gold"),
    [
        ({"question": "How many?", "answer": ORCA}, "How many?", "4"),
        ({"problem": "p", "answer": "**Answer:** $5$"}, "p", "$5$"),
        ({"problem": "p", "answer": "答案：7"}, "p", "7"),
        ({"question": "q", "answer": MGSM, "answer_number": 11}, "q", "11"),
        ({"question": "q", "answer": None, "answer_number": 18}, "q", "18"),
        ({"question": "q", "answer": "First 2, so 5 apples.", "final_answer": "5"}, "q", "5"),
        ({"problem": "p", "answer": "I think 4", "ground_truth": "5"}, "p", "5"),
        ({"input": CHATML, "gt_answer": "3", "answer": "So \\boxed{3}"}, "What is 1+2?", "3"),
        ({"input": CHATML, "gt_answer": "3", "question": "What is 1+2?", "target": "3"}, "What is 1+2?", "3"),
        ({"prompt": [{"role": "user", "content": "p"}], "reward_model": {"ground_truth": '["6"]'}}, "p", "6"),
        ({"problem": "p", "answer": "['6', '7']"}, "p", "6, 7"),
        ({"problem": "p", "answer": "[1, 2]"}, "p", "[1, 2]"),
        ({"problem": "p", "answer": '["\\\\frac{1}{2}"]'}, "p", "\\frac{1}{2}"),
        ({"problem": "p", "answer": "['\\frac{1}{2}']"}, "p", "\\frac{1}{2}"),
        ({"problem": "p", "answer": "No answer is possible"}, "p", "No answer is possible"),
        ({"input": "How much?", "code": "", "target": -9867630.0}, "How much?", "-9867630"),
        (HARP | {"choices": None, "answer_choice": None, "answer": "17"}, "What is 1+1?", "17"),
        ({"prompt": USER_TURN, "solution": "$\\frac12$"}, "p", "$\\frac12$"),
        ({"prompt": "p", "completion": "So \\boxed{6}"}, "p", "6"),
        ({"prompt": USER_TURN, "completion": MODEL_TURN}, "p", "6"),
        ({"prompt": "p", "answer": 6}, "p", "6"),
        ({"messages": USER_TURN, "answer": "6"}, "p", "6"),
        ({"messages": [*PARTS, *MODEL_TURN]}, "p\nq", "6"),
        ({"system": "s", "user": "p", "assistant": "The answer is 6."}, "p", "6"),
        ({"input": "p", "output": "So \\boxed{6}"}, "p", "6"),
        ({"input": USER_TURN, "output": "So \\boxed{6}"}, "p", "6"),
        ({"question": "p", "solution": "6"}, "p", "6"),
        ({"problem": "p", "solution": "Hence it is $\\boxed 6$."}, "p", "6"),
        ({"problem": "p", "solution": "Hence it is $\\fbox{6}$."}, "p", "6"),
        ({"problem": "p", "solution": "Hence it is $\\boxed\\frac12$."}, "p", r"\frac12"),
        ({"problem": "p", "solution": "\\boxed{5}, no, \\framebox{6}"}, "p", "6"),
    ],
)
def test_the_gold_is_the_final_answer(tmp_path: Path, row: dict[str, Any], statement: str, gold: str) -> None:
    (problem,) = problems_of(tmp_path, row)
    assert (problem.problem, problem.answer, problem.choices) == (statement, gold, ())


@pytest.mark.parametrize(
    ("row", "gold", "choices"),
    [
        (HARP, "B", ("1", "2", "3")),
        ({"question": "Which?", "answer": "D", "explanation": "", **FOUR}, "D", tuple(FOUR.values())),
        ({"Question": "下列哪个数最大？", "Answer": "D", **FOUR}, "D", tuple(FOUR.values())),
        ({"question": "q", "option_a": "x", "option_b": "y", "answer": "B"}, "B", ("x", "y")),
        ({"question": "q", "choice_A": 5, "choice_B": 6, "answer": "6"}, "B", ("5", "6")),
        (
            {"Problem": "age?", "options": "a ) rs . 38 , b ) 27.675 , c ) none", "correct": "b"},
            "B",
            ("rs . 38", "27.675", "none"),
        ),
        ({"question": "q", "options": ["a) 1", "b) 2", "c) 3"], "answer": "(c)"}, "C", ("1", "2", "3")),
        ({"question": "q", "options": ["b", "a"], "answer": "a"}, "B", ("b", "a")),
    ],
)
def test_choices_are_found_and_shown(
    tmp_path: Path, row: dict[str, Any], gold: str, choices: tuple[str, ...]
) -> None:
    (problem,) = problems_of(tmp_path, row)
    assert (problem.answer, problem.choices) == (gold, choices)
    assert all(choice in problem.problem for choice in choices)


def test_a_question_without_its_choices_is_one_without_choices(tmp_path: Path) -> None:
    row = {"question": "What is 1+1?", "answer": "2", **dict.fromkeys("ABCD", "")}
    (problem,) = problems_of(tmp_path, row)
    assert (problem.problem, problem.answer, problem.choices) == ("What is 1+1?", "2", ())


def test_a_sentence_that_states_its_answer_stays_as_the_solution(tmp_path: Path) -> None:
    (long,) = problems_of(tmp_path, {"question": "How many?", "answer": ORCA})
    (short,) = problems_of(tmp_path, {"question": "How many?", "answer": "The answer is 4."})
    assert (long.answer, long.solution, short.answer, short.solution) == ("4", ORCA, "4", None)


@pytest.mark.parametrize(
    "text", ["[1, 2]", "['1', 2]", "[\\frac{1}{2}, 8]", "['1]", "6", "['a' + 'b']", "['\\f', '1']"]
)
def test_an_interval_or_tuple_is_no_list_of_answers(text: str) -> None:
    assert listed(text) is None


@pytest.mark.parametrize(
    ("answers", "golds"),
    [
        (pa.array([0.1, 2.0, 1 / 3], pa.float32()), ["0.1", "2", "0.33333334"]),
        (pa.array([Decimal("3.50"), Decimal("400.00")]), ["3.5", "400"]),
        (pa.array([9007199254740993, -1]), ["9007199254740993", "-1"]),
    ],
)
def test_numbers_of_tables_are_golds_as_they_are_written(
    tmp_path: Path, answers: pa.Array, golds: list[str]
) -> None:
    table = pa.table({"problem": [f"p{place}" for place in range(len(answers))], "answer": answers})
    pq.write_table(table, tmp_path / "p.parquet")
    assert [problem.answer for problem in read_source(tmp_path / "p.parquet")] == golds


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.json"])
def test_utf_16_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"problem": "p", "answer": "1"}\n', encoding="utf-16")
    with pytest.raises(BadData, match="UTF-16; write the file again as UTF-8"):
        list(read_source(tmp_path / name))


def test_completions_and_preferences_are_looked_at_as_texts_and_as_turns() -> None:
    rows = [
        {"prompt": "p", "completion": MODEL_TURN},
        {"prompt": USER_TURN, "chosen": MODEL_TURN, "rejected": "no"},
        {"prompt": "p", "chosen": "So \\boxed{6}", "rejected": "no"},
    ]
    found = [texts_of(row, Place(Path("t.jsonl"), 1)) for row in rows]
    assert all(texts.statements == ["p"] for texts in found)
    assert [sorted(texts.worked) for texts in found] == [
        ["So \\boxed{6}"],
        ["So \\boxed{6}", "no"],
        ["So \\boxed{6}", "no"],
    ]


OLYMPIAD = {"question": "p", "final_answer": ["5"], "subfield": "Algebra", "solution": ["s"]}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (OLYMPIAD | {"final_answer": None}, "final_answer"),
        (OLYMPIAD | {"final_answer": []}, "final_answer"),
        (OLYMPIAD | {"final_answer": [None]}, "final_answer"),
        ({"question": "p", "final_answer": None}, "final_answer"),
        ({"body": "p", "question": "q", "answer": None}, "answer"),
        ({"prompt": "p", "reward_model": {"ground_truth": None}}, "reward_model.ground_truth"),
    ],
)
def test_a_gold_that_is_missing_is_named_by_its_own_field(
    tmp_path: Path, row: dict[str, Any], field: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row) + "\n")
    source = read_source(path)
    assert [*source] == []
    assert [error.field for error in source.broken] == [field]


def test_a_proof_of_olympiadbench_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(OLYMPIAD | {"final_answer": None, "question_type": "Theorem proof"}) + "\n")
    source = read_source(path)
    assert [*source] == [] == source.broken
    assert [skipped.reason for skipped in source.left_out] == ["a proof: there is no final answer to compare"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"level": "m.lvl"}, r"fields\.level: .*no row has the path 'm\.lvl'; correct it, or write ''"),
        ({"answer": "m.gold"}, r"fields\.answer: .*no row has the path 'm\.gold'"),
        ({"problem": "text.inner"}, r"fields\.problem: .*no row has the path 'text\.inner'; correct it$"),
        ({"answer": "n.key"}, r"fields\.answer: .*no row has the path 'n\.key'"),
    ],
)
def test_a_path_that_no_row_has_is_said(tmp_path: Path, fields: dict[str, str], said: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "p", "m": {"key": "1", "level": null}}\n')
    named = {"problem": "text", "answer": "m.key", "level": "m.level"}
    assert [problem.answer for problem in read_source(path, fields=named)] == ["1"]
    with pytest.raises(BadConfig, match=said):
        list(read_source(path, fields=named | fields))


def test_a_part_in_a_column_that_no_row_has_is_said(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"question": "p", "answer": "1"}\n{"question": "q", "answer": "2", "key": "k"}\n')
    with pytest.raises(BadConfig, match=r"fields\.choices: .*p\.jsonl: no row has the column 'optins'"):
        list(read_source(path, fields={"choices": "optins"}))
    assert [problem.id for problem in read_source(path, fields={"id": "key"})] == ["p-1", "k"]
    assert [problem.id for problem in read_source(path, fields={"id": ""})] == ["p-1", "p-2"]
