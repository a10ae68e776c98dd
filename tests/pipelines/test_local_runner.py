"""The local runner, with fake stages: finishing, failing, being killed, resuming, being locked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.slow  # a run of fake stages is a dozen processes

WATCHDOG = 120
"""Seconds after which something hangs, on a busy machine too; a fake stage that hangs does so for longer."""
STAGES = ["first", "second-stage", "third"]
FAKES = {"first": "first", "second-stage": "second", "third": "third"}


class Fake:
    """Runs fake_round.py in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.runs, self.starts = folder / "runs", folder / "starts"

    def launch(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.pipelines.fake_round", str(self.runs), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "FAKE_STARTS": str(self.starts),
                **environment,
            },
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.launch(*arguments, **environment)
        output, _ = process.communicate(timeout=WATCHDOG)
        return process.returncode, output

    @property
    def started(self) -> list[str]:
        return [line.split()[0] for line in self.starts.read_text().splitlines()]

    @property
    def last_pid(self) -> int:
        return int(self.starts.read_text().split()[-1])

    @property
    def folder(self) -> Path:
        (folder,) = self.runs.iterdir()
        return folder

    def wait_for(self, stage: str) -> None:
        """Waits until the stage has started, and is in the middle of its work."""
        deadline = time.monotonic() + WATCHDOG
        while not self.starts.exists() or self.started[-1:] != [stage]:
            assert time.monotonic() < deadline, f"{stage} did not start"
            time.sleep(0.02)
        time.sleep(0.1)

    @property
    def total(self) -> str:
        return (self.folder / "stages" / "third" / "total").read_text()


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_runs_to_the_end_with_a_folder_a_stage(fake: Fake) -> None:
    code, output = fake.run()
    assert code == 0, output
    assert fake.started == ["first", "second", "third"]
    assert fake.total == "15"
    assert sorted(path.name for path in (fake.folder / "stages").iterdir()) == STAGES
    # The pipeline's own id is the run's, on every attempt.
    assert (fake.folder / "stages" / "first" / "numbers.round").read_text() == fake.folder.name
    for number, stage in enumerate(STAGES, 1):
        assert f"[ {number}/3] {stage}" in output
    assert "4/4 steps" not in output.splitlines()[0]
    for stage in STAGES:  # what a plan is compared with
        done = json.loads((fake.folder / "stages" / stage / "done.json").read_text())
        assert 0 < done["cpu_seconds"] < 60
        assert done["peak_bytes"] > 1e6
        work = fake.folder / "stages" / stage / "work"
        assert (work / "attempts").exists()
        assert not (work / "part" / "checkpoints").exists(), "a finished stage keeps no checkpoints"


def test_a_failed_stage_keeps_its_checkpoints(fake: Fake) -> None:
    code, _ = fake.run(FAKE_FAIL="second")
    assert code == 1
    assert (fake.folder / "stages" / "second-stage" / "work" / "part" / "checkpoints" / "step-1").exists()


def test_a_finished_run_is_only_replayed(fake: Fake) -> None:
    fake.run()
    code, output = fake.run(fake.folder.name)
    assert code == 0
    assert fake.started == ["first", "second", "third"]
    assert output.count("from an earlier attempt") == 3


@pytest.mark.parametrize("stage", STAGES)
def test_resumes_after_kill_9_of_the_command(fake: Fake, stage: str) -> None:
    process = fake.launch(FAKE_HANG=FAKES[stage])
    fake.wait_for(FAKES[stage])
    orphan = fake.last_pid
    process.kill()
    process.communicate()
    deadline = time.monotonic() + WATCHDOG
    while _alive(orphan):
        assert time.monotonic() < deadline, "the stage lives on after its run was killed"
        time.sleep(0.01)
    code, output = fake.run(fake.folder.name)
    assert code == 0, output
    assert fake.total == "15"
    finished = STAGES.index(stage)
    assert (
        fake.started == ["first", "second", "third"][: finished + 1] + ["first", "second", "third"][finished:]
    )
    # The stage that was killed found its work folder as it left it.
    assert (fake.folder / "stages" / stage / "work" / "attempts").read_text() == "xx"


def test_kill_9_leaves_nothing_outside_the_run(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    process = fake.launch(FAKE_HANG="second", TMPDIR=str(tmp_path / "temporary"))
    fake.wait_for("second")
    process.kill()
    process.communicate()
    assert not list((tmp_path / "temporary").iterdir())


def test_kill_9_of_a_stage_names_it_and_the_run_goes_on(fake: Fake) -> None:
    process = fake.launch(FAKE_HANG="second")
    fake.wait_for("second")
    os.kill(fake.last_pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=WATCHDOG)
    assert process.returncode == 1
    assert "FAILED second-stage -9 None" in output
    code, output = fake.run(fake.folder.name)
    assert (code, fake.total) == (0, "15")


def test_failure_names_the_stage_and_keeps_its_log(fake: Fake) -> None:
    code, output = fake.run(FAKE_FAIL="second")
    assert code == 1
    assert "FAILED second-stage 1 None" in output
    log = (fake.folder / "stages" / "second-stage" / "log.txt").read_text()
    assert "a line before the end" in log
    assert "ValueError: the fake broke" in log
    assert fake.started == ["first", "second"]
    code, _ = fake.run(fake.folder.name)
    assert code == 0
    assert fake.started == ["first", "second", "second", "third"]


def test_a_users_mistake_is_one_line(fake: Fake) -> None:
    code, output = fake.run(FAKE_USER_ERROR="third")
    assert code == 1
    assert "FAILED third 2 numbers.jsonl, row 3, field 'answer': expected a number" in output


def test_a_stage_is_repeated_when_its_output_is_gone(fake: Fake) -> None:
    fake.run()
    (fake.folder / "stages" / "second-stage" / "doubled").unlink()
    code, _ = fake.run(fake.folder.name)
    assert code == 0
    assert fake.started == ["first", "second", "third", "second"]


def test_a_changed_stage_is_repeated_with_all_that_follows_and_without_its_old_work(fake: Fake) -> None:
    fake.run()
    marker = fake.folder / "stages" / "second-stage" / "done.json"
    done = json.loads(marker.read_text())
    marker.write_text(json.dumps({**done, "key": "of other code"}))
    (marker.parent / "begun.json").write_text(json.dumps({"key": "of other code"}))
    code, _ = fake.run(fake.folder.name)
    assert code == 0
    # Its new result has the key that `third` was made from: nothing else is repeated.
    assert fake.started == ["first", "second", "third", "second"]
    assert (marker.parent / "work" / "attempts").read_text() == "x"


@pytest.mark.parametrize("content", ["", "garbage", "[]", "{}", '{"key": 3}', None])
def test_a_damaged_mark_counts_as_none(fake: Fake, content: str | None) -> None:
    fake.run()
    for name in ("done.json", "begun.json"):
        mark = fake.folder / "stages" / "second-stage" / name
        if content is not None:
            mark.write_text(content)
            continue
        mark.unlink()
        mark.mkdir()
    code, output = fake.run(fake.folder.name)
    assert (code, fake.total) == (0, "15"), output
    assert fake.started == ["first", "second", "third", "second"]


def test_a_full_disk_is_told_though_nothing_can_be_written(fake: Fake) -> None:
    code, output = fake.run(FAKE_FULL_DISK="second")
    assert code == 1
    folder = fake.folder / "stages" / "second-stage"
    assert f"FAILED second-stage 2 {folder}: [Errno 28] No space left on device; free some space" in output


def test_what_a_stage_leaves_running_ends_with_it(fake: Fake) -> None:
    code, _ = fake.run(FAKE_LEAVES_CHILD="first")
    assert code == 0
    assert not _alive(int((fake.folder / "stages" / "first" / "work" / "child").read_text()))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_stage_too(fake: Fake, sign: signal.Signals) -> None:
    process = fake.launch(FAKE_HANG="second")
    fake.wait_for("second")
    process.send_signal(sign)
    process.communicate(timeout=WATCHDOG)
    assert process.returncode == 130
    assert not _alive(fake.last_pid)


def test_a_second_process_is_refused_while_the_first_works(fake: Fake) -> None:
    process = fake.launch(FAKE_HANG="second")
    try:
        fake.wait_for("second")
        code, output = fake.run(fake.folder.name)
        assert code != 0
        assert f"run {fake.folder.name} is in use by another process" in output
        assert fake.started == ["first", "second"]
    finally:
        process.terminate()
        process.communicate(timeout=WATCHDOG)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
