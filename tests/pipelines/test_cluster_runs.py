"""rounds and cancel as a user calls them, against fakes of KFP and Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pipelines.cluster.connection import Access, connect
from pipelines.cluster.rounds import run_lines
from tests.cluster_recordings import recorded_answer
from tests.fake_cluster import FakeCluster
from tests.pipelines.cluster_calls import Run, done, refused

pytestmark = pytest.mark.slow


@pytest.fixture
def lost(fake: FakeCluster, call: Run) -> str:
    """A run whose recurring run was deleted while it ran, by KFP's page: nobody said ORPHAN."""
    done(call("schedule", "--cron", "0 2 * * *"))
    (job,) = fake.kfp.recurring
    run = fake.kfp.fire(job)["run_id"]
    fake.kfp._delete_recurring(job, None)
    assert fake.kfp.workflow(run) is None
    return str(run)


def test_kfp_shows_such_a_run_as_recorded(fake: FakeCluster, lost: str) -> None:
    recorded, shown = recorded_answer("run_of_deleted_schedule.json"), fake.kfp.runs[lost]
    for key in ("state", "finished_at"):
        assert shown[key] == recorded[key]
    assert recorded["recurring_run_id"]
    assert shown["recurring_run_id"] not in fake.kfp.recurring
    for run in (recorded, shown):
        assert re.fullmatch(r"mathloop[a-z-]+xczmg-1-\d+", run["display_name"])


def _lines(host: str | None) -> dict[str, str]:
    """Id of a run → its state, as `rounds` prints it; and notes by their first word."""
    lines = list(run_lines(connect(Access(host)), 20))
    return {line.split()[-1]: line.split()[2] for line in lines if line[:2] == "20"} | {
        line.partition(":")[0]: line for line in lines if line[:2] != "20"
    }


def test_a_run_without_a_workflow_is_told_from_one_that_goes_on(
    fake: FakeCluster, call: Run, lost: str, use_kubeconfig: Callable[[FakeCluster], None]
) -> None:
    done(call("submit"))
    running = list(fake.kfp.runs)[-1]
    use_kubeconfig(fake)
    # Through the kubeconfig, and by URL with a kubeconfig of the same cluster.
    for host in (None, fake.url):
        shown = _lines(host)
        assert (shown[lost], shown[running]) == ("LOST", "PENDING")
        assert "its workflow was deleted, so it has ended" in shown["LOST"]


def test_without_kubernetes_a_run_of_a_deleted_schedule_is_in_doubt(
    fake: FakeCluster, call: Run, lost: str, use_kubeconfig: Callable[[FakeCluster], None]
) -> None:
    done(call("schedule", "--cron", "0 3 * * *"))
    (job,) = fake.kfp.recurring
    running = fake.kfp.fire(job)["run_id"]
    fake.denied.add(("list", "workflows"))
    use_kubeconfig(fake)
    shown = _lines(fake.url)
    assert (shown[lost], shown[running]) == ("UNKNOWN", "RUNNING")
    assert "kubectl get workflows -n kubeflow -l pipeline/runid=RUN" in shown["UNKNOWN"]


def test_another_clusters_kubeconfig_makes_no_run_lost(
    fake: FakeCluster, call: Run, use_kubeconfig: Callable[[FakeCluster], None]
) -> None:
    done(call("submit"))
    (run,) = fake.kfp.runs
    other = FakeCluster()
    other.crds["workflows.argoproj.io"] = "v1alpha1"
    use_kubeconfig(other)
    assert _lines(fake.url)[run] == "PENDING"
    other.close()


def test_cancel_by_the_beginning_of_an_id(fake: FakeCluster, call: Run) -> None:
    assert "there is no run yet; start one with: mathloop submit" in refused(call("cancel", "latest"))
    done(call("submit"))
    done(call("submit"))
    first, second = fake.kfp.runs
    assert f"run {first} (" in done(call("cancel", first[:8]))
    assert f"run {second} (" in done(call("cancel", "latest"))
    assert {row["state"] for row in fake.kfp.runs.values()} == {"CANCELING"}
    workflow = fake.kfp.workflow(first)
    assert workflow is not None
    assert workflow["spec"]["activeDeadlineSeconds"] == 0
    fake.kfp.runs[first]["state"] = "CANCELED"
    assert f"run {first} has already ended: CANCELED" in refused(call("cancel", first))
    assert "no run 'nope' among the newest 100" in refused(call("cancel", "nope"))
    absent = "00000000-0000-0000-0000-000000000000"
    assert f"has no run {absent}" in refused(call("cancel", absent))
    fake.kfp.runs = {f"same-{number}": {**row, "run_id": f"same-{number}"}
                     for number, row in enumerate(fake.kfp.runs.values())}  # fmt: skip
    assert "2 runs begin with 'same'" in refused(call("cancel", "same"))


def test_runs_of_the_form_are_listed_and_other_peoples_are_not(fake: FakeCluster, call: Run) -> None:
    """The form in KFP's UI starts runs in the experiment Default, as everybody else's."""
    done(call("submit"))
    (ours,) = fake.kfp.runs.values()
    fake.kfp.experiments["default"] = {"experiment_id": "default", "display_name": "Default"}
    reference = ours["pipeline_version_reference"]
    form = fake.kfp._start({**ours, "experiment_id": "default", "display_name": "Run of laptop"}, "RUNNING")
    fake.kfp.pipelines["x"] = {"pipeline_id": "x", "display_name": "data-science", "description": "Ours."}
    theirs = fake.kfp._start(
        {**ours, "experiment_id": "default", "pipeline_version_reference": {**reference, "pipeline_id": "x"}},
        "RUNNING",
    )
    archived = fake.kfp._start({**ours, "storage_state": "ARCHIVED"}, "RUNNING")
    shown = _lines(fake.url)
    assert set(shown) == {ours["run_id"], form["run_id"]}
    assert f"run {form['run_id']} (" in done(call("cancel", "latest"))
    assert {theirs["state"], archived["state"]} == {"RUNNING"}


def test_a_run_without_a_workflow_is_not_canceled(fake: FakeCluster, call: Run, lost: str) -> None:
    """KFP would note CANCELING, for ever."""
    assert "has no workflow any more, so it has ended" in refused(call("cancel", lost[:8]))
    assert fake.kfp.runs[lost]["state"] == "RUNNING"
