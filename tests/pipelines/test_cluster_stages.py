"""A run's stages, as read from workflows in the form that KFP and Argo give them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mathloop.errors import BadConfig
from pipelines.cluster.logs import choose, own_lines
from pipelines.cluster.stages import stages_of, stages_of_tasks
from tests.argo_workflows import ArgoWorkflow
from tests.cluster_recordings import recorded_answer


@pytest.mark.parametrize("compressed", [False, True])
def test_nested_stages_have_paths_states_and_their_latest_pod(compressed: bool) -> None:
    """A nested pipeline may have the name of a stage in it."""
    workflow = ArgoWorkflow()
    (preflight,) = workflow.stage("preflight", "Succeeded")
    problems = workflow.group("problems")
    workflow.skip("problems", within=problems)
    (_, second) = workflow.stage("cot", "Error", "Running", within=problems)
    inner = workflow.group("inner", within=problems)
    (waiting,) = workflow.stage(
        "tir", "Pending", within=inner, message="Unschedulable: 0/1 nodes are available"
    )
    (starting,) = workflow.stage("sft", "Pending", message="PodInitializing")
    workflow.omit("gate")
    stages = stages_of(workflow.manifest(compressed=compressed))
    assert [(stage.path, stage.state, stage.pod) for stage in stages] == [
        ("preflight", "SUCCEEDED", preflight),
        ("problems/problems", "CACHED", None),
        ("problems/cot", "RUNNING", second),
        ("problems/inner/tir", "PENDING", waiting),
        ("sft", "PENDING", starting),
    ]
    assert [stage.message for stage in stages][3:] == ["Unschedulable: 0/1 nodes are available", ""]
    assert preflight.startswith("round-x7k2p-retry-system-container-impl-")


def test_a_stage_between_two_attempts_runs_and_one_that_failed_says_why() -> None:
    workflow = ArgoWorkflow()
    workflow.stage("cot", "Failed", above="Running")
    workflow.stage("tir", "Failed", message="main: Error (exit code 1)")
    cot, tir = stages_of(workflow.manifest())
    assert (cot.state, tir.state, tir.message) == ("RUNNING", "FAILED", "main: Error (exit code 1)")


def test_a_driver_that_is_stuck_is_its_stages_state_until_the_stage_begins() -> None:
    workflow = ArgoWorkflow()
    workflow.driver("cot", "Pending", "Unschedulable: 0/3 nodes are available: 3 had untolerated taint")
    workflow.driver("tir", "Failed", "main: Error (exit code 1)")
    workflow.driver("sft", "Pending", "ContainerCreating")
    cot, tir = stages_of(workflow.manifest())
    assert (cot.path, cot.state) == ("cot", "PENDING")
    assert (tir.path, tir.state) == ("tir", "FAILED")
    assert "untolerated taint" in cot.message


def test_the_workflows_of_these_tests_are_asrecorded_answer() -> None:
    recorded = recorded_answer("workflow_failed_not_retried.json")["status"]["nodes"]
    workflow = ArgoWorkflow("pretraining-ppr5f")
    workflow.stage("preflight-base", "Failed", message="main: Error (exit code 1)")
    for name in ("write-corpus", "launch-training", "publish-base"):
        workflow.omit(name)
    assert {(node["displayName"], node["type"]) for node in workflow.nodes.values()} == {
        (node["displayName"], node["type"]) for node in recorded
    }


def test_without_a_workflow_states_come_from_the_recorded_tasks() -> None:
    recorded = recorded_answer("run_failed_in_preflight.json")["task_details"]
    tasks = [
        SimpleNamespace(
            display_name=task["display_name"], state=task["state"], start_time=None, end_time=None
        )
        for task in recorded
    ]
    (stage,) = stages_of_tasks(tasks)
    assert (stage.path, stage.state, stage.pod) == ("preflight-base", "FAILED", None)


def test_the_stage_of_a_log_is_the_failed_one_or_the_last_or_the_named_one() -> None:
    workflow = ArgoWorkflow()
    group = workflow.group("problems")
    workflow.stage("problems", "Succeeded", within=group)
    workflow.stage("cot", "Failed", within=group)
    workflow.stage("sft", "Succeeded")
    stages = stages_of(workflow.manifest())
    assert choose(stages, None).path == "problems/cot"
    assert choose(stages, "sft").path == "sft"
    assert choose(stages, "problems/problems").path == "problems/problems"
    assert choose(stages[:1], None).path == "problems/problems"
    with pytest.raises(BadConfig, match=r"no stage 'stf', did you mean 'sft'; begun so far: problems/prob"):
        choose(stages, "stf")
    with pytest.raises(BadConfig, match="no stage of this run has begun yet"):
        choose([], None)
    workflow.stage("sft", "Running", within=group)
    with pytest.raises(BadConfig, match="several stages 'sft': sft, problems/sft"):
        choose(stages_of(workflow.manifest()), "sft")


def test_lines_of_kfps_launcher_are_not_the_stages_own() -> None:
    log = """I1201 06:46:09.100000       7 launcher_v2.go:194] starting
[KFP Executor 2026-12-01 06:46:10,123 INFO]: Looking for component `cot`
{"step": 1}
I1201 06:46:11.200000       7 launcher_v2.go:1230] ExecutorOutput: {
  "parameterValues": {
  }
}
kept 12 of 20 responses
F1201 06:46:11.300000       7 main.go:52] failed to execute component: exit status 2
launcher info:
executorInput={
  "inputs": {}
}
"""
    assert list(own_lines(log)) == ['{"step": 1}', "kept 12 of 20 responses"]
