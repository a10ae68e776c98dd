"""What KFP 2.17's driver and launcher do with a compiled pipeline, as far as reuse depends on it.

The driver names a task by image, command, parameters, ids of its input artifacts and the declaration of its
outputs (backend/src/v2/cacheutils/cache.go); neither the environment nor what is in the bucket counts. A name
that is known makes the former outputs the task's own, unseen. The launcher copies a task's inputs from the
bucket before it starts and its outputs there when it has ended; of an input that is gone it copies nothing,
and says nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kfp.dsl.executor import Executor
from kfp.dsl.types import artifact_types
from minio import Minio

from components import running
from mathloop.stages import StageReport

MOUNT = "_MINIO_LOCAL_MOUNT_PREFIX"


@dataclass
class FakeDriver:
    """Runs of one pipeline, and what KFP remembers of them."""

    file: Path
    """The compiled pipeline."""
    client: Minio
    bucket: str
    root: str
    """Key below which runs put their artifacts."""
    disk: Path
    """The pods' disks."""
    real: Mapping[str, Callable[..., Any]]
    """Component → its function; of others only the outputs are made."""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    """Keys in the bucket, by artifacts' ids."""

    def run(self, run_id: str, patch: Any, **given: Any) -> dict[str, str]:
        """Runs the pipeline; task → `ran` or `cached`. `patch` is pytest's."""
        spec = next(iter(yaml.safe_load_all(self.file.read_text(encoding="utf-8"))))
        declared = spec["root"]["inputDefinitions"]["parameters"]
        parameters = {name: one.get("defaultValue") for name, one in declared.items()} | given
        patch.setattr(artifact_types, MOUNT, f"{self.disk / run_id}/minio/")
        told: dict[str, str] = {}
        self._dag(spec, spec["root"]["dag"], {"parameters": parameters, "artifacts": {}}, told, run_id, patch)
        return told

    def _dag(
        self, spec: Any, dag: Any, given: Any, told: dict[str, str], run_id: str, patch: Any
    ) -> dict[str, Any]:
        """Runs the tasks of a pipeline, nested or not; returns its outputs."""
        tasks, done = dag["tasks"], dict[str, dict[str, Any]]()
        while len(done) < len(tasks):
            ready = [
                name
                for name, task in tasks.items()
                if name not in done and set(task.get("dependentTasks", [])) <= done.keys()
            ]
            for name in sorted(ready):
                component = spec["components"][tasks[name]["componentRef"]["name"]]
                inputs = self._inputs(tasks[name], component, given, done, run_id)
                if "dag" in component:
                    done[name] = self._dag(spec, component["dag"], inputs, told, run_id, patch)
                    continue
                container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
                print_of_task = self._fingerprint(component, container, inputs)
                cached = tasks[name]["cachingOptions"].get("enableCache") and print_of_task in self.known
                if not cached:
                    self.known[print_of_task] = self._execute(name, component, inputs, run_id, patch)
                done[name] = self.known[print_of_task]
                told[name] = "cached" if cached else "ran"
        artifacts = {}
        for name, output in dag.get("outputs", {}).get("artifacts", {}).items():
            (made,) = output["artifactSelectors"]
            artifacts[name] = done[made["producerSubtask"]]["artifacts"][made["outputArtifactKey"]]
        return {"parameters": {}, "artifacts": artifacts}

    def _inputs(
        self, task: Any, component: Any, given: Mapping[str, Any], done: Mapping[str, Any], run_id: str
    ) -> dict[str, Any]:
        values = {
            name: one["defaultValue"]
            for name, one in component.get("inputDefinitions", {}).get("parameters", {}).items()
            if "defaultValue" in one
        }
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                values[name] = given["parameters"][source["componentInputParameter"]]
            elif "taskOutputParameter" in source:
                made = source["taskOutputParameter"]
                values[name] = done[made["producerTask"]]["parameters"][made["outputParameterKey"]]
            else:
                constant = source["runtimeValue"]["constant"]
                values[name] = run_id if constant == "{{$.pipeline_job_uuid}}" else constant
        artifacts = {}
        for name, source in task.get("inputs", {}).get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                artifacts[name] = given["artifacts"][source["componentInputArtifact"]]
                continue
            made = source["taskOutputArtifact"]
            artifacts[name] = done[made["producerTask"]]["artifacts"][made["outputArtifactKey"]]
        # A whole number is written without a fraction, as Go does.
        whole = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in values.items()
        }
        return {"parameters": whole, "artifacts": artifacts}

    @staticmethod
    def _fingerprint(component: Any, container: Any, inputs: Any) -> str:
        key = [container["image"], container["command"], container["args"], inputs]
        text = json.dumps([key, component["outputDefinitions"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _execute(self, name: str, component: Any, inputs: Any, run_id: str, patch: Any) -> dict[str, Any]:
        """Returns ids of artifacts and values of parameters."""
        folder = f"{self.root}/{run_id}/{name}/{len(self.artifacts)}"
        declared = component["outputDefinitions"]

        def artifact(key: str, schema: str) -> dict[str, Any]:
            kind = {"schemaTitle": schema, "schemaVersion": "0.0.1"}
            return {"artifacts": [{"name": key, "uri": f"minio://{self.bucket}/{key}", "type": kind}]}

        kinds = {key: one["artifactType"]["schemaTitle"] for key, one in declared["artifacts"].items()}
        known = component.get("inputDefinitions", {}).get("artifacts", {})
        taken = {
            key: artifact(self.artifacts[number], known[key]["artifactType"]["schemaTitle"])
            for key, number in inputs["artifacts"].items()
        }
        executor_input = {
            "inputs": {"parameterValues": inputs["parameters"], "artifacts": taken},
            "outputs": {
                "artifacts": {key: artifact(f"{folder}/{key}", kind) for key, kind in kinds.items()},
                "parameters": {
                    key: {"outputFile": str(self.disk / "parameters" / key)}
                    for key in declared.get("parameters", {})
                },
                "outputFile": str(self.disk / run_id / name / "output_metadata.json"),
            },
        }
        for number in inputs["artifacts"].values():
            self._download(self.artifacts[number], run_id)
        patch.setattr(sys, "argv", ["executor_main", "--executor_input", json.dumps(executor_input)])
        values: dict[str, Any] = {}
        component_name = component["executorLabel"].removeprefix("exec-").replace("-", "_")
        if component_name in self.real:
            written = Executor(executor_input, self.real[component_name]).execute()
            answer = json.loads(Path(written).read_text(encoding="utf-8")) if written else {}
            values = answer.get("parameterValues", {})
        else:
            pretend(component_name, executor_input)
        for key in kinds:
            self._upload(f"{folder}/{key}", run_id)
        first = len(self.artifacts)
        self.artifacts += [f"{folder}/{key}" for key in kinds]
        return {"parameters": values, "artifacts": {key: first + at for at, key in enumerate(kinds)}}

    def local(self, key: str, run_id: str) -> Path:
        """Where a pod of the run has an artifact."""
        return self.disk / run_id / "minio" / self.bucket / key

    def stored(self, key: str) -> list[str]:
        """Keys of an artifact's files in the bucket."""
        found = self.client.list_objects(self.bucket, key, recursive=True)
        names = [str(one.object_name) for one in found]
        return [name for name in names if name == key or name.startswith(f"{key}/")]

    def _download(self, key: str, run_id: str) -> None:
        for name in self.stored(key):
            self.client.fget_object(self.bucket, name, str(self.local(name, run_id)))

    def _upload(self, key: str, run_id: str) -> None:
        path = self.local(key, run_id)
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file():
                inside = file.relative_to(self.local("", run_id)).as_posix()
                self.client.fput_object(self.bucket, inside, str(file))


def pretend(stage: str, executor_input: Mapping[str, Any]) -> None:
    """Makes the outputs of a stage from nothing, once its inputs are there."""
    ports = {
        key: artifact_types.Artifact(name=key, uri=one["artifacts"][0]["uri"])
        for part in ("inputs", "outputs")
        for key, one in executor_input[part]["artifacts"].items()
    }
    for key in executor_input["inputs"]["artifacts"]:
        path = Path(ports[key].path)
        if not path.exists() and key != "reward_model":  # of which a first champion has none
            raise FileNotFoundError(f"{stage} has lost its input {key}")
    for key in executor_input["outputs"]["artifacts"]:
        path = Path(ports[key].path)
        if key not in ("scores", "summary"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{stage} {key}")
            path.with_name(f"{key}.unfinished").write_text("no output: it stays in the pod")
    running.run(lambda: StageReport(stage), ports["summary"])
