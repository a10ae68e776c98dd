"""What the pods of our jobs have in common: labels, nodes, mounts, and how they reach the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mathloop.retrying import PATIENCE_VARIABLE
from mathloop.settings.pools import CA_FOLDER, CA_KEY, Affinity, Pool
from mathloop.storage.keys import KEY_VARIABLE, SECRET_VARIABLE
from mathloop.storage.s3 import CA_VARIABLE

SECRET_KEYS = {"accesskey": KEY_VARIABLE, "secretkey": SECRET_VARIABLE}
"""Keys of the store's Secret → environment variables. Not AWS_*, which would replace a pod's own identity for
KFP's launcher too."""
STORE_PATIENCE = "180"
"""Seconds that pods of runs wait for the store while it is away: longer than its pod takes to move."""


def labels(component: str) -> dict[str, str]:
    """Kubernetes' recommended labels of a job, or of its pods."""
    return {
        "app.kubernetes.io/name": "mathloop",
        "app.kubernetes.io/part-of": "mathloop",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "mathloop",
    }


def placement(pool: Pool) -> dict[str, Any]:
    """The fields of a pod that say on which nodes it runs; those that the pool leaves open are left out."""
    tolerations = [item.to_kubernetes() for item in pool.tolerations]
    return {
        **({"nodeSelector": dict(pool.node_selector)} if pool.node_selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
        **({"affinity": {"nodeAffinity": _node_affinity(pool.affinity)}} if pool.affinity else {}),
    }


def mounted(pool: Pool, ca_config_map: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and their mounts: shared memory, and the authorities of the store's certificate."""
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if pool.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": pool.shared_memory}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    if ca_config_map:
        volumes.append({"name": "store-ca", "configMap": {"name": ca_config_map}})
        mounts.append({"name": "store-ca", "mountPath": CA_FOLDER, "readOnly": True})
    return volumes, mounts


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


def _node_affinity(demands: tuple[Affinity, ...]) -> dict[str, Any]:
    """Demands without a weight are required, the others are preferences."""
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
