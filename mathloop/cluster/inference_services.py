"""KServe's InferenceServices of one champion: their specification, state and address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mathloop.cluster.kinds import INFERENCE_SERVICE
from mathloop.cluster.refusals import ClusterRefused
from mathloop.registry import Champion
from mathloop.settings.pools import DeploymentConfig

SERVICE_ACCOUNT = "mathloop-serving"
DRAIN_SECONDS = 330
"""A question in progress may take its whole deadline of 300 s."""
CHAMPION, FORMER, HASH = "mathloop.dev/champion", "mathloop.dev/former", "mathloop.dev/predictor-hash"
MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "mathloop"
MODE = "serving.kserve.io/deploymentMode"
TAGS = "serving.kserve.io/enable-tag-routing"
POLICY, REWARD_MODEL, SOLVER = "mathloop-policy", "mathloop-reward-model", "mathloop-solver"
RUNTIMES = {POLICY: "mathloop-vllm", REWARD_MODEL: "mathloop-vllm-pooling", SOLVER: "mathloop-solver"}
STORAGE_CONTAINER = "mathloop-s3"
"""The ClusterStorageContainer that copies weights: KServe's own has no security context."""
FORMATS = {POLICY: "vLLM", REWARD_MODEL: "vLLM", SOLVER: "mathloop"}
"""Model formats that the runtimes declare; KServe refuses a service whose runtime lacks its format."""
MOUNTS = {"policy": "/mnt/models/policy", "reward model": "/mnt/models/reward_model"}
"""Folders of the solver's models."""


@dataclass(frozen=True)
class Service:
    """The InferenceService that a champion needs."""

    name: str
    champion: int
    predictor: dict[str, Any]
    config: DeploymentConfig

    @property
    def canary(self) -> str:
        """Name of this champion's predictor in Standard mode."""
        return f"c{self.champion}"

    @property
    def hash(self) -> str:
        """Hash of the requested predictor: KServe adds defaults to the object itself."""
        return hashlib.sha256(json.dumps(self.predictor, sort_keys=True).encode()).hexdigest()[:16]


def services_of(champion: Champion, store_url: str, config: DeploymentConfig) -> list[Service]:
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
    wanted[SOLVER] = _solver(uris, champion.number, config)
    return [Service(name, champion.number, predictor, config) for name, predictor in wanted.items()]


def _predictor(name: str, config: DeploymentConfig) -> dict[str, Any]:
    suffix = "-cpu" if config.runtimes == "cpu" else ""
    return {
        "minReplicas": config.replicas,
        "maxReplicas": config.replicas,
        "serviceAccountName": SERVICE_ACCOUNT,
        "model": {"modelFormat": {"name": FORMATS[name]}, "runtime": RUNTIMES[name] + suffix},
    }


def _solver(uris: Mapping[str, str], champion: int, config: DeploymentConfig) -> dict[str, Any]:
    """The solver uses the vLLM services of its own champion, or holds the models itself."""
    predictor = _predictor(SOLVER, config)
    predictor["terminationGracePeriodSeconds"] = DRAIN_SECONDS
    if config.vllm:
        services = {"policy": POLICY, "reward model": REWARD_MODEL}
        urls = {what: _url(services[what], champion, config) for what in uris}
        named = [f"--{what.replace(' ', '-')}-url={url}" for what, url in urls.items()]
        predictor["model"]["args"] = ["--host=0.0.0.0", *named, f"--wait={config.ready_seconds}"]
        return predictor
    predictor["storageContainerName"] = STORAGE_CONTAINER
    predictor["storageUris"] = [{"uri": uri, "mountPath": MOUNTS[what]} for what, uri in uris.items()]
    folders = {"policy": "--model", "reward model": "--reward-model"}
    local = [f"{folders[what]}={MOUNTS[what]}" for what in uris]
    predictor["model"]["args"] = ["--host=0.0.0.0", *local]
    return predictor


def _url(service: str, champion: int, config: DeploymentConfig) -> str:
    """URL of this champion's pods in Standard mode; Knative routes by itself."""
    named = f"{service}-c{champion}" if config.mode == "Standard" else service
    return f"http://{named}-predictor.{config.namespace}.svc.cluster.local"


def _vllm(name: str, uri: str, config: DeploymentConfig) -> dict[str, Any]:
    predictor = _predictor(name, config)
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


def first(service: Service) -> dict[str, Any]:
    """The InferenceService for a cluster that has none yet."""
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {
            "name": service.name,
            "namespace": service.config.namespace,
            "labels": {
                "app.kubernetes.io/name": service.name,
                "app.kubernetes.io/part-of": "mathloop",
                "app.kubernetes.io/component": service.name.removeprefix("mathloop-"),
                MANAGED_BY: MANAGER,
            },
            "annotations": {
                MODE: service.config.mode,
                CHAMPION: str(service.champion),
                HASH: service.hash,
                **({TAGS: "true"} if service.config.mode == "Knative" else {}),
            },
        },
        "spec": {"predictor": named(service)},
    }


def named(service: Service) -> dict[str, Any]:
    """The predictor; in Standard mode with its champion's name, so that each can be a canary."""
    name = {"name": service.canary} if service.config.mode == "Standard" else {}
    return {**name, **service.predictor}


def notes_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Its annotations."""
    return found["metadata"].get("annotations") or {}


@dataclass(frozen=True)
class State:
    """State of a service."""

    ready: bool
    pending: str
    """What it waits for."""
    failed: str = ""
    """Why it can never become ready; empty while it can."""


def state_of(found: Mapping[str, Any], service: Service, *, canary: bool) -> State:
    """KServe's state of the service, or of the new champion in it."""
    status = found.get("status") or {}
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return State(False, "KServe has not looked at it yet")
    standard = service.config.mode == "Standard"
    if canary and standard and found["spec"].get("canary"):
        statuses = status.get("canaryStatuses") or []
        mine: dict[str, Any] = next((one for one in statuses if one["name"] == service.canary), {})
        return State(bool(mine.get("ready")), "its pod starts", _failure(mine.get("modelStatus") or {}))
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    good = ready.get("status") == "True"
    if not standard:
        component = (status.get("components") or {}).get("predictor") or {}
        newest = component.get("latestCreatedRevision")
        good = good and bool(newest) and newest == component.get("latestReadyRevision")
    waiting = next(
        (one for one in conditions.values() if one["status"] != "True" and one["type"] != "Ready"), ready
    )
    pending = ": ".join(str(waiting[key]) for key in ("reason", "message") if waiting.get(key))
    return State(good, pending or "its pods start", _failure(status.get("modelStatus") or {}))


def _failure(model: Mapping[str, Any]) -> str:
    if model.get("transitionStatus") not in ("InvalidSpec", "BlockedByFailedLoad"):
        return ""
    info = model.get("lastFailureInfo") or {}
    parts = [str(info[key]) for key in ("reason", "message") if info.get(key)]
    return " ".join(": ".join(parts or [model["transitionStatus"]]).split())[:300]


def address(found: Mapping[str, Any], service: Service, *, canary: bool) -> str:
    """URL inside the cluster: of the service, or of the new champion alone."""
    status = found.get("status") or {}
    if canary and service.config.mode == "Standard":
        return _url(service.name, service.champion, service.config)
    if canary:
        traffic = ((status.get("components") or {}).get("predictor") or {}).get("traffic") or []
        tagged = [str(one["url"]) for one in traffic if one.get("tag") == "latest" and one.get("url")]
        if tagged:
            return tagged[0]
    return str((status.get("address") or {}).get("url") or status.get("url") or "")
