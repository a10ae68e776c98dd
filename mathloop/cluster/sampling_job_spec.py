"""The Indexed Job of sampling pods; it never holds a secret."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mathloop.cluster.job_pods import labels, mounted, placement, pod_variables
from mathloop.cluster.kinds import JOB
from mathloop.cluster.train_job_spec import HASH_LABEL, NODE, SERVICE_ACCOUNT
from mathloop.settings.pools import Pool

TASK_VARIABLE = "MATHLOOP_SAMPLING_TASK"
COMMAND = ("python3", "-m", "mathloop.cluster.sampling_node")
USER = 65532
RETRIES = 3
"""Times that a pod of one index runs again; what it has published is not drawn again."""
CONFIG_EXIT = 2
"""Exit code of a mistake in settings or data, which another pod would repeat."""


def build(
    *,
    name: str,
    namespace: str,
    stage: str,
    task: str,
    pods: int,
    image: str,
    pool: Pool,
    secret: str,
    config_map: str,
    ca_config_map: str = "",
) -> dict[str, Any]:
    """The Job as a Kubernetes object.

    Args:
        task: JSON that each pod reads from its environment; it holds no secret.
        pods: pods with an index each, one per node of the pool.
        secret: name of the Secret with the S3 keys, which pods get by reference; empty: their own identity.
        config_map: name of the ConfigMap with the S3 endpoint.
        ca_config_map: name of the ConfigMap with the authorities of its certificate, as ca.crt; empty: none.
    """
    own = labels("sampler")
    pod = _pod(task, image, pool, secret, config_map, ca_config_map)
    spec = {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        "backoffLimitPerIndex": RETRIES,
        "maxFailedIndexes": 0,  # without one pod's shards the others' are of no use
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": NODE, "operator": "In", "values": [CONFIG_EXIT]},
                },
                # An evicted pod, or one whose node is drained, is replaced and does not count.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        # Should no launcher come back, the cluster itself ends the job.
        "activeDeadlineSeconds": pool.queue_seconds + pool.run_seconds,
        "template": {
            "metadata": {"labels": {**own, "mathloop.dev/store-client": "true"}},
            "spec": pod,
        },
    }
    digest = hashlib.sha256(json.dumps([stage, spec], sort_keys=True).encode()).hexdigest()[:16]
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**own, HASH_LABEL: digest, **pool.labels()},
        },
        "spec": spec,
    }


def _pod(
    task: str, image: str, pool: Pool, secret: str, config_map: str, ca_config_map: str
) -> dict[str, Any]:
    volumes, mounts = mounted(pool, ca_config_map)
    user = pool.run_as_user or USER
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **placement(pool),
        "containers": [
            {
                "name": NODE,
                "image": image,
                **({"imagePullPolicy": pool.image_pull_policy} if pool.image_pull_policy else {}),
                "command": list(COMMAND),
                "env": [
                    {"name": TASK_VARIABLE, "value": task},
                    *pod_variables(secret, config_map, ca_config_map),
                ],
                "resources": pool.resources(),
                # The launcher shows the end of the log of a pod that failed.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
    }
