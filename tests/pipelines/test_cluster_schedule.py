"""schedule as a user calls it, against fakes of KFP and Kubernetes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake_cluster import FakeCluster
from tests.pipelines.cluster_calls import Run, done, refused

pytestmark = pytest.mark.slow


def test_schedule_called_often_is_one_job_of_the_newest_version(fake: FakeCluster, call: Run) -> None:
    for _ in range(3):
        shown = done(call("schedule", "--cron", "0 2 * * *", "--profile", "gpu"))
    assert "unchanged" in shown
    (job,) = fake.kfp.recurring.values()
    assert job["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * *"}}
    assert (job["max_concurrency"], job["no_catchup"]) == ("1", True)
    # No version: every run takes the newest.
    assert set(job["pipeline_version_reference"]) == {"pipeline_id"}
    # Six fields are taken as they are; what changes replaces the job.
    # Nobody fixed a seed: every run draws one of its own.
    assert "each with its own seed" in shown
    assert job["runtime_config"]["parameters"]["seed"] == -1
    assert "updated" in done(call("schedule", "--cron", "30 0 3 * * *", "--profile", "gpu"))
    (changed,) = fake.kfp.recurring.values()
    assert changed["recurring_run_id"] != job["recurring_run_id"]
    assert changed["trigger"]["cron_schedule"]["cron"] == "30 0 3 * * *"
    assert "improvement-round-gpu  30 0 3 * * *" in done(call("schedule", "--list"))
    # Another profile's schedule is another.
    done(call("schedule", "--cron", "0 2 * * *", "--profile", "laptop", "--seed", "3", "--serve"))
    assert len(fake.kfp.recurring) == 2
    assert "deleted" in done(call("schedule", "--delete", "--profile", "gpu"))
    (left,) = fake.kfp.recurring.values()
    parameters = left["runtime_config"]["parameters"]
    assert (parameters["seed"], parameters["serve"]) == (3, "yes")
    assert "no schedule 'improvement-round-gpu'" in refused(call("schedule", "--delete", "--profile", "gpu"))


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--seed", "0"], 0),
        (["--set", "seed=5"], 5),
        (["--profile", "own.yaml"], 9),
        (["--pipeline", "model-import"], None),
    ],
)
def test_a_schedule_keeps_a_seed_that_somebody_fixed(
    fake: FakeCluster, call: Run, tmp_path: Path, arguments: list[str], given: int | None
) -> None:
    (tmp_path / "own.yaml").write_text("description: a profile with a seed\nseed: 9\n")
    shown = done(call("schedule", "--cron", "0 2 * * *", *arguments))
    assert "its own seed" not in shown
    (job,) = fake.kfp.recurring.values()
    assert job["runtime_config"]["parameters"].get("seed") == given


def test_a_schedule_that_is_there_twice_becomes_one(fake: FakeCluster, call: Run) -> None:
    done(call("schedule", "--cron", "0 2 * * *"))
    (job,) = fake.kfp.recurring.values()
    fake.kfp.recurring["again"] = {**job, "recurring_run_id": "again"}
    assert "unchanged" in done(call("schedule", "--cron", "0 2 * * *"))
    assert len(fake.kfp.recurring) == 1


def test_a_run_in_progress_survives_a_change_and_a_deletion_of_its_schedule(
    fake: FakeCluster, call: Run
) -> None:
    done(call("schedule", "--cron", "0 2 * * *"))
    (job,) = fake.kfp.recurring
    run = fake.kfp.fire(job)["run_id"]
    shown = done(call("schedule", "--cron", "0 3 * * *"))
    assert f"run {run} continues; the new schedule does not wait for it" in shown
    assert f"stop it with: mathloop cancel {run[:8]}" in shown
    assert fake.kfp.workflow(run) is not None
    # Its schedule is another one by now, and it still belongs to it.
    shown = done(call("schedule", "--delete"))
    assert "deleted: it starts no more runs" in shown
    assert f"run {run} continues; stop it" in shown
    assert fake.kfp.workflow(run) is not None
    assert fake.kfp.runs[run]["state"] == "RUNNING"


def test_runs_in_progress_are_canceled_on_request_and_others_are_not(fake: FakeCluster, call: Run) -> None:
    done(call("schedule", "--cron", "0 2 * * *"))
    done(call("schedule", "--cron", "0 2 * * *", "--profile", "gpu"))
    laptop, gpu = fake.kfp.recurring
    ended, run, other = (fake.kfp.fire(job)["run_id"] for job in (laptop, laptop, gpu))
    fake.kfp.runs[ended]["state"] = "SUCCEEDED"
    done(call("submit"))
    by_hand = list(fake.kfp.runs)[-1]
    shown = done(call("schedule", "--cron", "0 3 * * *", "--cancel-running"))
    assert [line for line in shown.splitlines() if "run" in line.split()[0]] == [
        f"run {run} is being canceled"
    ]
    states = {name: row["state"] for name, row in fake.kfp.runs.items()}
    assert states == {ended: "SUCCEEDED", run: "CANCELING", other: "RUNNING", by_hand: "PENDING"}
    assert f"run {other} is being canceled" in done(
        call("schedule", "--delete", "--profile", "gpu", "--cancel-running")
    )
    # The workflow is there until the pods have ended, so that their TrainJobs are deleted.
    assert fake.kfp.workflow(other) is not None
    assert "goes with --cron or --delete" in refused(call("schedule", "--list", "--cancel-running"))


def test_a_run_of_a_recurring_run_that_somebody_made_in_kfps_ui_is_left_alone(
    fake: FakeCluster, call: Run
) -> None:
    done(call("schedule", "--cron", "0 2 * * *"))
    (job,) = fake.kfp.recurring.values()
    fake.kfp.recurring["by-hand"] = {**job, "recurring_run_id": "by-hand", "display_name": "mine"}
    run = fake.kfp.fire("by-hand")["run_id"]
    shown = done(call("schedule", "--delete", "--cancel-running"))
    assert run not in shown
    assert fake.kfp.runs[run]["state"] == "RUNNING"


def test_a_change_that_kfp_refuses_leaves_the_schedule_as_it_was(fake: FakeCluster, call: Run) -> None:
    done(call("schedule", "--cron", "0 2 * * *"))
    before = dict(fake.kfp.recurring)
    fake.kfp.refused.add(("POST", "recurringruns"))
    assert "refused to create a recurring run (HTTP 500)" in refused(call("schedule", "--cron", "0 3 * * *"))
    assert fake.kfp.recurring == before
