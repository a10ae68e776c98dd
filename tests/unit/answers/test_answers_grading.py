"""`grade_rows` keeps the contract of `mathloop grade`."""

from __future__ import annotations

import json

import pytest

from mathloop.answers import verify
from mathloop.answers.grading import grade_rows
from mathloop.errors import BadData


def test_rows_come_back_in_order_with_a_verdict() -> None:
    rows = [
        {"gold": "1/2", "pred": "0.5", "id": 7},
        {"gold": 5, "pred": 5.0},
        {"gold": "0.5", "pred": None, "note": "没有"},
        {"gold": "二分之一", "pred": "\\frac12"},
    ]
    lines = [json.dumps(row).encode() for row in rows]
    graded = list(grade_rows([lines[0], b"\n", *lines[1:]], "pairs.jsonl"))
    assert [row["correct"] for row in graded] == [True, True, False, True]
    assert all(row["reason"] for row in graded)
    assert [{key: row[key] for key in given} for row, given in zip(graded, rows, strict=True)] == rows


def test_options_of_a_row() -> None:
    rows = [
        {"gold": "1/3", "pred": "0.33"},
        {"gold": "1/3", "pred": "0.33", "precision": 2},
        {"gold": "$f(x)$", "pred": "$f(y)$"},
        {"gold": "$f(x)$", "pred": "$f(y)$", "strict": False},
        {"gold": "(1,\\infty)", "pred": "x>1"},
        {"gold": "(1,\\infty)", "pred": "x>1", "allow_set_relation_comp": False},
    ]
    graded = grade_rows([json.dumps(row).encode() for row in rows], "pairs.jsonl")
    assert [row["correct"] for row in graded] == [False, True, False, True, True, False]


def test_a_prediction_is_an_answer_or_a_whole_response() -> None:
    rows = [
        {"gold": "B", "pred": "So we choose \\boxed{\\text{(B) } 12}."},
        {"gold": "5", "pred": "Hence x is 5."},
        {"gold": "5", "pred": "5"},
        {"gold": "Hence x is 5", "pred": "Hence x is 5."},
    ]
    lines = [json.dumps(row).encode() for row in rows]
    verdicts = {
        kind: [row["correct"] for row in grade_rows(lines, "pairs.jsonl", kind)]
        for kind in ("auto", "response", "answer")
    }
    assert verdicts["auto"] == [True, True, True, True]
    assert verdicts["response"] == [True, True, True, True]
    assert verdicts["answer"] == [False, False, True, True]


@pytest.mark.parametrize(
    ("gold", "prediction", "says"),
    [
        ("5", "6", "the numbers differ: 6, expected 5"),
        ("5", "5 below", '"below" after the number'),
        ("€12", "\\$12", "the units differ"),
        ("\\{1,2\\}", "\\{1,2,3\\}", "3 values, but 2 were expected"),
        ("5", "x>5", "x>5 is a relation, but an expression was expected"),
        ("5", "5 \\subseteq \\foo y", "not understood as mathematics"),
        ("A", "B", "the choices differ: B, expected A"),
        ("5", "", "no answer was found"),
    ],
)
def test_the_reason_says_why_not(gold: str, prediction: str, says: str) -> None:
    assert says in verify(gold, prediction).reason


@pytest.mark.parametrize(
    ("line", "field", "says"),
    [
        (b'{"gold": "1", ', None, "not JSON"),
        (b"[1, 2]", None, "object"),
        (b'{"pred": "1"}', "gold", "missing"),
        (b'{"gold": "1"}', "pred", "missing"),
        (b'{"gold": null, "pred": "1"}', "gold", "nothing \\(null\\)"),
        (b'{"gold": "1", "pred": ["1"]}', "pred", "list"),
        (b'{"gold": true, "pred": "1"}', "gold", "found true or false"),
        (b'{"gold": "1", "pred": "1", "precision": "6"}', "precision", "whole number"),
        (b"\xff\xfe", None, "not UTF-8"),
        (b'{"gold": "1", "pred": "1", "precision": -1}', "precision", "from 0"),
        (b'{"gold": "1", "pred": "1", "strict": null}', "strict", "true or false"),
        (b'{"gold": "1", "pred": "1", "note": "\\ud800"}', None, "surrogate"),
        (b'{"gold": "1", "pred": "\\udc00"}', None, "surrogate"),
        (b'{"gold": "1", "pred": 1, "x": [1e999]}', None, "too large"),
        (b'{"gold": NaN, "pred": 1}', None, "NaN is not a JSON number"),
        (b'{"gold": "1", "pred": "1", "x": ' + b"[" * 200_000, None, "nested too deep"),
        (b'{"gold": "1", "pred": ' + b"9" * 5000 + b"}", None, "5000 digits"),
    ],
)
def test_a_broken_row_is_named(line: bytes, field: str | None, says: str) -> None:
    rows = grade_rows([b'{"gold": "1", "pred": "1"}', line], "pairs.jsonl")
    assert next(rows)["correct"]
    with pytest.raises(BadData, match=says) as caught:
        next(rows)
    assert (caught.value.path, caught.value.row, caught.value.field) == ("pairs.jsonl", 2, field)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("lines", [[], [b"\n", b"  \r\n"], [b"\xef\xbb\xbf"]])
def test_a_file_without_rows_is_told(lines: list[bytes]) -> None:
    with pytest.raises(BadData, match=r"pairs\.jsonl: no rows"):
        list(grade_rows(lines, "pairs.jsonl"))
