"""Runs on KFP: pretraining, a round with `--serve`, a changed schedule, cancel, a deleted launcher."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.cluster.real_cluster import CPU, NAMESPACE, RUNS, RealCluster, until

pytestmark = pytest.mark.timeout(3600)

TINY = ("--profile=tiny",)
HOUR = 3000.0
"""Seconds; a limit against hangs."""


def _in(store_url: str) -> tuple[str, ...]:
    return (*TINY, f"--set=store={store_url}")


def _run_id(done: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"runs/details/([0-9a-f-]{36})", done.stdout)
    assert found, done.stdout + done.stderr
    return found[1]


def _followed(cluster: RealCluster, *arguments: str) -> str:
    """Submits a run and follows it to its end, which has to be a good one; returns its id."""
    done = cluster.mathloop("submit", *arguments, "--follow", seconds=HOUR)
    assert done.returncode == 0, done.stdout + done.stderr
    return _run_id(done)


def _workflow(cluster: RealCluster, run_id: str) -> dict[str, str] | None:
    """Name and phase of the run's Argo workflow; None where it has none."""
    for one in cluster.items("workflows.argoproj.io", RUNS, f"pipeline/runid={run_id}"):
        return {"name": one["metadata"]["name"], "phase": (one.get("status") or {}).get("phase", "")}
    return None


def _champions(cluster: RealCluster, store_url: str) -> int:
    from mathloop.registry import Registry
    from mathloop.storage import open_store

    return len(Registry(open_store(store_url)).history())


def test_pretraining_publishes_champion_0(kfp: RealCluster, store_url: str) -> None:
    """`submit --pipeline pretraining --follow` ends with exit code 0 and a champion in the store.

    Run: not at all.
    """
    _followed(kfp, "--pipeline=pretraining", *_in(store_url))
    assert _champions(kfp, store_url) == 1
    done = kfp.mathloop("rounds", f"--store={store_url}")
    assert done.returncode == 0, done.stderr
    assert "SUCCEEDED" in done.stdout


def test_a_round_with_serve(kfp: RealCluster, store_url: str) -> None:
    """A whole round; what it promotes answers at the stable Service, and if nothing, the step says so.

    Run: not at all.
    """
    _followed(kfp, "--pipeline=pretraining", *_in(store_url))
    run = _followed(kfp, "--serve", *_in(store_url), *CPU)
    if _champions(kfp, store_url) == 1:
        done = kfp.mathloop("logs", run, "deployment")
        assert "nothing to serve" in done.stdout, done.stdout + done.stderr
    else:
        done = kfp.mathloop("ask", "What is 3 plus 4?", "--cluster")
        assert done.returncode == 0, done.stderr


def test_a_changed_schedule_leaves_its_running_round_alone(kfp: RealCluster, store_url: str) -> None:
    """A schedule of every minute is changed, then deleted, while its run is in progress: the run ends well.

    Run: not at all.
    """
    arguments = ("--pipeline=pretraining", *_in(store_url))
    known = _scheduled(kfp)
    made = kfp.mathloop("schedule", "--cron=* * * * *", *arguments)
    assert made.returncode == 0, made.stderr
    try:
        name = until("the schedule's first run", 300, lambda: next(iter(_scheduled(kfp) - known), None))
        changed = kfp.mathloop("schedule", "--cron=0 2 * * *", *arguments)
        assert changed.returncode == 0, changed.stderr
    finally:
        deleted = kfp.mathloop("schedule", "--delete", *arguments)
    assert deleted.returncode == 0, deleted.stderr
    until("its workflow succeeds", HOUR, lambda: _phase(kfp, name) == "Succeeded")


def _scheduled(cluster: RealCluster) -> set[str]:
    """Names of the workflows that recurring runs started."""
    found = cluster.items(
        "workflows.argoproj.io", RUNS, "scheduledworkflows.kubeflow.org/scheduledWorkflowName"
    )
    return {one["metadata"]["name"] for one in found}


def _phase(cluster: RealCluster, name: str) -> str:
    one = json.loads(cluster.kubectl("get", "workflows.argoproj.io", name, "-n", RUNS, "-o", "json"))
    phase = str((one.get("status") or {}).get("phase", ""))
    assert phase not in ("Failed", "Error"), one["status"].get("message")
    return phase


def test_cancel_ends_a_run_and_its_train_job(kfp: RealCluster, store_url: str) -> None:
    """`cancel RUN` while a two-node TrainJob runs: the run ends, and the TrainJob is gone.

    Run: not at all.
    """
    run = _train_on_two_nodes(kfp, store_url)
    done = kfp.mathloop("cancel", run)
    assert done.returncode == 0, done.stderr
    until("the TrainJob is deleted", 300, lambda: not kfp.items("trainjobs.trainer.kubeflow.org"))
    until(
        "the workflow ends",
        300,
        lambda: (_workflow(kfp, run) or {}).get("phase") in (None, "Failed", "Succeeded"),
    )


def test_a_deleted_launcher_is_replaced(kfp: RealCluster, store_url: str) -> None:
    """The launcher's pod is deleted while its two-node TrainJob runs: the run ends well all the same.

    Run: not at all.
    """
    run = _train_on_two_nodes(kfp, store_url)
    workflow = _workflow(kfp, run)
    assert workflow is not None
    pods = kfp.items("pods", RUNS, f"workflows.argoproj.io/workflow={workflow['name']}")
    launchers = [one["metadata"]["name"] for one in pods if one["status"]["phase"] == "Running"]
    kfp.kubectl("delete", "pod", *launchers, "-n", RUNS, "--grace-period=1")
    until("its workflow succeeds", HOUR, lambda: _phase(kfp, workflow["name"]) == "Succeeded")
    assert _champions(kfp, store_url) == 1


def _train_on_two_nodes(cluster: RealCluster, store_url: str) -> str:
    """Starts a pretraining on two nodes; returns its run's id when its TrainJob has pods."""
    arguments = ("--pipeline=pretraining", *_in(store_url), "--set=pools.trainer.nodes=2")
    done = cluster.mathloop("submit", *arguments)
    assert done.returncode == 0, done.stderr
    until("two nodes train", 900, lambda: len(_nodes(cluster)) == 2)
    return _run_id(done)


def _nodes(cluster: RealCluster) -> list[str]:
    pods = cluster.items("pods", NAMESPACE, "jobset.sigs.k8s.io/jobset-name")
    return [one["metadata"]["name"] for one in pods if one["status"]["phase"] == "Running"]
