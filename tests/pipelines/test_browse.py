"""`mathloop browse`: of a run with what its stages kept and dropped, of evaluations, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.records.drops import open_drops
from mathloop.reports import stage_rows
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from tests.pipelines.test_compare import make_evaluation, make_run

Call = Callable[..., str]


def data_of(page: Path, name: str) -> Any:
    """The JSON in a page's element of this id."""
    _, found, rest = page.read_text("utf-8").partition(f'<script type="application/json" id="{name}">')
    assert found
    return json.loads(rest.partition("</script>")[0])


def test_a_run_has_its_champion_before_and_its_challenger_after(
    in_process: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_rows, "MOST", 3)
    run = make_run(tmp_path, "one", 3, base=4, sft=5, challenger=12)
    write_problems(run / "stages/problems/problems", [Problem("t1", "What is $2^3$?", "8")])
    (run / "stages/cot").mkdir()
    write_summary([StageReport("cot", kept=1, dropped={"wrong answer": 4})], run / "stages/cot/summary")
    write_responses(run / "stages/cot/responses", [Response("t1", 0, "cot", "It is \\boxed{8}.", "8", True)])
    with open_drops(run / "stages/cot/dropped") as drops:
        for sample in range(4):
            drops.add("wrong answer", Response("t1", sample, "cot", "</script>", "9", False, reward=0.5))
    assert in_process("browse", "one") == "page: runs/one/problems.html\n"
    page = run / "problems.html"
    index = data_of(page, "index")
    assert index["sides"] == ["run one, base", "run one, challenger"]
    verdicts = [[side[:3] for side in sides] for _, _, sides in index["rows"]]
    assert verdicts == [[[int(n < own), 2 * (n < own), 2] for own in (4, 12)] for n in range(20)]
    _, stage = index["stages"]  # problems, cot
    assert stage["reasons"] == [["", 1], ["wrong answer", 4]]
    assert [row[:2] for row in stage["rows"]] == [[0, "What is $2^3$?"], *[[1, "What is $2^3$?"]] * 3]
    row = dict(data_of(page, f"data-{stage['rows'][1][2]}")["cot-1"])
    assert row["text"] == [["prose", ["</script>"]]]
    assert row["problem"][0][1][1][0] == "math"
    assert (row["answer"], row["reward"], row["correct"]) == ("9", "0.5", "false")
    assert "4 dropped" in page.read_text("utf-8")
    assert data_of(page, "data-0")["3"]["modes"]["cot"][0]["votes"][0]["chosen"] == ["maj@2"]


def test_one_evaluation_and_two(in_process: Call, tmp_path: Path) -> None:
    for name, right in (("early", 6), ("late", 12)):
        make_evaluation(tmp_path / name, right)
    assert in_process("browse", "early", "--out", "new/e.html") == "page: new/e.html\n"
    assert data_of(tmp_path / "new" / "e.html", "index")["sides"] == ["evaluation early, early"]
    assert in_process("browse", "early", "late") == "page: problems.html\n"
    index = data_of(tmp_path / "problems.html", "index")
    assert index["sides"] == ["evaluation early, early", "evaluation late, late"]
    problem = index["problems"][7]
    assert problem[:4] == ["apples/p7", "7", "apples", ""]
    texts = data_of(tmp_path / "problems.html", f"data-{problem[7]}")["7"]
    assert texts["text"] == ["How many are 7 apples?"]
    assert [side["greedy"]["correct"] for side in texts["modes"]["cot"]] == [False, True]
    assert [side["prompt"] for side in texts["modes"]["cot"]] == ["prompt", "prompt"], "as it was saved"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing"], "nothing: nothing of this name; expected a run"),
        (["one:sft"], "run one, sft: no responses of sft; it has challenger"),
        (["one", "--out", "runs"], "--out runs: expected a file such as page.html, found a folder"),
    ],
)
def test_mistakes_are_one_line(in_process: Call, tmp_path: Path, arguments: list[str], line: str) -> None:
    make_run(tmp_path, "one", 3, challenger=6)
    found = in_process("browse", *arguments)
    assert found.startswith("2 mathloop: error: ")
    assert line in found
    assert len(found.splitlines()) == 1
