"""A fake of Kubeflow Pipelines' API, in its HTTP form, for the real `kfp` client.

It knows what our commands use, and is as strict as the real one where that matters: a run's parameters must
be those of the version's IR, of its types and literals, and all that have no default must be given. What
happens to runs was seen on KFP 2.17.0 (../shared/data/cluster) or is what its source says:

- a recurring run owns its runs' workflows: deleting it deletes them, unless the policy is ORPHAN, and KFP
  shows the runs as before, for ever;
- terminating a run whose workflow is gone is refused with 500, after KFP has noted CANCELING;
- logs and the workflow of a run come from the API of before (v1alpha1, v1beta1).
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from tests.fake_cluster import FakeCluster, PlainRefusal, Refusal

TYPES = {"STRING": str, "NUMBER_INTEGER": (int, float), "BOOLEAN": bool, "STRUCT": dict, "LIST": list}
NEVER = "1970-01-01T00:00:00Z"
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")

Row = dict[str, Any]


@dataclass
class FakeKfp:
    """Pipelines, their versions, experiments, runs and recurring runs, each by its id."""

    cluster: FakeCluster
    """It holds the runs' workflows."""
    multi_user: bool = False
    pipelines: dict[str, Row] = field(default_factory=dict)
    versions: dict[str, Row] = field(default_factory=dict)
    experiments: dict[str, Row] = field(default_factory=dict)
    runs: dict[str, Row] = field(default_factory=dict)
    recurring: dict[str, Row] = field(default_factory=dict)
    manifests: dict[str, Row] = field(default_factory=dict)
    """Run → its Workflow, as the persistence agent reported it last."""
    logs: dict[str, str] = field(default_factory=dict)
    """Pod → its log."""
    ui_only: bool = False
    """Whether KFP is reached through its UI's server, which does not pass on v1alpha1."""
    status: int = 200
    """Of every answer but health's."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    """(method, path below v2beta1) that fail with 500."""

    def handle(self, method: str, path: str, query: dict[str, str], raw: bytes, headers: Any) -> Any:
        if path == "/apis/v2beta1/healthz":
            return {"multi_user": self.multi_user}
        if self.status != 200:
            raise Refusal(self.status, "Refused", "token-that-no-message-may-hold")
        if path == "/k8s/pod/logs":
            if query["podname"] not in self.logs:
                raise Refusal(500, "Error", "Could not get main container logs: Error: pod not found")
            return self.logs[query["podname"]].encode()
        if path.startswith("/apis/v1alpha1") and self.ui_only:
            raise PlainRefusal
        if found := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
            return self._log(found[2])
        if found := re.fullmatch(r"/apis/v1beta1/runs/([^/]+)", path):
            manifest = self.manifests.get(self._run(found[1])["run_id"])
            runtime = {} if manifest is None else {"workflow_manifest": json.dumps(manifest)}
            return {"run": {"id": found[1]}, "pipeline_runtime": runtime}
        rest = path.removeprefix("/apis/v2beta1/")
        if (method, rest) in self.refused:
            raise Refusal(500, "Internal", "Internal Server Error")
        if rest == "pipelines/upload_version":
            return self._upload(query, raw, headers["Content-Type"])
        body = json.loads(raw) if raw else {}
        if found := re.fullmatch(r"pipelines/([^/]+)/versions", rest):
            rows = [row for row in self.versions.values() if row["pipeline_id"] == found[1]]
            return _page("pipeline_versions", rows, query)
        if rest == "pipelines":
            return self._kind(method, self.pipelines, "pipelines", "pipeline_id", query, body)
        if rest == "experiments":
            return self._kind(method, self.experiments, "experiments", "experiment_id", query, body)
        if rest.startswith("runs"):
            return self._runs(method, rest, query, body)
        if rest == "recurringruns":
            if method == "POST":
                self._check(body)
                assert body["mode"] == "ENABLE"
                body["status"] = "ENABLED"
            return self._kind(method, self.recurring, "recurringRuns", "recurring_run_id", query, body)
        if method == "DELETE" and (found := re.fullmatch(r"recurringruns/([^/]+)", rest)):
            return self._delete_recurring(found[1], query.get("propagation_policy"))
        raise Refusal(404, "NotFound", rest)

    def fire(self, recurring_run_id: str) -> Row:
        """Starts a run of a recurring run, as its controller does."""
        job = self.recurring[recurring_run_id]
        # The run is named after its workflow: the name without what Kubernetes refuses, cut, and numbers.
        name = f"{re.sub('[^a-z0-9-]', '', job['display_name'])[:25]}xczmg-1-{len(self.runs)}"
        body = {
            "display_name": name,
            "experiment_id": job["experiment_id"],
            "recurring_run_id": recurring_run_id,
            "pipeline_version_reference": job["pipeline_version_reference"],
            "runtime_config": job["runtime_config"],
        }
        return self._start(body, "RUNNING")

    def workflow(self, run_id: str) -> Row | None:
        """The Workflow of a run in Kubernetes."""
        for key, found in self.cluster.objects.items():
            if key[0] == "workflows" and found["metadata"]["labels"]["pipeline/runid"] == run_id:
                return found
        return None

    def _runs(self, method: str, rest: str, query: dict[str, str], body: Row) -> Any:
        if rest == "runs" and method == "POST":
            self._check(body)
            return self._start(body, "PENDING")
        if rest == "runs":
            return self._kind(method, self.runs, "runs", "run_id", query, body)
        run_id, _, verb = rest.removeprefix("runs/").partition(":")
        run = self._run(run_id)
        if verb != "terminate":
            return run
        if run["state"] in (*ENDED, "CANCELING"):
            raise Refusal(400, "InvalidArgument", f"Failed to terminate a run {run_id}. Row not found")
        run["state"] = "CANCELING"
        workflow = self.workflow(run_id)
        if workflow is None:
            raise Refusal(500, "Internal", "Failed to terminate workflow due to patching error: not found")
        workflow["spec"]["activeDeadlineSeconds"] = 0
        return {}

    def _run(self, run_id: str) -> Row:
        if run_id not in self.runs:
            raise Refusal(404, "NotFound", f"Run {run_id} not found")
        return self.runs[run_id]

    def _start(self, body: Row, state: str) -> Row:
        run_id = str(uuid.uuid4())
        self.cluster.crds["workflows.argoproj.io"] = "v1alpha1"
        namespace = self.experiments[body["experiment_id"]].get("namespace") or "kubeflow"
        labels = {"pipeline/runid": run_id}
        metadata = {"name": f"round-{run_id[:5]}", "namespace": namespace, "labels": labels}
        self.cluster.put("workflows", {"kind": "Workflow", "metadata": metadata, "spec": {}})
        # The real clock has seconds; runs of a test start in less.
        created = datetime(2026, 12, 1, tzinfo=UTC) + timedelta(minutes=len(self.runs))
        times = {"created_at": created.isoformat(), "finished_at": NEVER}
        self.runs[run_id] = {**body, **times, "run_id": run_id, "state": state}
        return self.runs[run_id]

    def _delete_recurring(self, recurring_run_id: str, policy: str | None) -> Row:
        if self.recurring.pop(recurring_run_id, None) is None:
            raise Refusal(404, "NotFound", f"Recurring run {recurring_run_id} not found")
        if policy != "ORPHAN":
            for run in self.runs.values():
                owned = self.workflow(run["run_id"])
                if run.get("recurring_run_id") == recurring_run_id and owned is not None:
                    named = owned["metadata"]
                    del self.cluster.objects[("workflows", named["namespace"], named["name"])]
        return {}

    def _log(self, pod: str) -> bytes:
        if pod in self.logs:
            return self.logs[pod].encode()
        # The status is written before the log is asked for: an error has 200 as well.
        message = f'Failed to read logs from pod {pod}: pods "{pod}" not found'
        return json.dumps({"error_message": message, "error_details": message}).encode()

    def _kind(
        self, method: str, rows: dict[str, Row], name: str, key: str, query: dict[str, str], body: Row
    ) -> Any:
        if method == "POST":
            row = {**body, key: str(uuid.uuid4()), "created_at": datetime.now(UTC).isoformat()}
            rows[row[key]] = row
            return row
        chosen = list(rows.values())
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            chosen = [row for row in chosen if row[predicate["key"]] == wanted]
        if "experiment_id" in query:
            chosen = [row for row in chosen if row["experiment_id"] == query["experiment_id"]]
        by, _, order = query.get("sort_by", "").partition(" ")
        if by:
            chosen.sort(key=lambda row: row[by], reverse=order == "desc")
        return _page(name, chosen, query)

    def _upload(self, query: dict[str, str], raw: bytes, content_type: str) -> Row:
        boundary = content_type.partition("boundary=")[2].encode()
        part = raw.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        spec = next(iter(yaml.safe_load_all(part)))
        named = [row["display_name"] for row in self.versions.values()]
        if query["name"] in named:
            raise Refusal(409, "AlreadyExists", "a version of this name")
        row = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": query["name"],
            "description": query.get("description", ""),
            "pipeline_spec": spec,
            "text": part.decode(),
        }
        self.versions[row["pipeline_version_id"]] = row
        return {key: value for key, value in row.items() if key != "text"}

    def _check(self, body: Row) -> None:
        """Refuses parameters that the version (the newest, where none is named) does not take."""
        reference = body["pipeline_version_reference"]
        of_pipeline = [
            row for row in self.versions.values() if row["pipeline_id"] == reference["pipeline_id"]
        ]
        version = self.versions.get(reference.get("pipeline_version_id", ""), of_pipeline[-1])
        taken = version["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        given = (body.get("runtime_config") or {}).get("parameters") or {}
        for name, value in given.items():
            if name not in taken or not isinstance(value, TYPES[taken[name]["parameterType"]]):
                raise Refusal(400, "InvalidArgument", f"parameter {name}")
            if value not in taken[name].get("literals", [value]):
                raise Refusal(400, "InvalidArgument", f"parameter {name} is none of its literals")
        for name, parameter in taken.items():
            if name not in given and "defaultValue" not in parameter and not parameter.get("isOptional"):
                raise Refusal(400, "InvalidArgument", f"parameter {name} is missing")


def _page(name: str, rows: list[Row], query: dict[str, str]) -> Row:
    size, begin = int(query.get("page_size") or 20), int(query.get("page_token") or 0)
    answer: Row = {
        name: [{k: v for k, v in row.items() if k != "text"} for row in rows[begin : begin + size]]
    }
    if begin + size < len(rows):
        answer["next_page_token"] = str(begin + size)
    return answer
