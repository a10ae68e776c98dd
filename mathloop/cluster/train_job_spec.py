"""The TrainJob of Kubeflow Trainer for a pool; it never holds a secret."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from mathloop.cluster.job_pods import labels, mounted, placement, pod_variables
from mathloop.cluster.kinds import TRAIN_JOB
from mathloop.settings.pools import Pool

RUNTIME = "mathloop-torchrun"
SERVICE_ACCOUNT = "mathloop-trainer"
NODE = "node"
"""Trainer's name of a training node's job and container."""
MANAGER = "mathloop.dev/launcher"
HASH_LABEL = "mathloop.dev/spec-hash"
TASK_VARIABLE = "MATHLOOP_TRAINING_TASK"
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
            # They replace the runtime's, which a pool that names none keeps.
            **({"resourcesPerNode": pool.resources()} if pool.names_resources else {}),
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": _patch(pool, ca_config_map)}],
    }
    text = json.dumps(spec, sort_keys=True)
    own = {
        **labels(stage.replace("_", "-")),
        HASH_LABEL: hashlib.sha256(text.encode()).hexdigest()[:16],
        **pool.labels(),
    }
    return {
        "apiVersion": TRAIN_JOB.api_version,
        "kind": TRAIN_JOB.name,
        "metadata": {"name": name, "namespace": namespace, "labels": own},
        "spec": spec,
    }


def _patch(pool: Pool, ca_config_map: str) -> dict[str, Any]:
    """The pool's settings of pods, which Trainer merges into its runtime."""
    pod: dict[str, Any] = {"serviceAccountName": SERVICE_ACCOUNT, **placement(pool)}
    volumes, mounts = mounted(pool, ca_config_map)
    if volumes:
        pod["volumes"] = volumes
        pod["containers"] = [{"name": NODE, "volumeMounts": mounts}]
    job = {"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}
