"""What a report and the console may claim: marks, untested claims, and warnings of what cannot be known."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mathloop.evaluation import Difference, Ordering, Score, Table, paired_difference, score_table
from mathloop.evaluation.cautions import cautions
from mathloop.evaluation.differences import least_difference, unseen_share
from mathloop.records import Problem, Response
from mathloop.reports import learning
from mathloop.reports import round as report
from mathloop.reports.claims import claims_section, print_claims
from mathloop.reports.scores import scores_section
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from pipelines.local.folder import RunFolder
from pipelines.local.results import show_results
from tests.paths import ROOT

NOT_RUN = StageReport("sft", notes=["None of 0 responses can be learned from."])
SAMPLED = [
    StageReport("cot", generated=192, dropped={"wrong answer": 180, "no majority": 12}),
    StageReport("tir", generated=32, dropped={"no Python was run": 20, "wrong answer": 12}),
]


def ordering(low: float, high: float, stage: str = "") -> Ordering:
    difference = Difference((low + high) / 2, low, high, 300)
    return Ordering(f"claim {low} {high}", "one", 0.4, "other", 0.5, difference, stage)


def test_each_mark_is_shown_with_the_difference_and_its_interval() -> None:
    claims = [ordering(0.01, 0.2), ordering(-0.02, 0.2), ordering(-0.2, -0.01), ordering(0.0, 0.0)]
    page, text = claims_section(claims, {}), print_claims(claims, {}).splitlines()[1:]
    for one, line, mark in zip(
        claims, text, ["holds", *["within noise"], "fails", "within noise"], strict=True
    ):
        assert line.startswith(f"{mark:<12}  {one.claim}: ")
        assert f'>{mark}</span><span class="claim">{one.claim}</span>' in page
    assert "+10.5 [+1.0, +20.0] points on 300 problems" in text[0]
    assert "<b>+10.5</b> (+1.0 to +20.0)" in page
    assert "which differ alike: no certainty" in text[3]
    assert "1 of 4 claims holds in this round, 2 are within noise, 1 fails." in page


def test_an_sft_that_never_ran_does_not_fail() -> None:
    untrained = learning.untrained([*SAMPLED, NOT_RUN, StageReport("grpo", curves={"loss": [(1, 0.1)]})])
    assert list(untrained) == ["sft"]
    claims = [ordering(-0.2, -0.1, "sft"), ordering(-0.2, -0.1, "grpo")]
    text = print_claims(claims, untrained)
    assert "not tested    claim -0.2 -0.1: SFT had nothing to learn from" in text
    assert text.count("fails") == 1
    page = claims_section(claims, untrained)
    assert ">not tested</span>" in page
    assert "0 of 2 claims hold in this round, 1 fails, 1 is not tested." in page


def test_that_nothing_was_learned_is_said_with_the_counts() -> None:
    (line,) = learning.nothing_learned([*SAMPLED, NOT_RUN])
    assert line == "SFT had nothing to learn from: 0 right of 224 samples, so the SFT model is the champion."
    some = [StageReport("cot", generated=8, dropped={"wrong answer": 5, "truncated": 3})]
    (line,) = learning.nothing_learned([*some, NOT_RUN])
    assert "none of 8 samples could be used (5 wrong answer, 3 truncated)" in line
    assert learning.nothing_learned([StageReport("sft", kept=8, curves={"loss": [(1, 2.0)]})]) == []


def test_the_notes_of_a_grpo_without_advantages_are_known() -> None:
    idle = StageReport(
        "grpo", curves={"loss": [(1, 0.0)]}, notes=["In all 4 groups …, so nothing can be learned: …"]
    )
    assert list(learning.untrained([idle])) == ["grpo"]
    idle.curves["gradient norm"] = [(1, 0.0), (2, 0.0)]
    assert list(learning.untrained([idle])) == ["grpo"]
    idle.curves["gradient norm"] = [(1, 0.0), (2, 0.3)]
    assert learning.untrained([idle]) == {}, "its weights have changed: the reward model taught"
    source = (ROOT / "mathloop" / "training" / "grpo.py").read_text()
    assert all(words in source for words in learning._TEACHES_NOTHING)


def test_headline_and_console_say_first_that_nothing_was_learned(make_round: Any, tmp_path: Path) -> None:
    made = make_round(count=24, models=("base", "sft", "challenger"))
    report.run(**{**made.paths, "stages": [*SAMPLED, NOT_RUN]}, out=tmp_path / "page", title="Round 3")
    page = (tmp_path / "page").read_text()
    assert page.index("0 right of 224 samples") < page.index('class="verdict')
    assert "SFT had nothing to learn from</span>" in page
    run = RunFolder.create({}, tmp_path / "runs")
    for stage, name, path in (
        ("problems", "benchmark", made.paths["benchmark"]),
        ("evaluation", "results", made.paths["results"]),
        ("judgment", "published", made.paths["published"]),
        ("judgment", "page", tmp_path / "page"),
    ):
        (run.stages / stage).mkdir(exist_ok=True)
        shutil.copyfile(path, run.stages / stage / name)
    write_summary([*SAMPLED, NOT_RUN], run.stages / "problems" / "summary")
    (run.stages / "evaluation" / "summary").write_text("**Failed.**")
    shown = io.StringIO()
    show_results(run, Console(file=shown))
    text = shown.getvalue()
    assert "SFT had nothing to learn from: 0 right of 224 samples, so the SFT model is the champion." in text
    assert "not tested    SFT improves on the base model" in text
    assert "The benchmark is small: 24 problems can show no difference below" in text
    assert text.index("0 right of 224") < text.index("promoted")
    assert (run.path / "report.html").read_text() == page


def test_an_interval_without_width_is_no_certainty() -> None:
    problems = [Problem(str(n), "?", "1") for n in range(8)]
    rows = [Response(p.id, -1, "cot", "", "2", False, model="base") for p in problems]
    table = score_table(problems, rows)
    (small, alike) = cautions(table)
    least = "can show no difference below 37.5 points in greedy accuracy of one mode."
    assert small == f"The benchmark is small: 8 problems {least}"
    assert "all 8 problems had the same result, and up to 36.9 % of others may not" in alike
    page = scores_section(table)
    assert "0.0–36.9" in page
    halves = Table(2, (Score("base", "cot", "all", "maj@2", 0.5, 0.5, 0.5, 8),))
    assert "50.0–50.0" in scores_section(halves), "all alike, and neither right nor wrong"
    assert unseen_share(8) == pytest.approx(1 - 0.025 ** (1 / 8))
    assert cautions(score_table([], [])) == []


@pytest.mark.parametrize("n", [4, 8, 16, 60])
def test_the_least_difference_is_where_the_bootstrap_begins_to_see(n: int) -> None:
    least = round(least_difference(n) * n)
    marks = []
    for better in (least - 1, least):
        greater = np.array([1.0] * better + [0.0] * (n - better))
        marks.append(paired_difference(greater, np.zeros(n), seed=0, resamples=60_000).mark())
    assert marks == ["within noise", "holds"]


def test_a_gate_on_few_alike_problems_says_that_it_is_no_certainty(make_round: Any, tmp_path: Path) -> None:
    made = make_round(count=24)
    decision = json.loads(made.paths["gate"].read_text()) | {"difference": 0, "low": 0, "high": 0, "n": 8}
    made.paths["gate"].write_text(json.dumps(decision))
    report.run(**made.paths, out=tmp_path / "page", title="Round 3")
    assert (
        "No interval: all 8 problems differ alike, and up to 36.9 % of others may not"
        in (tmp_path / "page").read_text()
    )
