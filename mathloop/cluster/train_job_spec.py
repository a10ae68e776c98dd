"""The TrainJob of Kubeflow Trainer for a pool; it never holds a secret."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from mathloop.cluster.kinds import TRAIN_JOB
from mathloop.retrying import PATIENCE_VARIABLE
from mathloop.settings.pools import CA_FOLDER, CA_KEY, Affinity, Pool
from mathloop.storage.keys import KEY_VARIABLE, SECRET_VARIABLE
from mathloop.storage.s3 import CA_VARIABLE

RUNTIME = "mathloop-torchrun"
SERVICE_ACCOUNT = "mathloop-trainer"
NODE = "node"
"""Trainer's name of a training node's job and container."""
MANAGER = "mathloop.dev/launcher"
HASH_LABEL = "mathloop.dev/spec-hash"
TASK_VARIABLE = "MATHLOOP_TRAINING_TASK"
SECRET_KEYS = {"accesskey": KEY_VARIABLE, "secretkey": SECRET_VARIABLE}
"""Keys of the store's Secret → environment variables. Not AWS_*, which would replace a pod's own identity for
KFP's launcher too."""
STORE_PATIENCE = "180"
"""Seconds that pods of runs wait for the store while it is away: longer than its pod takes to move."""
COMMAND = ("torchrun", "-m", "mathloop.cluster.training_node")


def job_name(run_id: str, stage: str) -> str:
    """The name of a stage's job in a run: always the same; a DNS label, short enough for its pods' names."""
    digest = hashlib.sha256(f"{run_id}/{stage}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")[:20].rstrip("-")
    return f"mathloop-{readable}-{digest}"


def build(
    *,
    name: str,
    namespace: str,
    stage: str,
    task: str,
    pool: Pool,
    secret: str,
    config_map: str,
    ca_config_map: str = "",
) -> dict[str, Any]:
    """The TrainJob as a Kubernetes object.

    Args:
        task: JSON that each node reads from its environment; it holds no secret.
        secret: name of the Secret with the S3 keys, which pods get by reference; empty: their own identity.
        config_map: name of the ConfigMap with the S3 endpoint.
        ca_config_map: name of the ConfigMap with the authorities of its certificate, as ca.crt; empty: none.
    """
    spec = {
        "runtimeRef": {
            "apiGroup": "trainer.kubeflow.org",
            "kind": "ClusterTrainingRuntime",
            "name": RUNTIME,
        },
        # Should no launcher come back, the cluster itself ends the job.
        "activeDeadlineSeconds": pool.queue_seconds + pool.run_seconds,
        "trainer": {
            "numNodes": pool.nodes,
            "numProcPerNode": max(pool.gpus, 1),
            "command": list(COMMAND),
            "env": [
                {"name": TASK_VARIABLE, "value": task},
                *pod_variables(secret, config_map, ca_config_map),
            ],
            **({"resourcesPerNode": pool.resources()} if pool.resources() else {}),
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": _patch(pool, ca_config_map)}],
    }
    text = json.dumps(spec, sort_keys=True)
    labels = {
        "app.kubernetes.io/name": "mathloop",
        "app.kubernetes.io/part-of": "mathloop",
        "app.kubernetes.io/component": stage.replace("_", "-"),
        "app.kubernetes.io/managed-by": "mathloop",
        HASH_LABEL: hashlib.sha256(text.encode()).hexdigest()[:16],
        **pool.labels(),
    }
    return {
        "apiVersion": TRAIN_JOB.api_version,
        "kind": TRAIN_JOB.name,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def pod_variables(secret: str, config_map: str, ca_config_map: str) -> list[dict[str, Any]]:
    """Environment of a pod that uses the store: its address and keys by reference, never the values."""
    return [
        {"name": PATIENCE_VARIABLE, "value": STORE_PATIENCE},
        *(_from("secretKeyRef", secret, SECRET_KEYS) if secret else []),
        *_from("configMapKeyRef", config_map, {"endpoint": "MATHLOOP_S3_ENDPOINT"}),
        *_from("configMapKeyRef", config_map, {"region": "MATHLOOP_S3_REGION"}),
        *([{"name": CA_VARIABLE, "value": f"{CA_FOLDER}/{CA_KEY}"}] if ca_config_map else []),
    ]


def _from(source: str, name: str, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": variable, "valueFrom": {source: {"name": name, "key": key}}}
        for key, variable in keys.items()
    ]


def _patch(
    pool: Pool,
    ca_config_map: str,
) -> dict[str, Any]:
    """The pool's settings of pods, which Trainer merges into its runtime."""
    pod: dict[str, Any] = {"serviceAccountName": SERVICE_ACCOUNT}
    selector = dict(pool.node_selector)
    if selector:
        pod["nodeSelector"] = selector
    tolerated = [item.to_kubernetes() for item in pool.tolerations]
    if tolerated:
        pod["tolerations"] = tolerated
    if pool.affinity:
        pod["affinity"] = {"nodeAffinity": node_affinity(pool.affinity)}
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if pool.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": pool.shared_memory}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    if ca_config_map:
        volumes.append({"name": "store-ca", "configMap": {"name": ca_config_map}})
        mounts.append({"name": "store-ca", "mountPath": CA_FOLDER, "readOnly": True})
    if volumes:
        pod["volumes"] = volumes
        pod["containers"] = [{"name": NODE, "volumeMounts": mounts}]
    job = {"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}


def node_affinity(demands: tuple[Affinity, ...]) -> dict[str, Any]:
    """A pod's nodeAffinity: demands without a weight are required, the others are preferences."""
    terms = [
        {"key": one.key, "operator": one.operator, **({"values": list(one.values)} if one.values else {})}
        for one in demands
    ]
    must = [term for one, term in zip(demands, terms, strict=True) if not one.weight]
    wish = [
        {"weight": one.weight, "preference": {"matchExpressions": [term]}}
        for one, term in zip(demands, terms, strict=True)
        if one.weight
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": must}]}
    return {
        **({"requiredDuringSchedulingIgnoredDuringExecution": required} if must else {}),
        **({"preferredDuringSchedulingIgnoredDuringExecution": wish} if wish else {}),
    }
