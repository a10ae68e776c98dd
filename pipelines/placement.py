"""Places tasks on a cluster's node pools; no other module does. Local runs ignore all of it.

A pipeline is traced twice: on import, for a local run with the stages' defaults, and again by
`pipelines.tracing.trace` for one profile. Traced for a cluster, every task gets the settings of its pool, and
references to the ConfigMap and the Secret with the store's address and keys, never the values.

kfp-kubernetes 2.17 cannot set: a pod's priorityClassName (a pool's `priority` is Kueue's), affinity between
pods, capabilities (KFP itself drops them all), and tolerations of KFP's driver pods, which therefore need a
node without taints.
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
from mathloop.cluster.job_pods import SECRET_KEYS, STORE_PATIENCE
from mathloop.cluster.preflight import CODE_VERSION_VARIABLE
from mathloop.retrying import PATIENCE_VARIABLE
from mathloop.settings import Settings
from mathloop.settings.pools import CA_FOLDER, CA_KEY, DAY, Affinity, Pool, PoolsConfig
from mathloop.storage.s3 import CA_VARIABLE
from mathloop.training.config import CHECKPOINTS_VARIABLE

CONFIG_MAP_KEYS = {
    "endpoint": "MATHLOOP_S3_ENDPOINT",
    "region": "MATHLOOP_S3_REGION",
    "store": reuse.LEDGER_VARIABLE,
}
LABELS = {f"app.kubernetes.io/{key}": "mathloop" for key in ("name", "part-of", "managed-by")}
STORE_CLIENT = {"mathloop.dev/store-client": "true"}
"""Label of pods that network policies allow to connect to the store."""
SHARED_MEMORY = "/dev/shm"
BACKOFF = {"backoff_duration": "30s", "backoff_factor": 2.0}
LONGEST_SECONDS = 7 * DAY
"""A task without a timeout is taken to end within this time."""


def _ensure_container_spec_exists(task: PipelineTask) -> None:
    if task.container_spec is None:
        raise ValueError("only a task of a single step has resources and environment variables")


# KFP's own asks inspect.stack() for its caller's name, for every setting of every task: that looks through
# all loaded modules for each frame, a fifth of a `mathloop compile` and four fifths of one in pytest.
PipelineTask._ensure_container_spec_exists = _ensure_container_spec_exists

PoolName = Literal["sampler", "trainer", "control"]


@dataclass(frozen=True)
class Placement:
    """The target that a pipeline is traced for."""

    pools: PoolsConfig | None
    """None: a local run."""
    code_version: str = ""
    """Part of KFP's cache key, through preflight; empty: not part of it."""
    profile: str = ""
    """All settings as JSON; empty: the stages' defaults."""


_HERE = Placement(None)
_current: ContextVar[Placement] = ContextVar("placement", default=_HERE)


@contextmanager
def placed(placement: Placement) -> Iterator[None]:
    """Sets the placement for pipelines traced inside."""
    token = _current.set(placement)
    try:
        yield
    finally:
        _current.reset(token)


def cluster() -> PoolsConfig | None:
    """The pools that the pipeline is being traced for; None for a local run."""
    return _current.get().pools


def profile() -> str:
    """All settings of the profile that the pipeline is being traced for, as JSON."""
    return _current.get().profile


def traced_settings() -> Settings:
    """The same, parsed; without a profile the stages' defaults."""
    return Settings.model_validate_json(profile() or "{}")


def place(name: PoolName, *tasks: PipelineTask, seconds: int = 0) -> None:
    """Makes tasks run in a pool.

    Args:
        seconds: replaces the pool's timeout, for a task that waits for other pods.
    """
    pools = cluster()
    if pools is None:
        return
    for task in tasks:
        _configure(task, name, pools)
        timeout = seconds or getattr(pools, name).timeout_seconds
        if timeout:
            kubernetes.set_timeout(task, timeout)
        if pools.retries:
            _retry(task, pools.retries, timeout)


def _retry(task: PipelineTask, retries: int, seconds: int) -> None:
    """Makes Argo run a task again whose pod was deleted, as when a node is drained; training resumes.

    KFP leaves Argo's policy at OnError, so that a process which ended with an error is not run again: what is
    worth another try (a store or an API server that is away) is tried again by the stage itself.

    Args:
        seconds: the task's timeout; 0: none.
    """
    # Argo counts the backoff's maximum from the first attempt's creation: it must outlast all attempts and
    # their waiting for nodes.
    task.set_retry(
        retries, **BACKOFF, backoff_max_duration=f"{(retries + 1) * (DAY + (seconds or LONGEST_SECONDS))}s"
    )


def _configure(task: PipelineTask, name: str, pools: PoolsConfig) -> None:
    pool: Pool = getattr(pools, name)
    _set_resources(task, pool)
    for key, value in pool.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pool.tolerations:
        kubernetes.add_toleration(task, **toleration.to_kubernetes())
    for affinity in pool.affinity:
        _add_affinity(task, affinity)
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
    _add_store_access(task, pools)
    if name == "trainer":  # checkpoints must survive the pod's disk
        kubernetes.use_config_map_as_env(task, pools.config_map, {"store": CHECKPOINTS_VARIABLE})
    if version := _current.get().code_version:
        task.set_env_variable(CODE_VERSION_VARIABLE, version)


def _add_store_access(task: PipelineTask, pools: PoolsConfig) -> None:
    """Adds the store's address and keys, by reference."""
    if pools.secret:
        kubernetes.use_secret_as_env(task, pools.secret, SECRET_KEYS)
    kubernetes.use_config_map_as_env(task, pools.config_map, CONFIG_MAP_KEYS)
    task.set_env_variable(PATIENCE_VARIABLE, STORE_PATIENCE)
    if pools.ca_config_map:
        kubernetes.use_config_map_as_volume(task, pools.ca_config_map, CA_FOLDER)
        # For our own client only: SSL_CERT_FILE would replace the CA certificates of KFP's launcher.
        task.set_env_variable(CA_VARIABLE, f"{CA_FOLDER}/{CA_KEY}")


def allow_artifact_checks(*tasks: PipelineTask) -> None:
    """Gives tasks access to KFP's artifact bucket, to check that earlier runs' outputs still exist."""
    pools = cluster()
    if pools is not None:
        for task in tasks:
            # Optional: without these keys a run reuses nothing, but works.
            kubernetes.use_secret_as_env(task, pools.artifacts.secret, reuse.KEYS, optional=True)
            task.set_env_variable(reuse.ENDPOINT_VARIABLE, pools.artifacts.endpoint)


def _set_resources(task: PipelineTask, pool: Pool) -> None:
    if cpu := pool.request("cpu"):
        task.set_cpu_request(cpu)
    if pool.cpu_limit:
        task.set_cpu_limit(pool.cpu_limit)
    if memory := pool.request("memory"):
        task.set_memory_request(memory)
    if pool.memory_limit:
        task.set_memory_limit(pool.memory_limit)
    if pool.gpus:
        task.set_accelerator_type(pool.accelerator).set_accelerator_limit(pool.gpus)


def _add_affinity(task: PipelineTask, affinity: Affinity) -> None:
    term: dict[str, Any] = {"key": affinity.key, "operator": affinity.operator}
    if affinity.values:
        term["values"] = list(affinity.values)
    kubernetes.add_node_affinity(task, match_expressions=[term], weight=affinity.weight or None)
