"""Problems and responses survive a file; whatever is not one is named by row and field."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathloop.errors import BadData
from mathloop.records import (
    Problem,
    Response,
    read_problems,
    read_responses,
    write_problems,
    write_responses,
    write_rows,
)

text = st.text(st.characters(codec="utf-8"), max_size=40)
shown = text.filter(str.strip)
integer = st.integers(-(2**63), 2**63 - 1)
number = st.floats(allow_nan=False, allow_infinity=False)
problems = st.builds(
    Problem,
    id=shown,
    problem=shown,
    answer=st.none() | text,
    source=text,
    language=st.sampled_from(["en", "zh"]),
    family=text,
    difficulty=integer,
    solution=st.none() | text,
    parent=st.none() | text,
    operation=st.none() | text,
)
responses = st.builds(
    Response,
    problem_id=shown,
    sample=integer,
    mode=st.sampled_from(["cot", "tir"]),
    text=text,
    answer=st.none() | text,
    correct=st.none() | st.booleans(),
    reason=text,
    reward=st.none() | number,
    finish_reason=st.sampled_from(["stop", "length", "tool_limit"]),
    tokens=integer,
    tool_calls=integer,
    temperature=number,
    model=text,
)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
@settings(max_examples=40)
@given(records=st.lists(problems, min_size=1, max_size=6), row_group=st.integers(1, 4))
def test_problems_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, records: list[Problem], row_group: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"problems-{name}"
    assert write_problems(path, iter(records), row_group) == len(records)
    assert list(read_problems(path)) == records


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
@settings(max_examples=40)
@given(records=st.lists(responses, min_size=1, max_size=6), row_group=st.integers(1, 4))
def test_responses_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, records: list[Response], row_group: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"responses-{name}"
    assert write_responses(path, iter(records), row_group) == len(records)
    assert list(read_responses(path)) == records


def test_parquet_columns_are_typed_even_where_all_values_are_missing(tmp_path: Path) -> None:
    write_responses(tmp_path / "a.parquet", [Response("1", 0, "cot", "x")])
    types = {
        field.name: (str(field.type), field.nullable) for field in pq.read_schema(tmp_path / "a.parquet")
    }
    assert types["correct"] == ("bool", True)
    assert types["reward"] == ("double", True)
    assert types["answer"] == ("string", True)
    assert types["sample"] == ("int64", False)


def test_no_problems_are_a_parquet_file_but_not_json_lines(tmp_path: Path) -> None:
    assert write_problems(tmp_path / "a.parquet", []) == 0
    assert list(read_problems(tmp_path / "a.parquet")) == []
    for data in (b"", b"\n\n"):
        (tmp_path / "a.jsonl").write_bytes(data)
        with pytest.raises(
            BadData, match="the file is empty; expected one JSON object per line with id, problem"
        ):
            list(read_problems(tmp_path / "a.jsonl"))


def test_missing_fields_take_their_defaults_and_other_columns_are_ignored(tmp_path: Path) -> None:
    rows = [{"id": "1", "problem": "1+1?", "answer": "2", "url": "x", "votes": [1]}]
    for name in ("a.parquet", "a.jsonl"):
        write_rows(tmp_path / name, rows)
        assert list(read_problems(tmp_path / name)) == [Problem("1", "1+1?", "2")]


def test_a_whole_number_is_a_reward(tmp_path: Path) -> None:
    row = {"problem_id": "1", "sample": 0, "mode": "cot", "text": "x", "reward": 2}
    write_rows(tmp_path / "a.jsonl", [row])
    (response,) = read_responses(tmp_path / "a.jsonl")
    assert response.reward == 2.0


PROBLEM = asdict(Problem("1", "1+1?"))
RESPONSE = asdict(Response("1", 0, "cot", "x"))
WRONG: list[tuple[str, Any, str]] = [
    ("id", 7, "expected text, found a number 7"),
    ("id", " ", "found a blank"),
    ("problem", None, "expected text, found null"),
    ("answer", 42, "expected text or null, found a number 42"),
    ("answer", ["42"], "found a list"),
    ("language", "fr", "expected 'en' or 'zh', found 'fr'"),
    ("difficulty", "hard", "expected a whole number, found text 'hard'"),
    ("difficulty", 1.5, "expected a whole number"),
    ("difficulty", True, "found true or false"),
    ("difficulty", 2**63, "64 bits"),
    ("mode", "chain", "expected 'cot' or 'tir'"),
    ("correct", 1, "expected true or false or null, found a number 1"),
    ("correct", "true", "expected true or false or null, found text 'true'"),
    ("reward", "high", "expected a number or null"),
    ("reward", True, "expected a number or null"),
    ("temperature", None, "expected a number, found null"),
]


@pytest.mark.parametrize(("field", "value", "said"), WRONG)
def test_a_wrong_value_is_named_on_the_way_in_and_out(
    tmp_path: Path, field: str, value: Any, said: str
) -> None:
    is_problem = field in PROBLEM
    good = PROBLEM if is_problem else RESPONSE
    read: Any = read_problems if is_problem else read_responses
    write: Any = write_problems if is_problem else write_responses
    make: Any = Problem if is_problem else Response
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (good, good, {**good, field: value})))
    with pytest.raises(BadData) as caught:
        list(read(path))
    assert (caught.value.row, caught.value.field) == (3, field)
    assert str(caught.value).startswith(f"{path}, row 3, field '{field}': ")
    assert said in str(caught.value)
    with pytest.raises(BadData, match=rf"row 2, field '{field}'"):
        write(tmp_path / "b.parquet", [make(**good), make(**{**good, field: value})])
    assert os.listdir(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, [{"id": "1", "question": "1+1?"}])
    with pytest.raises(BadData, match=r"row 1, field 'problem': missing") as caught:
        list(read_problems(tmp_path / name))
    assert caught.value.exit_code == 2


def test_a_parquet_column_of_another_type_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", [{"id": 1, "problem": "1+1?"}])
    with pytest.raises(BadData, match=r"row 1, field 'id': expected text"):
        list(read_problems(tmp_path / "a.parquet"))


def test_a_stage_may_replace_the_file_that_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_problems(path, [Problem(str(n), "x") for n in range(5000)])
    write_problems(path, (problem for problem in read_problems(path) if problem.id.endswith("7")))
    assert len(list(read_problems(path))) == 500
