"""submit --follow, rounds --watch and logs, against fakes of KFP and Kubernetes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster.refusals import ClusterRefused
from pipelines.cluster import following
from pipelines.cluster import rounds as listing
from pipelines.cluster.connection import Access, connect
from pipelines.cluster.following import Follower
from tests.argo_workflows import ArgoWorkflow
from tests.fake_cluster import FakeCluster, Refusal
from tests.paths import ROOT
from tests.pipelines.cluster_calls import Run, done, refused
from tests.pipelines.command import MATHLOOP

pytestmark = pytest.mark.slow


@pytest.fixture
def run_id(fake: FakeCluster, call: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that was just submitted, and no waiting between two looks at it."""
    done(call("submit", "--profile", "tiny"))
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(following, "LOG_SHARE", 0)
    (run_id,) = fake.kfp.runs
    return str(run_id)


def _script(fake: FakeCluster, run_id: str, workflow: ArgoWorkflow, *steps: Callable[[], None]) -> None:
    """Takes one step before each answer about the run, and reports its workflow."""
    handle, left = fake.kfp.handle, list(steps)

    def scripted(method: str, path: str, *rest: Any) -> Any:
        if path.endswith(f"/v2beta1/runs/{run_id}") and left:
            left.pop(0)()
            fake.kfp.manifests[run_id] = workflow.manifest()
        return handle(method, path, *rest)

    fake.kfp.handle = scripted


def _end(fake: FakeCluster, run_id: str, state: str) -> None:
    fake.kfp.runs[run_id] |= {"state": state, "finished_at": "2026-12-01T00:17:53Z"}


def _follow(fake: FakeCluster, run_id: str, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[str]]:
    succeeded = Follower(connect(Access(fake.url)), run_id).follow()
    return succeeded, capsys.readouterr().out.splitlines()


def _told(lines: list[str]) -> list[str]:
    """The lines without their time."""
    return [line.partition("  ")[2] if line[2:3] == ":" else line for line in lines]


def test_states_and_log_lines_come_once_and_a_summary_at_the_end(
    fake: FakeCluster, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = ArgoWorkflow()

    def begin() -> None:
        fake.kfp.runs[run_id]["state"] = "RUNNING"
        (pod,) = workflow.stage("preflight", "Succeeded")
        fake.kfp.logs[pod] = "The settings are valid.\n"

    def fit() -> None:
        (pod,) = workflow.stage("sft", "Running", within=workflow.group("learning"))
        fake.kfp.logs[pod] = 'I1201 06:46:09.1 7 launcher_v2.go:194] starting\n{"step": 1}\n{"step": '

    def write_on() -> None:
        fake.kfp.logs[list(fake.kfp.logs)[-1]] += "2}\nFitted sft_policy\x1b[2J in 2 steps.\n"

    def end() -> None:
        workflow.end("Succeeded")
        _end(fake, run_id, "SUCCEEDED")

    _script(fake, run_id, workflow, lambda: None, begin, fit, lambda: None, write_on, end)
    succeeded, lines = _follow(fake, run_id, capsys)
    assert succeeded
    told = _told(lines)
    assert told[: told.index("")] == [
        "run PENDING",
        "run RUNNING",
        "preflight | The settings are valid.",
        "preflight SUCCEEDED after 15 s",
        "learning/sft RUNNING",
        'learning/sft | {"step": 1}',
        'learning/sft | {"step": 2}',
        "learning/sft | Fitted sft_policy\\x1b[2J in 2 steps.",
        "learning/sft SUCCEEDED after 20 s",
    ]
    summary = told[told.index("") + 1 :]
    assert summary[0].split(maxsplit=4) == ["preflight", "SUCCEEDED", "15", "s", "The settings are valid."]
    assert summary[1].endswith("Fitted sft_policy\\x1b[2J in 2 steps.")
    assert summary[-1] == f"run {run_id} SUCCEEDED after 17 min 53 s: {fake.url}/#/runs/details/{run_id}"


def test_a_failed_stage_is_named_with_its_last_line(
    fake: FakeCluster, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = ArgoWorkflow()

    def fail() -> None:
        workflow.skip("problems")
        (pod,) = workflow.stage("cot", "Failed", message="main: Error (exit code 2)")
        fake.kfp.logs[pod] = "mathloop: error: s3://mathloop/store: access denied"
        workflow.omit("sft")
        _end(fake, run_id, "FAILED")

    _script(fake, run_id, workflow, lambda: None, fail)
    succeeded, lines = _follow(fake, run_id, capsys)
    assert not succeeded
    told = _told(lines)
    assert told[1:4] == [
        "problems CACHED",
        "cot | mathloop: error: s3://mathloop/store: access denied",
        "cot FAILED after 15 s: main: Error (exit code 2)",
    ]
    assert any(line.split()[:2] == ["cot", "FAILED"] and "access denied" in line for line in told[5:])


def test_a_pause_of_kfp_does_not_end_the_following(
    fake: FakeCluster, run_id: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise Refusal(503, "ServiceUnavailable", "no endpoints")

    steps = [refuse, refuse, lambda: _end(fake, run_id, "SUCCEEDED")]
    _script(fake, run_id, ArgoWorkflow(), *steps)
    assert _follow(fake, run_id, capsys)[0]
    monkeypatch.setattr(following, "PATIENCE_SECONDS", -1.0)
    fake.kfp.status = 503
    with pytest.raises(ClusterRefused, match="HTTP 503"):
        Follower(connect(Access(fake.url)), run_id).follow()


def test_a_run_whose_workflow_was_deleted_is_not_followed_for_ever(
    fake: FakeCluster,
    run_id: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    use_kubeconfig: Callable[[FakeCluster], None],
) -> None:
    monkeypatch.setattr(following, "LOST_SECONDS", 0.0)
    use_kubeconfig(fake)
    fake.objects = {key: one for key, one in fake.objects.items() if key[0] != "workflows"}
    succeeded, lines = _follow(fake, run_id, capsys)
    assert not succeeded
    assert "its workflow was deleted" in lines[-1]


def _started(fake: FakeCluster, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*MATHLOOP, *arguments, "--host", fake.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_the_exit_code_is_the_runs_outcome(fake: FakeCluster, state: str, code: int) -> None:
    process = _started(fake, "submit", "--follow")
    assert process.stdout is not None
    while "run PENDING" not in process.stdout.readline():
        assert process.poll() is None
    (run_id,) = fake.kfp.runs
    _end(fake, run_id, state)
    out, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (code, "")
    assert f"run {run_id} {state} after 17 min 53 s" in out


def test_ctrl_c_stops_following_and_the_run_continues(fake: FakeCluster) -> None:
    process = _started(fake, "submit", "--follow")
    assert process.stdout is not None
    while "run PENDING" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    (run_id,) = fake.kfp.runs
    assert process.returncode == 130
    assert f"stopped following; run {run_id} continues: mathloop logs {run_id[:8]}" in error
    assert "Traceback" not in error
    assert fake.kfp.runs[run_id]["state"] == "PENDING"


def test_following_that_is_refused_says_that_the_run_continues(fake: FakeCluster) -> None:
    process = _started(fake, "submit", "--follow")
    assert process.stdout is not None
    while "run PENDING" not in process.stdout.readline():
        assert process.poll() is None
    fake.kfp.status = 403
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = error.splitlines()
    assert "no permission to read a run" in line
    assert "continues: mathloop logs" in line


def test_watching_prints_what_changes(
    fake: FakeCluster, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """Three looks, of which the second has news."""
    looks = iter([lambda: None, lambda: fake.kfp.runs[run_id].update(state="RUNNING"), lambda: None])

    def look(seconds: float) -> None:
        next(looks, _interrupt)()

    monkeypatch.setattr(time, "sleep", look)
    with pytest.raises(KeyboardInterrupt):
        listing.rounds(limit=9, store=str(tmp_path / "store"), access=Access(fake.url), watch=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines if run_id in line] == ["PENDING", "RUNNING"]
    assert sum("champions of" in line for line in lines) == 1


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_logs_of_a_stage(fake: FakeCluster, call: Run, run_id: str) -> None:
    assert "no stage of this run has begun yet" in refused(call("logs", "latest"))
    workflow = ArgoWorkflow()
    first, second = workflow.stage("cot", "Error", "Succeeded")
    workflow.skip("tir")
    (gone,) = workflow.stage("sft", "Running")
    fake.kfp.manifests[run_id] = workflow.manifest()
    fake.kfp.logs |= {first: "first try", second: "second try\nI1201 06:46:09.1 7 launcher_v2.go:194] done"}
    assert done(call("logs", run_id[:8], "cot")).splitlines()[0] == "second try"
    assert "I1201" in done(call("logs", run_id[:8], "cot"))
    assert "reused the outputs of an earlier run" in refused(call("logs", "latest", "tir"))
    assert f"KFP has no log of stage sft: its pod {gone} has not started, or was deleted" in refused(
        call("logs", "latest", "sft")
    )
    fake.kfp.logs[gone] = "at work"
    result = call("logs", "latest")
    assert (result.returncode, result.stdout) == (0, "at work\n")
    assert result.stderr == f"stage sft of run {run_id} (RUNNING)\n"


def test_logs_through_kfps_ui(fake: FakeCluster, call: Run, run_id: str) -> None:
    """Its server passes on v1beta1 and v2beta1 alone, and has an address of its own for logs."""
    workflow = ArgoWorkflow()
    (pod,) = workflow.stage("cot", "Succeeded")
    fake.kfp.manifests[run_id] = workflow.manifest()
    fake.kfp.logs[pod] = "kept 12 of 20"
    fake.kfp.ui_only = True
    assert done(call("logs", "latest", "cot", "--host", fake.url)) == "kept 12 of 20\n"
    del fake.kfp.logs[pod]
    assert "KFP has no log of stage cot" in refused(call("logs", "latest", "cot", "--host", fake.url))
