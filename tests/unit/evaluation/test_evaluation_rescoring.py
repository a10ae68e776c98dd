"""Saved responses are scored again: ours by their folder, other people's files by a mapping."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation import Outcomes, print_scores, tabulate
from mathloop.evaluation.gaps import gaps
from mathloop.evaluation.rescoring import Fields, fold, parse_fields
from tests.paths import ROOT, SHARED_DATA

VOTING = SHARED_DATA / "voting" / "math_cot_100.jsonl"


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def figures(outcomes: Outcomes) -> list[float]:
    table = tabulate(outcomes)
    ((model, mode),) = outcomes.entries
    scores = [table.get(model, mode, kind) for kind in ("mean", "maj", "rm", "pass", "weighted")]
    return [round(100 * score.value, 3) for score in scores if score is not None]


def test_other_peoples_responses_by_their_labels_and_by_our_verdicts() -> None:
    if not VOTING.is_file():
        pytest.skip("no voting/math_cot_100.jsonl in shared/data")
    mapping = parse_fields("response=code,answer=gt,reward=pred_score,label=score")
    found = fold([VOTING], mapping, verify=True)
    assert figures(found.by_labels) == [91.0, 93, 94, 96, 94]
    assert figures(found.by_verifier) == [91.125, 93, 95, 97, 95]
    assert found.differing == 1


def test_rows_with_one_response_each_are_put_together_by_problem(tmp_path: Path) -> None:
    rows = [
        {"q": problem, "gen": f"so \\boxed{{{answer}}}.", "gold": 4, "who": who, "lvl": "Level 3"}
        for who in ("a", "b")
        for problem, answers in (("2+2?", (4, 5)), ("二加二是多少?", (4, 4)))
        for answer in answers
    ]
    fields = Fields(response="gen", answer="gold", problem="q", model="who", level="lvl")
    found = fold([write(tmp_path / "rows.jsonl", *rows)], fields, verify=True)
    assert found.by_verifier.entries == [("a", "cot"), ("b", "cot")]
    assert found.by_verifier.drawn == 2
    assert len(found.by_verifier.problems) == 2
    assert tabulate(found.by_verifier).get("a", "cot", "mean").value == 0.75  # type: ignore[union-attr]
    assert set(found.by_verifier.groups) == {
        ("all", "language:en", "level:3"),
        ("all", "language:zh", "level:3"),
    }
    assert not found.by_labels.entries, "nobody stored labels"


def test_files_of_a_folder_are_one_model_and_two_places_are_two(tmp_path: Path) -> None:
    fields = Fields(response="r", answer="g")
    rows = [{"r": ["\\boxed{1}", "\\boxed{2}"], "g": "1"}, {"r": ["\\boxed{1}", "\\boxed{1}"], "g": "1"}]
    (tmp_path / "one").mkdir()
    write(tmp_path / "one" / "a.jsonl", *rows)
    write(tmp_path / "one" / "b.jsonl", *rows)
    two = write(tmp_path / "two.jsonl", *rows, *rows)
    found = fold([tmp_path / "one", two], fields, verify=True).by_verifier
    assert found.entries == [("one", "cot"), ("two", "cot")]
    assert len(found.problems) == 4
    assert found.scores("one", "cot", 2)["mean"].tolist() == [0.5, 1, 0.5, 1]


def test_a_prediction_needs_no_text_and_a_label_no_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"pred": ["1/2", "0.5", None], "ok": [1, 1, 0]})
    found = fold([path], Fields(prediction="pred", label="ok"), verify=True)
    assert figures(found.by_labels) == [66.667, 100, 100]
    assert not found.by_verifier.entries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("respons=code,answer=gt", "no part 'respons', did you mean 'response'"),
        ("response=code", "needs response or prediction, and answer or label"),
        ("response=,answer=gt", "part=column"),
        ("response=a,response=b,answer=gt", "each part once"),
    ],
)
def test_a_mapping_that_cannot_be_is_one_line(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as error:
        parse_fields(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"r": ["a", "b"], "g": "1", "s": [1]}, "row 2, field 's': expected a list of 2"),
        ({"r": ["a"], "g": "1", "s": ["yes"]}, "row 2, field 's': expected true, false, 1, 0 or null"),
        ({"r": ["a"], "g": ["1"], "s": [1]}, "row 2, field 'g': expected a text, found a list"),
        ({"r": [3.5, {}], "g": "1", "s": [1, 0]}, "row 2, field 'r': expected a text"),
        ({"text": "a", "g": "1"}, "row 2, field 'r': missing; the row has text, g: name the columns"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"r": ["\\boxed{1}"], "g": "1", "s": [1]}, row)
    with pytest.raises(BadData) as error:
        fold([path], Fields(response="r", answer="g", label="s"), verify=True)
    assert str(error.value).startswith(f"{path}, {said}")


def test_a_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "first.jsonl", {"r": "\\boxed{1}", "g": "1", "m": 0.5})
    second = write(tmp_path / "second.jsonl", {"r": "\\boxed{1}", "g": "1"})
    with pytest.raises(BadData, match=r"first.jsonl, field 'rm': no row has this column, which --fields"):
        fold([first], Fields(response="r", answer="g", reward="rm"), verify=True)
    both = fold([first, second], Fields(response="r", answer="g", reward="m"), verify=True)
    assert len(both.by_verifier.entries) == 2, "one of two files may lack rewards"


def test_one_statement_with_two_gold_answers_is_two_problems(tmp_path: Path) -> None:
    rows = [{"q": "x is?", "r": "\\boxed{1}", "g": gold} for gold in ("1", "2", "1", "2")]
    path = write(tmp_path / "rows.jsonl", *rows)
    found = fold([path], Fields(response="r", answer="g", problem="q"), verify=True).by_verifier
    assert found.scores("rows", "cot", 2)["maj"].tolist() == [1, 0]


def test_csv_and_gzip_are_read_too(tmp_path: Path) -> None:
    head, rows = "text,gold,score,ok\n", ["\\boxed{1},1,0.5,True", "\\boxed{2},1,-1,0", "\\boxed{2},2,,1"]
    (tmp_path / "rows.csv").write_text(head + "\n".join(rows))
    fields = Fields(response="text", answer="gold", reward="score", label="ok")
    found = fold([tmp_path / "rows.csv"], fields, verify=True)
    assert found.by_labels.scores("rows", "cot", 1)["rm"].tolist() == [1, 0, 1]
    assert found.differing == 0
    with gzip.open(tmp_path / "more.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": ["\\boxed{1}"], "gold": 1}) + "\n")
    more = fold([tmp_path / "more.jsonl.gz"], Fields(response="text", answer="gold"), verify=True)
    assert more.by_verifier.entries == [("more", "cot")]


def test_nothing_to_score_by_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"r": "a", "g": None})
    with pytest.raises(BadData, match="nothing to score"):
        fold([path], Fields(response="r", answer="g"), verify=True)
    with pytest.raises(BadData, match="file in this folder"):
        fold([_empty(tmp_path)])


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_scoring_needs_no_torch() -> None:
    program = (
        "import sys, pipelines.commands.scoring, mathloop.evaluation.rescoring; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "False\n", result.stderr


def test_two_places_with_one_label_are_two_models_in_any_order(tmp_path: Path) -> None:
    fields = Fields(response="r", answer="g", model="m")
    for name, text in (("one", "\\boxed{1}"), ("two", "\\boxed{2}")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.jsonl", {"r": [text, text], "g": "1", "m": "policy"})
    places = [tmp_path / "one", tmp_path / "two"]
    for given in (places, places[::-1]):
        found = fold(given, fields, verify=True).by_verifier
        assert [model for model, _ in found.entries] == [f"policy ({place})" for place in places]
        means = [found.scores(model, mode, 2)["mean"].tolist() for model, mode in found.entries]
        assert means == [[1.0], [0.0]]
    with pytest.raises(BadConfig, match="is given twice"):
        fold([places[0], tmp_path / "two" / ".." / "one"], fields)


def test_a_response_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    row = {"r": "\\boxed{1}", "g": "1", "q": "?", "n": 3}
    path = write(tmp_path / "rows.jsonl", row, row)
    with pytest.raises(BadData, match=r"two responses of rows in cot to the problem .* have the number 3"):
        fold([path], Fields(response="r", answer="g", problem="q", sample="n"), verify=True)


def test_one_odd_problem_does_not_lower_the_others(tmp_path: Path) -> None:
    right = {"r": ["\\boxed{1}"] * 2, "g": "1"}
    rows = [{**right, "q": "a"}, {**right, "q": "b"}, {**right, "q": "b"}]
    found = fold(
        [write(tmp_path / "x.jsonl", *rows)], Fields(response="r", answer="g", problem="q"), verify=True
    )
    assert figures(found.by_verifier) == [100, 100, 100]
    assert found.by_verifier.drawn == 2
    (line,) = gaps(found.by_verifier)
    assert line.startswith("x CoT: unequal numbers of samples (2 for 1, 4 for 1 problems)")


def test_samples_may_be_numbered_from_1(tmp_path: Path) -> None:
    rows = [{"r": "\\boxed{1}", "g": "1", "q": "a", "n": number} for number in (1, 2)]
    path = write(tmp_path / "x.jsonl", *rows)
    found = fold([path], Fields(response="r", answer="g", problem="q", sample="n"), verify=True)
    assert figures(found.by_verifier) == [100, 100, 100]
    assert gaps(found.by_verifier) == []


def test_a_problem_without_responses_is_wrong(tmp_path: Path) -> None:
    rows = [{"r": ["\\boxed{1}"] * 2, "g": "1", "s": [1, 1]}, {"r": [], "g": "1", "s": []}]
    found = fold(
        [write(tmp_path / "x.jsonl", *rows)], Fields(response="r", answer="g", label="s"), verify=True
    )
    for outcomes in (found.by_verifier, found.by_labels):
        assert figures(outcomes) == [50, 50, 50]
        assert gaps(outcomes) == ["x CoT: 1 of 2 problems have no response; they count as wrong"]


def test_a_benchmark_that_was_not_asked_is_no_zero(tmp_path: Path) -> None:
    fields = Fields(response="r", answer="g", problem="q", model="m", benchmark="b", mode="t")
    rows = [
        {"r": ["\\boxed{1}"], "g": "1", "m": model, "b": name, "t": mode, "q": name}
        for model, name, mode in (
            *(("m", "x", "cot"), ("m", "x", "tir"), ("m", "y", "cot")),
            ("n", "x", "cot"),
        )
    ]
    table = tabulate(fold([write(tmp_path / "f.jsonl", *rows)], fields, verify=True).by_verifier)
    assert all(score.value == 1 for score in table.scores)
    assert table.get("m", "tir", "mean", "benchmark:y") is None
    assert table.get("m", "tir", "mean", "average") is not None
    shown = print_scores(table).splitlines()
    assert "Not measured, and not in the averages: m TIR on y; n CoT on y." in shown
    assert any(line.split() == ["y", "m", "TIR", *"––––"] for line in shown)
