"""`mathloop benchmark browse`: a small made-up run is written, opened in Chromium if there is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mathloop.records import read_responses
from pipelines.benchmarks import browsing
from pipelines.benchmarks.chromium import why_none

TIMES = (
    "first paint",
    "load event",
    "list drawn",
    "JavaScript heap",
    "a row opened",
    "all problems searched",
)


@pytest.mark.slow
def test_the_page_is_written_opened_and_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browsing, "VISITS", 1)
    browsing.run(3)
    printed = capsys.readouterr().out
    assert "3 problems, 18 responses to each" in printed
    figures = dict(re.findall(r"^(\w[\w :]+?) +([\d.,]+)  \w", printed, re.M))
    assert 450 < float(figures["characters per response"]) < 600
    assert float(figures["peak memory"]) > 20
    reason = why_none()
    assert all((name in figures) is (reason is None) for name in TIMES), printed
    assert ("Not opened" in printed) is (reason is not None)


def test_without_a_browser_the_page_is_measured_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browsing, "_written", lambda folder, characters: [("page", "1.0", "MB")])
    monkeypatch.setattr(browsing, "why_none", lambda: "no Chromium on PATH")
    browsing.run(1)
    assert capsys.readouterr().out.endswith("1.0  MB\nNot opened: no Chromium on PATH\n")


def test_the_run_has_a_greedy_response_and_samples_of_both_models(tmp_path: Path) -> None:
    browsing.make_run(tmp_path / "run", 2)
    rows = list(read_responses(tmp_path / "run/stages/evaluation/results"))
    assert [(one.model, one.sample) for one in rows if one.problem_id == "bottles/1"] == [
        (model, sample) for model in ("champion", "challenger") for sample in range(-1, 8)
    ]
    assert len({one.text for one in rows if one.problem_id == "bottles/1"}) > 9
