"""Problem files as people have them, and the rows that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.errors import BadData
from mathloop.problems.files import read_problem_file
from tests.paths import SHARED_DATA

FINE = {"question": "1 + 1?", "answer": "2"}
GSM8K = SHARED_DATA / "train" / "gsm8k" / "train.jsonl"


def read(folder: Path, *rows: dict[str, Any]) -> list[tuple[str, str | None]]:
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [(problem.id, problem.answer) for problem in read_problem_file(path)]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"id": "  "}, "id"),
        ({"id": "\u200b"}, "id"),
        ({"id": [1]}, "id"),
        ({"id": True}, "id"),
        ({"question": "\u200b\ufeff"}, "question"),
        ({"question": "\0"}, "question"),
        ({"question": "a\0b"}, "question"),
        ({"question": None}, "question"),
        ({"question": 7}, "question"),
        ({"answer": " \u2060"}, "answer"),
        ({"answer": {"x": 1}}, "answer"),
        ({"answer": None}, "answer"),
        ({"question": "1 + 1?", "answer": "3"}, "answer"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    with pytest.raises(BadData) as caught:
        read(tmp_path, FINE, {"question": "2 + 2?", "answer": "4", **row})
    assert (caught.value.row, caught.value.field) == (2, field)
    assert "\n" not in str(caught.value)


def test_a_statement_with_two_answers_names_both_rows_and_with_one_is_kept(tmp_path: Path) -> None:
    same = [FINE, {"question": " 1 + 1? ", "answer": 2}, {"question": "1 + 1?", "answer": "4/2"}]
    assert [answer for _, answer in read(tmp_path, *same)] == ["2", "2", "4/2"]
    with pytest.raises(BadData, match=r"row 4, field 'answer': '3', but row 1 .* '2'"):
        read(tmp_path, *same, {"question": "1 + 1?", "answer": "3"})


def test_an_absent_id_is_made_and_a_number_is_one(tmp_path: Path) -> None:
    rows = [{**FINE, **more} for more in ({"id": None}, {"id": ""}, {}, {"id": 7})]
    assert [name for name, _ in read(tmp_path, *rows)] == ["p-1", "p-2", "p-3", "7"]


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_an_answer_is_finite(tmp_path: Path, number: str) -> None:
    (tmp_path / "p.jsonl").write_text(f'{{"question": "1?", "answer": {number}}}\n')
    with pytest.raises(BadData, match=r"row 1: .*number"):
        list(read_problem_file(tmp_path / "p.jsonl"))
    pq.write_table(pa.table({"question": ["1?"], "answer": [float(number)]}), tmp_path / "p.parquet")
    with pytest.raises(BadData, match="row 1, field 'answer'"):
        list(read_problem_file(tmp_path / "p.parquet"))


def test_a_column_that_is_not_needed_does_not_matter(tmp_path: Path) -> None:
    table = {"problem": ["1?"], "answer": [1], "written": pa.array([1], pa.timestamp("ns"))}
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    assert [problem.answer for problem in read_problem_file(tmp_path / "p.parquet")] == ["1"]


def test_a_long_value_is_not_shown_whole(tmp_path: Path) -> None:
    huge = "x" * 1_000_000
    for rows in (
        ({**FINE, "id": huge}, {"question": "2?", "answer": "2", "id": huge}),
        ({"question": [huge], "answer": "2"},),
        ({**FINE, "answer": huge}, {**FINE}),
    ):
        with pytest.raises(BadData) as caught:
            read(tmp_path, *rows)
        assert len(str(caught.value)) < 400


@pytest.mark.skipif(not GSM8K.is_file(), reason="GSM8K's training set is not beside this checkout")
def test_gsm8ks_own_rows_are_read() -> None:
    problems = list(read_problem_file(GSM8K))
    assert len(problems) == 7473
    assert problems[0].answer == "72"
    assert all(problem.solution and problem.language == "en" for problem in problems)
