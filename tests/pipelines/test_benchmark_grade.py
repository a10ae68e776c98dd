"""`mathloop benchmark grade`: labels, both graders, with and without the peer, data that cannot be used."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from mathloop.answers import verification, verify
from mathloop.errors import BadData
from pipelines.benchmarks import generated, grading
from pipelines.benchmarks.graders import INSTALL, Mathloop, MathVerify, as_latex
from pipelines.benchmarks.labeled import LAYOUT, Case, read_folder
from pipelines.cli import app
from tests.pipelines.command import refused

PAIRS = [
    {"gold": "1/2", "pred": "0.5", "expected": True},
    {"gold": "$x + 1$", "pred": "$y + 1$", "expected": 1, "strict": False, "match_types": ["latex"]},
    {"gold": 3, "pred": 3.0, "expected": True},
    {"gold": "1/3", "pred": "0.33", "expected": 1, "precision": 2},
    {"gold": "7", "pred": None, "expected": 0},
    {"gold": "\\sqrt{8}", "pred": "2\\sqrt{2}", "expected": False, "note": "a wrong label"},
]
VOTES = [{"gt": "12", "code": ["So it is $\\boxed{12}$.", "The answer is 13."], "score": [1, False]}]
SOLUTIONS = [
    {
        "question": "?",
        "ground_truth": "6 * 2 = <<6*2=12>>12\nA: 12",
        "small": {"solution": "6 + 2 = 8\nA: 8", "is_correct": False},
        "large": {"solution": "6 * 2 = 12\nA: 12", "is_correct": True},
    }
]
BENCHMARKS: dict[str, list[dict[str, Any]]] = {
    "school": [
        {"question": "?", "answer": "6 * 12 = 72\n#### 72"},
        {"Body": "Some.", "Question": "?", "Answer": 145.0},
    ],
    "choices": [
        {"question": "?", "choices": ["a", "b", "c"], "answer": 2},
        {"question": "?", "options": ["(A)1", "(B)2"], "answer": None, "label": "B"},
    ],
    "several": [
        {"question": "?", "final_answer": ["$\\frac{1}{2}$", "3"]},
        {"question": "?", "answer": "7"},
        {"question": "?", "answer": "proof"},
    ],
}
WRITTEN = {
    "graders/some.jsonl": PAIRS,
    "voting/some.jsonl": VOTES,
    "train/gsm8k/example_model_solutions.jsonl": SOLUTIONS,
    **{f"benchmarks/{name}/test.jsonl": rows for name, rows in BENCHMARKS.items()},
}


def write(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    for name, rows in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def rows_of(shown: str, label: str) -> list[str]:
    """The cells of the row that begins with this label."""
    (line,) = (line for line in shown.splitlines() if line.startswith(f"{label} "))
    return line.split()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(generated, "PAIRS", 2 * len(generated.KINDS))
    monkeypatch.setattr(generated, "RESPONSES", len(generated.KINDS))


@pytest.fixture
def no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)


def test_both_graders_stand_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("math_verify")
    app(["benchmark", "grade", "--data", str(write(tmp_path, WRITTEN))], standalone_mode=False)
    said = capsys.readouterr()
    assert "peer: Math-Verify 0" in said.out
    assert rows_of(said.out, "graders/some")[1:4] == ["6", "83.33", "83.33"]
    for label, rows in {
        "voting/some": 2,
        "train/gsm8k/example_model_solutions": 2,
        "benchmarks/school": 2,
        "benchmarks/choices": 2,
        "benchmarks/several": 2,
    }.items():
        cells = rows_of(said.out, label)
        assert cells[1:4] == [str(rows), "100.00", "100.00"]
        assert cells[4:8] == ["0"] * 4
        assert cells[10].endswith("×")
        assert all(float(cell.replace(",", "")) >= 0 for cell in cells[8:10] + cells[11:])
    assert rows_of(said.out, "graders/some")[4:8] == ["1", "1", "0", "0"]
    assert "mathloop's verdict differs from the label in 1 of 16 rows: 1 false positives" in said.out
    assert "graders/some, row 6: labeled wrong, Math-Verify says right" in said.out
    assert "2\\sqrt{2}" in said.out
    assert "missing:" not in said.out
    assert "graders/some: turn 3 of 3" in said.err


def test_without_the_peer_its_columns_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_peer: None
) -> None:
    folder = write(tmp_path, {name: WRITTEN[name] for name in ("voting/some.jsonl", "graders/some.jsonl")})
    app(["benchmark", "grade", "--data", str(folder)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert INSTALL in shown
    cells = rows_of(shown, "voting/some")
    assert cells[1:5] == ["2", "100.00", "not", "installed"]
    assert cells.count("–") == 6
    assert "labeled wrong\n" in shown
    missing = "missing: train/gsm8k/example_model_solutions.jsonl, benchmarks/*/test.jsonl"
    assert missing in shown.splitlines()


def test_without_data_answers_are_generated(capsys: pytest.CaptureFixture[str], no_peer: None) -> None:
    app(["benchmark", "grade"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert rows_of(shown, "generated pairs")[2:4] == ["28", "100.00"]
    assert rows_of(shown, "generated responses")[2:4] == ["14", "100.00"]
    assert "differs from the label in 0 of 42 rows" in shown


def test_generated_labels_are_right_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "PAIRS", 320)
    monkeypatch.setattr(generated, "RESPONSES", 200)
    sets = generated.draw_sets()
    assert sets == generated.draw_sets()
    cases = [case for each in sets for case in each.cases]
    assert [case for case in cases if Mathloop().prepare(case)() != case.right] == []
    assert 200 < sum(case.right for case in cases) < 320


def test_of_many_disagreements_twenty_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_peer: None
) -> None:
    rows = [{"gold": str(number), "pred": f"{number}.0", "expected": 0} for number in range(25)]
    grading.run(write(tmp_path, {"graders/odd.jsonl": rows}))
    shown = capsys.readouterr().out
    assert "in 25 of 25 rows" in shown
    assert shown.count("labeled wrong") == grading.MOST_LISTED
    assert "and 5 more" in shown


def test_a_pass_finds_nothing_that_an_earlier_one_cached() -> None:
    verify("2\\sqrt{3} + x", "x + \\sqrt{12}")
    assert verification._cached_readings.cache_info().currsize
    Mathloop().forget()
    assert not verification._cached_readings.cache_info().currsize


def test_the_peers_caches_are_emptied_but_for_its_patterns() -> None:
    parser = pytest.importorskip("math_verify.parser")
    peer = MathVerify()
    assert peer.prepare(Case("row 1", "\\frac{1}{2}", "So it is $\\boxed{0.5}$.", True, True))()
    assert parser.parse_latex_cached.cache_info().currsize
    peer.forget()
    assert not parser.parse_latex_cached.cache_info().currsize
    assert parser.lazy_latex_regex.cache_info().currsize


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("\\frac{1}{2}", "$\\frac{1}{2}$"),
        ("-5", "$-5$"),
        ("$5$;$10$", "$5$;$10$"),
        ("\\boxed{1}", "\\boxed{1}"),
        ("The answer is 42", "The answer is 42"),
    ],
)
def test_answers_become_latex_for_the_peer(answer: str, shown: str) -> None:
    assert as_latex(answer) == shown


def test_a_case_knows_its_row_and_response(tmp_path: Path) -> None:
    sets, missing = read_folder(write(tmp_path, WRITTEN))
    assert missing == []
    places = {each.name: [case.place for case in each.cases] for each in sets}
    assert places["voting/some"] == ["row 1, response 1", "row 1, response 2"]
    assert places["train/gsm8k/example_model_solutions"] == ["row 1, small", "row 1, large"]
    golds = [case.gold for each in sets if each.golds for case in each.cases]
    assert golds == ["C", "B", "72", "145", "\\frac{1}{2}, 3", "7"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("graders/a.jsonl", '{"gold": "1", ', "a.jsonl, row 1: not JSON"),
        ("graders/a.jsonl", '{"gold": "1", "pred": "1"}', "row 1, field 'expected': the field is missing"),
        ("graders/a.jsonl", '\n{"gold": "1", "expected": 1}', "row 2, field 'pred': the field is missing"),
        ("graders/a.jsonl", '{"gold": null, "pred": "1", "expected": 1}', "field 'gold': expected a string"),
        ("graders/a.jsonl", '{"gold": "1", "pred": "1", "expected": 2}', "expected true, false, 1 or 0"),
        ("graders/a.jsonl", '{"gold": "1", "pred": "1", "expected": "yes"}', "found text 'yes'"),
        ("graders/a.jsonl", '{"gold": "1", "pred": "1", "expected": 1, "strict": 1}', "field 'strict'"),
        (
            "graders/a.jsonl",
            '{"gold": "1", "pred": "1", "expected": 1, "match_types": ["tex"]}',
            "field 'match_types': expected a list of latex, expr, string",
        ),
        ("graders/a.jsonl", "\n", "a.jsonl: no rows"),
        ("voting/a.jsonl", '{"gt": 1, "code": [], "score": []}', "field 'gt': expected a text"),
        ("voting/a.jsonl", '{"gt": "1", "code": "1", "score": []}', "field 'code': expected a list of texts"),
        ("voting/a.jsonl", '{"gt": "1", "code": ["1"], "score": [1, 0]}', "expected a list of 1 labels"),
        ("voting/a.jsonl", '{"gt": "1", "code": ["1"], "score": [0.5]}', "field 'score': expected true"),
        ("voting/a.jsonl", "", "a.jsonl: no rows"),
        (
            "train/gsm8k/example_model_solutions.jsonl",
            '{"ground_truth": "A: 1", "m": {"solution": "1"}}',
            "row 1, field 'is_correct': the field is missing",
        ),
        ("benchmarks/a/test.jsonl", '{"question": "?"}', "row 1, field 'answer': missing"),
        (
            "benchmarks/a/test.jsonl",
            '{"question": "?", "answer": {"value": 3}}',
            "row 1, field 'answer': expected text",
        ),
        ("benchmarks/a/train.jsonl", '{"answer": "3"}', "no file to grade"),
    ],
)
def test_data_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(BadData, match=re.escape(said)):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grade", "--data", "absent"], "absent: there is no such folder"),
        (["grade", "--data", "file.jsonl"], "file.jsonl: expected a folder"),
        (
            ["grade", "--data", "empty"],
            f"empty: no file to grade; expected any of {next(iter(LAYOUT))}",
        ),
        (["grade", "--data", "broken"], "some.jsonl, row 1: not JSON"),
        (["speed"], "no benchmark 'speed'; known: round, grade, sandbox"),
        (["grade", "--long"], "benchmark grade takes no --long; it is for benchmark sandbox"),
        (["grade", "--seeds", "1"], "benchmark grade takes no --seeds; it is for benchmark round"),
        (["sandbox", "--data", "empty"], "benchmark sandbox takes no --data; it is for benchmark grade"),
        (["round", "--data", "empty"], "benchmark round takes no --data; it is for benchmark grade"),
        (["sandbox", "--set", "a=1"], "benchmark sandbox takes no --set; it is for benchmark round"),
        (["round", "--seeds", "1,x"], "--seeds 1,x: expected whole numbers"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "file.jsonl").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "graders").mkdir(parents=True)
    (tmp_path / "broken" / "graders" / "some.jsonl").write_text("{")
    assert said in refused("benchmark", *arguments, folder=tmp_path)
