"""Choices numbered from 0 or from 1, and gold answers that are lists."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mathloop.decontamination.sources import read_items
from mathloop.errors import BadData
from mathloop.problems.sources import Source, passages, read_source
from mathloop.problems.sources.parsing import Place
from mathloop.problems.sources.passages import texts_of
from mathloop.records.rows import numbered_rows
from pipelines.commands.problems import problems


def quiz(folder: Path, answers: list[Any], choices: list[Any] | None = None) -> Source:
    rows = [
        {"question": f"Which is {n}?", "choices": choices or ["w", "x", "y", "z"], "answer": answer}
        for n, answer in enumerate(answers)
    ]
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_source(path)


def letters(source: Source) -> str:
    return "".join(problem.answer or "?" for problem in source)


@pytest.mark.parametrize(
    ("answers", "right", "first"),
    [
        ([2, 1, 4, 3], "BADC", 1),
        (["2", "1", "4"], "BAD", 1),
        ([2.0, 4.0, "1.0"], "BDA", 1),
        ([2, 1, 0, 3], "CBAD", 0),
        ([2, 1, 3], "CBD", 0),  # nothing tells
        ([4, 1, 0], "BA", 0),  # contradictory: 4 is broken
        (["B", 4, 1], "BDA", 1),
        ([[1, 4], [2]], "ADB", 1),
    ],
)
def test_the_answers_of_all_rows_tell_from_where_choices_are_numbered(
    tmp_path: Path, answers: list[Any], right: str, first: int
) -> None:
    source = quiz(tmp_path, answers)
    assert letters(source) == right
    assert source.numbering is not None
    assert source.numbering.first == first
    assert letters(source.again()) == right


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ([2, 4, 1, 3], ["x", "z", "w", "y"]),
        ([2, 1, 0, 3], ["y", "x", "w", "z"]),
        (["B", "4", 1], ["x", "z", "w"]),
        ([2, 1, 3], [None, None, None]),  # a guess would keep a copy, as one with another answer
        ([4, 1, 0, "D"], ["z", None, "w", "z"]),  # 4 is from 1, 0 is from 0
    ],
)
def test_decontamination_compares_the_right_choice_or_none(
    tmp_path: Path, answers: list[Any], right: list[str | None]
) -> None:
    quiz(tmp_path, answers)
    path = tmp_path / "quiz.jsonl"
    assert [texts_of(row, Place(path, number)).answer for number, row in numbered_rows(path)] == right
    assert [item.answer for item in read_items([path])] == right


@pytest.mark.parametrize(
    ("choices", "answer", "right"),
    [
        (["10", "20", "30", "40"], "20", "20"),
        (["0", "7", "9", "12"], "12", "12"),
        (["0", "1", "2", "3"], "2", "2"),
        (["5", "6", "1"], "1", None),  # choice B, or the text of C
    ],
)
def test_decontamination_compares_an_answer_that_only_one_numbering_allows(
    tmp_path: Path, choices: list[str], answer: str, right: str | None
) -> None:
    quiz(tmp_path, [answer, answer], choices)
    assert [item.answer for item in read_items([tmp_path / "quiz.jsonl"])] == [right, right]


def test_a_broken_file_is_not_read_again_for_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz(tmp_path, [1, 2] * 20)
    content = gzip.compress((tmp_path / "quiz.jsonl").read_bytes())
    (tmp_path / "quiz.jsonl.gz").write_bytes(content[:-12])
    read = []
    numbering = passages.numbering
    monkeypatch.setattr(passages, "numbering", lambda rows: (read.append(1), numbering(rows))[1])
    with pytest.raises(BadData):
        list(read_items([tmp_path / "quiz.jsonl.gz"]))
    assert len(read) <= 1


def test_what_is_the_text_of_a_choice_tells_nothing(tmp_path: Path) -> None:
    source = quiz(tmp_path, ["3", 0], ["0", "1", "3"])
    letters(source)
    assert source.numbering is not None
    assert "no answer tells" in source.numbering.reason


def test_a_first_row_whose_number_is_a_choice_too_is_read_as_the_later_ones(tmp_path: Path) -> None:
    rows = [(["1", "3", "2"], 2), (["u", "v", "w"], 3)]
    path = tmp_path / "quiz.jsonl"
    lines = ({"question": str(right), "choices": texts, "answer": right} for texts, right in rows)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert letters(read_source(path)) == "BC"


def test_letters_and_labels_are_no_numbers(tmp_path: Path) -> None:
    source = quiz(tmp_path, ["A", "D"])
    assert letters(source) == "AD"
    assert source.numbering is None
    path = tmp_path / "arc.jsonl"
    labeled = {"question": "q", "choices": {"text": ["u", "v"], "label": ["1", "2"]}, "answerKey": "2"}
    path.write_text(json.dumps(labeled) + "\n")
    source = read_source(path)
    assert letters(source) == "B"
    assert source.numbering is None


@pytest.mark.parametrize(
    ("answer", "gold", "several"),
    [
        (["1", "2"], "1, 2", 1),
        ("['2', '-2']", "2, -2", 1),
        (["\\frac12", "0.5", "1/2"], "\\frac12", 1),
        ([3.0, 4], "3, 4", 1),
        (["1,000", "2"], "1000, 2", 1),
        (["1/2", "0.5", "3"], "1/2, 3", 1),
        (["3", "5", "3"], "3, 5, 3", 1),
        (["7"], "7", 0),
        ("7", "7", 0),
    ],
)
def test_several_golds_are_all_asked_for_unless_they_are_forms_of_one(
    tmp_path: Path, answer: Any, gold: str, several: int
) -> None:
    path = tmp_path / "roots.jsonl"
    path.write_text(json.dumps({"problem": "?", "answer": answer}) + "\n")
    source = read_source(path)
    assert [problem.answer for problem in source] == [gold]
    assert source.several == several


def test_what_was_assumed_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for answers, printed in (([4, 1], "numbered from 1, as"), ([3, 1], "numbered from 0, which no answer")):
        quiz(tmp_path, answers)
        problems([str(tmp_path / "quiz.jsonl")])
        assert printed in capsys.readouterr().out
    path = tmp_path / "roots.jsonl"
    path.write_text(json.dumps({"problem": "?", "answer": ["1", "2"]}) + "\n")
    problems([str(path)])
    assert "1 gold answers are lists of several" in capsys.readouterr().out
