"""`mathloop plan`: what it prints and its exit code; docs/plan.md shows its plans of today."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadConfig
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from pipelines import plan_page
from pipelines.commands.planning import plan
from pipelines.local.folder import RunFolder, write_json
from pipelines.profile import load_profile
from tests.paths import ROOT


def test_the_page_shows_the_plans_of_today() -> None:
    written = plan_page.FILE.read_text(encoding="utf-8")
    assert written == plan_page.render(written), "docs/plan.md is stale: make docs"
    assert written.count("$ mathloop plan --profile qwen") >= 4 + 2
    assert "| H100 | 80 | 989 | 3350 |" in written


def test_a_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    plan(profile="qwen2.5-math-1.5b", gpus="8xH200", problems=1000, price=3.0, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["gpu"] == "H200"
    assert printed["parameters"] == 1_543_714_304
    stages = {stage["stage"]: stage for stage in printed["stages"]}
    assert stages["selection"]["samples"] == 8 * 1000
    assert printed["cost"] == pytest.approx(3 * sum(s["gpu_hours"] for s in printed["stages"]))


def test_a_utilization_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    hours = []
    for utilization in (0.2, 0.4):
        plan(profile="qwen2.5-math-1.5b", utilization=utilization, as_json=True)
        stages = json.loads(capsys.readouterr().out)["stages"]
        hours.append(next(s["gpu_hours"] for s in stages if s["stage"] == "sft"))
    assert hours[0] == pytest.approx(2 * hours[1], rel=0.05)


def test_a_plan_that_does_not_fit_is_printed_and_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadConfig, match="do not fit; see the plan"):
        plan(profile="qwen2.5-math-72b")
    assert "Does not fit:" in capsys.readouterr().out


def test_thousands_of_samples_are_planned(capsys: pytest.CaptureFixture[str]) -> None:
    plan(profile="laptop", sets=["cot.samples=2000"], as_json=True)
    stages = {stage["stage"]: stage for stage in json.loads(capsys.readouterr().out)["stages"]}
    assert stages["cot"]["samples"] == 2000 * stages["cot"]["problems"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("--problems", {"problems": 10**390}),
        ("problems.train", {"sets": [f"problems.train={10**13}"]}),
        ("evolution.count", {"sets": [f"evolution.count={10**13}"]}),
        ("cot.samples", {"sets": [f"cot.samples={10**9}"]}),
    ],
)
def test_a_count_that_no_round_could_have_is_refused(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match=rf"^{name}: expected at most [0-9,]+ in a plan") as caught:
        plan(**given)
    assert len(str(caught.value)) < 100


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys; from mathloop.planning import make_plan; from pipelines.profile import load_profile; "
        "make_plan(load_profile('qwen2.5-math-7b')); assert 'torch' not in sys.modules, 'torch'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_finished_run_is_compared_with_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    profile = load_profile("laptop", []).model_dump(mode="json")
    run = RunFolder.create({"first": True, "profile": profile})
    with pytest.raises(BadConfig, match="no stage that a plan knows has finished"):
        plan(run=run.id)
    report = StageReport("reward_data", generated=7200, kept=7200, values={"tokens": 195_144.0})
    folder = run.stages / "reward-data"
    folder.mkdir()
    write_summary([report], folder / "summary")
    write_json(folder / "done.json", {"seconds": 1.0, "peak_bytes": 10**9, "outputs": ["summary"]})
    (run.stages / "cot").mkdir()  # not finished
    plan(run=run.id)
    shown = capsys.readouterr().out
    assert "| reward_data | tokens  | 187.2 k | 195.1 k  | -4%    |" in shown
    assert "| 1.00 GB" in shown
    plan(run=str(run.path), as_json=True)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["quantity"] for row in rows] == ["samples", "tokens", "memory"]
    with pytest.raises(BadConfig, match="--run plans the run's own settings; leave out --gpus"):
        plan(run=run.id, gpus="8xH100")
