"""KServe's InferenceServices of one champion: their specification and state.

They are immutable: KServe (0.20) restarts the pods of an InferenceService whose annotations change, refuses
some changes, and gives a canary with `storageUris` no weights. So each champion has its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mathloop.cluster.kinds import INFERENCE_SERVICE
from mathloop.cluster.refusals import ClusterRefused
from mathloop.registry import Champion, ServingDefaults
from mathloop.settings.pools import DEADLINE_SECONDS, DRAIN_SECONDS, PAUSE_SECONDS, DeploymentConfig

SERVICE_ACCOUNT = "mathloop-serving"
CHAMPION, RELEASE, HASH = "mathloop.dev/champion", "mathloop.dev/release", "mathloop.dev/predictor-hash"
MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "mathloop"
MODE = "serving.kserve.io/deploymentMode"
POD_LABEL = "serving.kserve.io/inferenceservice"
"""Label that KServe gives to the pods of an InferenceService, with its name."""
POLICY, REWARD_MODEL, SOLVER = "mathloop-policy", "mathloop-reward-model", "mathloop-solver"
RUNTIMES = {POLICY: "mathloop-vllm", REWARD_MODEL: "mathloop-vllm-pooling", SOLVER: "mathloop-solver"}
"""Role → its ServingRuntime."""
STORAGE_CONTAINER = "mathloop-s3"
"""The ClusterStorageContainer that copies weights: KServe's own has no security context."""
FORMATS = {POLICY: "vLLM", REWARD_MODEL: "vLLM", SOLVER: "mathloop"}
"""Model formats that the runtimes declare; KServe refuses a service whose runtime lacks its format."""
MOUNTS = {"policy": "/mnt/models/policy", "reward model": "/mnt/models/reward_model"}
"""Folders of the solver's models."""
RESTARTS = 3
"""A container that was restarted this often (about a minute of Kubernetes' back-off) will not start."""
NEVER_PULLED = ("InvalidImageName", "ErrImageNeverPull")
STARTING = ("PodInitializing", "ContainerCreating")


@dataclass(frozen=True)
class Service:
    """One InferenceService of a champion."""

    role: str
    champion: int
    release: str
    """Suffix of the names of all the champion's InferenceServices: c7."""
    predictor: dict[str, Any]
    config: DeploymentConfig

    @property
    def name(self) -> str:
        """Name of the InferenceService: mathloop-solver-c7."""
        return f"{self.role}-{self.release}"

    @property
    def hash(self) -> str:
        """Hash of the requested predictor and mode: KServe adds defaults to the object itself."""
        text = json.dumps([self.config.mode, self.predictor], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def services_of(champion: Champion, store_url: str, config: DeploymentConfig, release: str) -> list[Service]:
    """The services of a champion, in the order of their start.

    Raises:
        ClusterRefused: pods cannot reach the store.
    """
    if not store_url.startswith("s3://"):
        raise ClusterRefused(f"{store_url}: KServe fetches models from an s3:// store; set store to one")
    uris = {what: f"{store_url}/{name}" for what, name in champion.models.items() if what != "base"}
    wanted = {}
    if config.vllm:
        wanted[POLICY] = _vllm(POLICY, uris["policy"], config)
        if "reward model" in uris:
            wanted[REWARD_MODEL] = _vllm(REWARD_MODEL, uris["reward model"], config)
    wanted[SOLVER] = _solver(uris, release, config, champion.serving)
    return [Service(role, champion.number, release, predictor, config) for role, predictor in wanted.items()]


def _predictor(role: str, config: DeploymentConfig) -> dict[str, Any]:
    suffix = "-cpu" if config.runtimes == "cpu" else ""
    predictor: dict[str, Any] = {
        "minReplicas": config.replicas,
        "maxReplicas": config.replicas,
        "serviceAccountName": SERVICE_ACCOUNT,
        "timeout": DRAIN_SECONDS,  # KServe's routes end a request after 60 s otherwise
        "model": {"modelFormat": {"name": FORMATS[role]}, "runtime": RUNTIMES[role] + suffix},
    }
    if config.mode == "Standard":  # Knative refuses both fields, and drains pods by itself
        predictor["model"]["lifecycle"] = {"preStop": {"sleep": {"seconds": PAUSE_SECONDS}}}
        # vLLM's pods too: a solver that ends still asks them. Kubernetes would kill them after 30 seconds.
        predictor["terminationGracePeriodSeconds"] = DRAIN_SECONDS
    return predictor


def _solver(
    uris: Mapping[str, str], release: str, config: DeploymentConfig, evaluated: ServingDefaults | None
) -> dict[str, Any]:
    """The solver uses the vLLM services of its own champion, or holds the models itself."""
    predictor = _predictor(SOLVER, config)
    defaults = [] if evaluated is None else _defaults(evaluated)
    common = ["--host=0.0.0.0", f"--deadline={DEADLINE_SECONDS}"]
    if config.vllm:
        roles = {"policy": POLICY, "reward model": REWARD_MODEL}
        urls = {what: predictor_url(f"{roles[what]}-{release}", config.namespace) for what in uris}
        options = [f"--{what.replace(' ', '-')}-url={url}" for what, url in urls.items()]
        predictor["model"]["args"] = [*common, *options, f"--wait={config.ready_seconds}", *defaults]
        return predictor
    predictor["storageContainerName"] = STORAGE_CONTAINER
    predictor["storageUris"] = [{"uri": uri, "mountPath": MOUNTS[what]} for what, uri in uris.items()]
    folders = {"policy": "--model", "reward model": "--reward-model"}
    local = [f"{folders[what]}={MOUNTS[what]}" for what in uris]
    predictor["model"]["args"] = [*common, *local, *defaults]
    return predictor


def _defaults(evaluated: ServingDefaults) -> list[str]:
    """The pod sees folders or URLs, not the champion's entry: its evaluation comes as options."""
    options = [f"--strategy={evaluated.strategy}", f"--temperature={evaluated.temperature:g}"]
    return options if evaluated.samples == 1 else [*options, f"--samples={min(evaluated.samples, 64)}"]


def predictor_url(name: str, namespace: str) -> str:
    """URL, inside the cluster, that KServe gives to an InferenceService's pods."""
    return f"http://{name}-predictor.{namespace}.svc.cluster.local"


def _vllm(role: str, uri: str, config: DeploymentConfig) -> dict[str, Any]:
    predictor = _predictor(role, config)
    if config.node_selector:
        predictor["nodeSelector"] = dict(config.node_selector)
    if config.tolerations:
        predictor["tolerations"] = [item.to_kubernetes() for item in config.tolerations]
    if config.weights == "copy":
        predictor["storageContainerName"] = STORAGE_CONTAINER
        predictor["model"]["storageUri"] = uri
        return predictor
    # vLLM streams safetensors from the bucket into memory, with the keys that its runtime references.
    predictor["model"]["args"] = [f"--model={uri}", "--load-format=runai_streamer"]
    return predictor


def to_object(service: Service) -> dict[str, Any]:
    """The InferenceService to create."""
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {
            "name": service.name,
            "namespace": service.config.namespace,
            "labels": {
                "app.kubernetes.io/name": service.role,
                "app.kubernetes.io/part-of": "mathloop",
                "app.kubernetes.io/component": service.role.removeprefix("mathloop-"),
                MANAGED_BY: MANAGER,
                CHAMPION: str(service.champion),
                RELEASE: service.release,
            },
            "annotations": {MODE: service.config.mode, HASH: service.hash},
        },
        "spec": {"predictor": service.predictor},
    }


@dataclass(frozen=True)
class State:
    """State of a service."""

    ready: bool
    pending: str
    """What it waits for."""
    failed: str = ""
    """Why it will not become ready; empty while it may."""


def state_of(found: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> State:
    """The service's state, by KServe's conditions and by its pods.

    The status has an `observedGeneration`, which is that of the Deployment below: it says nothing here.
    """
    status = found.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    if conditions.get("Ready", {}).get("status") == "True":
        return State(True, "")
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") == "InvalidSpec":
        return State(False, "", _line(model.get("lastFailureInfo") or {}) or "InvalidSpec")
    reasons = list(_pod_states(pods))
    failed = next((state.failed for state in reasons if state.failed), "")
    waits = [one for one in conditions.values() if one["status"] != "True" and one.get("severity") != "Info"]
    waits.sort(key=lambda one: one["type"] != "PredictorReady")  # the others follow from it
    pending = [state.pending for state in reasons] + [_line(one) for one in waits]
    return State(False, next(filter(None, pending), "its pods start"), failed)


def _pod_states(pods: Sequence[Mapping[str, Any]]) -> Iterator[State]:
    """What keeps pods from starting."""
    for pod in pods:
        status = pod.get("status") or {}
        for condition in status.get("conditions") or []:
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                yield State(False, _line(condition))
        for container in [
            *(status.get("initContainerStatuses") or []),
            *(status.get("containerStatuses") or []),
        ]:
            name, waiting = container["name"], (container.get("state") or {}).get("waiting") or {}
            ended = (container.get("lastState") or {}).get("terminated") or {}
            if container.get("restartCount", 0) >= RESTARTS and not container.get("ready"):
                reason = f"{ended.get('reason', 'Error')}, exit code {ended.get('exitCode', '?')}"
                yield State(False, "", f"{name} ended {container['restartCount']} times: {reason}")
            elif waiting.get("reason") in NEVER_PULLED:
                yield State(False, "", f"{name}: {_line(waiting)}")
            elif waiting.get("reason") and waiting["reason"] not in STARTING:
                yield State(False, f"{name}: {_line(waiting)}")
            elif "running" in (container.get("state") or {}) and not container.get("ready"):
                yield State(False, f"{name} is running, not ready")


def _line(reason: Mapping[str, Any]) -> str:
    parts = [str(reason[key]) for key in ("reason", "message") if reason.get(key)]
    return " ".join(": ".join(parts).split())[:300]
