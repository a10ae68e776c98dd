"""Where tasks run on a cluster: the one place that knows of node pools. The local runner ignores all of it.

A pipeline is traced twice: when it is imported, for this machine and the stages' defaults, and again by
`pipelines.tracing.trace` for one profile. Traced for a cluster, every task gets what its pool in the profile
says, and the store's address and keys by reference to a ConfigMap and a Secret, never by value.

kfp-kubernetes 2.17 cannot set: a pod's priorityClassName (a pool's `priority` is Kueue's), affinity between
pods, capabilities (KFP itself drops them all), and tolerations of KFP's driver pods, which need some node
without a taint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from kfp import kubernetes
from kfp.dsl import PipelineTask

from mathloop.cluster import reuse
from mathloop.cluster.preflight import CODE_VERSION_VARIABLE
from mathloop.settings.pools import CA_FOLDER, CA_KEY, Affinity, Pool, PoolsConfig
from mathloop.storage.s3 import CA_VARIABLE
from mathloop.training.config import CHECKPOINTS_VARIABLE

SECRET_KEYS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
CONFIG_MAP_KEYS = {
    "endpoint": "MATHLOOP_S3_ENDPOINT",
    "region": "MATHLOOP_S3_REGION",
    "store": reuse.LEDGER_VARIABLE,
}
LABELS = {f"app.kubernetes.io/{key}": "mathloop" for key in ("name", "part-of", "managed-by")}
STORE_CLIENT = {"mathloop.dev/store-client": "true"}
"""Whom network policies let through to the store."""
SHARED_MEMORY = "/dev/shm"
BACKOFF = {"backoff_duration": "30s", "backoff_factor": 2.0, "backoff_max_duration": "300s"}

PoolName = Literal["sampler", "trainer", "control"]


@dataclass(frozen=True)
class Placement:
    """What a pipeline is traced for."""

    pools: PoolsConfig | None
    """None: this machine."""
    code_version: str = ""
    """Preflight makes it a part of what KFP's cache tells apart; empty leaves it out."""
    profile: str = ""
    """All settings as JSON; empty: the stages' defaults."""


_HERE = Placement(None)
_current: ContextVar[Placement] = ContextVar("placement", default=_HERE)


@contextmanager
def placed(placement: Placement) -> Iterator[None]:
    """Pipelines that are traced inside are for this placement."""
    token = _current.set(placement)
    try:
        yield
    finally:
        _current.reset(token)


def cluster() -> PoolsConfig | None:
    """The pools that the pipeline is being traced for; None on this machine."""
    return _current.get().pools


def profile() -> str:
    """All settings of the profile that the pipeline is being traced for, as JSON."""
    return _current.get().profile


def place(name: PoolName, *tasks: PipelineTask, seconds: int = 0) -> None:
    """Has the tasks run in a pool.

    Args:
        seconds: replaces the pool's own timeout where a task waits for other pods.
    """
    pools = cluster()
    if pools is None:
        return
    for task in tasks:
        _settle(task, name, pools)
        timeout = seconds or getattr(pools, name).timeout_seconds
        if timeout:
            kubernetes.set_timeout(task, timeout)


def retried(*tasks: PipelineTask) -> None:
    """Has KFP try again what only moves data to or from the store, with growing pauses.

    Only on a cluster: here `--resume` continues after a failed stage. KFP ignores it inside ParallelFor,
    which no pipeline of ours has.
    """
    pools = cluster()
    if pools is not None and pools.retries:
        for task in tasks:
            task.set_retry(pools.retries, **BACKOFF)


def _settle(task: PipelineTask, name: str, pools: PoolsConfig) -> None:
    pool: Pool = getattr(pools, name)
    _give_resources(task, pool)
    for key, value in pool.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pool.tolerations:
        kubernetes.add_toleration(task, **toleration.to_kubernetes())
    for affinity in pool.affinity:
        _attract(task, affinity)
    if pool.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", SHARED_MEMORY, "Memory", pool.shared_memory)
    if pool.image_pull_policy:
        kubernetes.set_image_pull_policy(task, pool.image_pull_policy)
    kubernetes.set_security_context(task, run_as_user=pool.run_as_user or None, run_as_non_root=True)
    for key, value in {
        **LABELS,
        **STORE_CLIENT,
        "app.kubernetes.io/component": name,
        **pool.labels(),
    }.items():
        kubernetes.add_pod_label(task, key, value)
    _give_store(task, pools)
    if name == "trainer":  # a pod that is lost takes its disk along
        kubernetes.use_config_map_as_env(task, pools.config_map, {"store": CHECKPOINTS_VARIABLE})
    if version := _current.get().code_version:
        task.set_env_variable(CODE_VERSION_VARIABLE, version)


def _give_store(task: PipelineTask, pools: PoolsConfig) -> None:
    """Where the store is and its keys, by reference."""
    kubernetes.use_secret_as_env(task, pools.secret, SECRET_KEYS)
    kubernetes.use_config_map_as_env(task, pools.config_map, CONFIG_MAP_KEYS)
    if pools.ca_config_map:
        kubernetes.use_config_map_as_volume(task, pools.ca_config_map, CA_FOLDER)
        # Of our own client alone: SSL_CERT_FILE would take from KFP's launcher the authorities that it knows.
        task.set_env_variable(CA_VARIABLE, f"{CA_FOLDER}/{CA_KEY}")


def looks_back(*tasks: PipelineTask) -> None:
    """Lets tasks look into KFP's own bucket, for what earlier runs have made."""
    pools = cluster()
    if pools is not None:
        for task in tasks:
            # Without these keys a run reuses nothing, and goes on.
            kubernetes.use_secret_as_env(task, pools.artifacts.secret, reuse.KEYS, optional=True)
            task.set_env_variable(reuse.ENDPOINT_VARIABLE, pools.artifacts.endpoint)


def _give_resources(task: PipelineTask, pool: Pool) -> None:
    if pool.cpu:
        task.set_cpu_request(pool.cpu)
    if pool.cpu_limit:
        task.set_cpu_limit(pool.cpu_limit)
    if pool.memory:
        task.set_memory_request(pool.memory)
    if pool.memory_limit:
        task.set_memory_limit(pool.memory_limit)
    if pool.gpus:
        task.set_accelerator_type(pool.accelerator).set_accelerator_limit(pool.gpus)


def _attract(task: PipelineTask, affinity: Affinity) -> None:
    term: dict[str, Any] = {"key": affinity.key, "operator": affinity.operator}
    if affinity.values:
        term["values"] = list(affinity.values)
    kubernetes.add_node_affinity(task, match_expressions=[term], weight=affinity.weight or None)
