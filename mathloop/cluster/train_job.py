"""One TrainJob of Kubeflow Trainer, from its creation to its end, however often its launcher is restarted.

A job's name follows from the run and the stage, so that a launcher that starts again finds the job that it
created before, compares what both were built from, and goes on watching it. It waits in a queue and runs
under two deadlines that are counted apart, from what the cluster says and not from when the launcher began.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from mathloop.cluster.config import Affinity, Pool
from mathloop.cluster.kubernetes import (
    POD,
    TRAIN_JOB,
    Cluster,
    ClusterRefused,
    Exists,
    Unreachable,
    seconds_of,
)
from mathloop.errors import MathloopError
from mathloop.storage.s3 import CA_VARIABLE

RUNTIME = "mathloop-torchrun"
SERVICE_ACCOUNT = "mathloop-trainer"
NODE = "node"
"""Name that Trainer gives a training node's job and container."""
MANAGER = "mathloop.dev/launcher"
HASH_LABEL = "mathloop.dev/spec-hash"
REPORTED = "mathloop.dev/failure-reported"
"""Marks a failed job whose launcher has said so: the next launcher of this name begins anew."""
TASK_VARIABLE = "MATHLOOP_TRAINING_TASK"
CA_FOLDER = "/etc/store-ca"
COMMAND = ("torchrun", "-m", "mathloop.cluster.training_node")
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 300.0
"""Seconds that the API server may be gone while a job is watched."""
LAST_LINES = 20
DRAIN_SECONDS = 10.0
TERMINATED = 128 + signal.SIGTERM


class TrainJobFailed(MathloopError):
    """The job failed, or a deadline passed; the message says which, and ends with its last log lines."""


def job_name(run_id: str, stage: str) -> str:
    """A name for the job of a run's stage: always the same, and a DNS label short enough for its pods'."""
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
    nodes: Mapping[str, str] | None = None,
    tolerations: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The TrainJob as Kubernetes takes it.

    Args:
        task: what each node reads from its environment; it holds no secret.
        secret: name of the Secret of the S3 keys, which pods get by reference.
        config_map: name of the ConfigMap of the S3 endpoint.
        ca_config_map: name of the ConfigMap with the authorities of its certificate, as ca.crt; empty: none.
        nodes: labels that replace the pool's own selector.
        tolerations: added to the pool's own.
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
                *_from("secretKeyRef", secret, {"accesskey": "AWS_ACCESS_KEY_ID"}),
                *_from("secretKeyRef", secret, {"secretkey": "AWS_SECRET_ACCESS_KEY"}),
                *_from("configMapKeyRef", config_map, {"endpoint": "MATHLOOP_S3_ENDPOINT"}),
                *_from("configMapKeyRef", config_map, {"region": "MATHLOOP_S3_REGION"}),
                *([{"name": CA_VARIABLE, "value": f"{CA_FOLDER}/ca.crt"}] if ca_config_map else []),
            ],
            **({"resourcesPerNode": pool.resources()} if pool.resources() else {}),
        },
        "runtimePatches": [
            {"manager": MANAGER, "trainingRuntimeSpec": _patch(pool, nodes, tolerations, ca_config_map)}
        ],
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


def _from(source: str, name: str, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": variable, "valueFrom": {source: {"name": name, "key": key}}}
        for key, variable in keys.items()
    ]


def _patch(
    pool: Pool,
    nodes: Mapping[str, str] | None,
    tolerations: list[dict[str, Any]] | None,
    ca_config_map: str,
) -> dict[str, Any]:
    """What of a pool is the pods': Trainer merges it into its runtime."""
    pod: dict[str, Any] = {"serviceAccountName": SERVICE_ACCOUNT}
    selector = dict(nodes or pool.node_selector)
    if selector:
        pod["nodeSelector"] = selector
    tolerated = [item.to_kubernetes() for item in pool.tolerations] + list(tolerations or [])
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
    """A pod's nodeAffinity: demands without a weight must all hold, the others are preferences."""
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


def run(
    cluster: Cluster,
    job: Mapping[str, Any],
    *,
    queue_seconds: float,
    run_seconds: float,
    say: Callable[[str], None] = print,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Creates the job or goes on with it, shows node 0's log, waits until it is complete, and deletes it.

    SIGTERM and Ctrl-C delete the job: who stops a run wants its GPUs back.

    Raises:
        TrainJobFailed: it failed (the job stays, to be looked at), or a deadline passed (it is deleted).
        ClusterRefused: the cluster does not take it, or a job of other settings has its name.
    """
    with _terminable():
        try:
            live = _create_or_adopt(cluster, job, say, poll_seconds)
            _watch(cluster, live, queue_seconds, run_seconds, say, poll_seconds)
        except (KeyboardInterrupt, SystemExit):
            named = job["metadata"]
            say(f"stopped: deleting TrainJob {named['name']}")
            cluster.delete(TRAIN_JOB, named["name"], named["namespace"])
            raise
    named = live["metadata"]
    cluster.delete(TRAIN_JOB, named["name"], named["namespace"], named["uid"])


def _create_or_adopt(
    cluster: Cluster, job: Mapping[str, Any], say: Callable[[str], None], poll_seconds: float
) -> dict[str, Any]:
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    while True:
        try:
            live = cluster.create(TRAIN_JOB, job)
        except Exists:
            pass
        else:
            say(f"created TrainJob {namespace}/{name}")
            return live
        found = cluster.get(TRAIN_JOB, name, namespace)
        if found is None:
            continue
        told = found["metadata"]
        if told.get("deletionTimestamp"):
            time.sleep(poll_seconds)
        elif told.get("labels", {}).get(HASH_LABEL) != job["metadata"]["labels"][HASH_LABEL]:
            raise ClusterRefused(
                f"TrainJob {namespace}/{name} is there with other settings; "
                f"kubectl delete trainjob {name} -n {namespace}, then start again"
            )
        elif told.get("annotations", {}).get(REPORTED) and _condition(found, "Failed"):
            say(f"TrainJob {namespace}/{name} failed before: beginning anew")
            cluster.delete(TRAIN_JOB, name, namespace, told["uid"])
        else:
            say(f"going on with TrainJob {namespace}/{name}")
            return found


def _watch(
    cluster: Cluster,
    job: dict[str, Any],
    queue_seconds: float,
    run_seconds: float,
    say: Callable[[str], None],
    poll_seconds: float,
) -> None:
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    log = _Log(cluster, namespace, say)
    last_answer, last_said = time.monotonic(), ""
    while True:
        try:
            live = cluster.get(TRAIN_JOB, name, namespace)
            pod = _first_pod(cluster, name, namespace) if live is not None else None
            last_answer = time.monotonic()
        except Unreachable as error:
            if time.monotonic() - last_answer > PATIENCE_SECONDS:
                raise
            say(f"waiting for the cluster: {error}")
            time.sleep(poll_seconds)
            continue
        if live is None or live["metadata"]["uid"] != job["metadata"]["uid"]:
            raise TrainJobFailed(f"TrainJob {namespace}/{name} was deleted by somebody else")
        started = _started(pod)
        if pod is not None and started is not None:
            log.follow(pod["metadata"]["name"])
        if _condition(live, "Complete"):
            log.finish()
            return
        if failure := _condition(live, "Failed"):
            log.finish()
            cluster.annotate(TRAIN_JOB, name, namespace, {REPORTED: "true"})
            reason = f"{failure['reason']}: {failure['message']}".rstrip(".")
            raise TrainJobFailed(f"TrainJob {namespace}/{name} failed ({reason}){_exit(pod)}{log.ending()}")
        queued = _condition(live, "Suspended") is not None or started is None
        since = _queued_since(live) if queued else started
        assert since is not None
        limit, what = (queue_seconds, "waited") if queued else (run_seconds, "ran")
        if time.time() - since > limit:
            cluster.delete(TRAIN_JOB, name, namespace, live["metadata"]["uid"])
            remedy = "free nodes of its pool, or raise queue_seconds" if queued else "raise run_seconds"
            raise TrainJobFailed(
                f"TrainJob {namespace}/{name} {what} for more than {limit:g} s: {remedy} of pools.trainer"
                + ("" if queued else log.ending())
            )
        said = "waits for its nodes" if queued else "runs"
        if said != last_said:
            say(f"TrainJob {namespace}/{name} {said}")
            last_said = said
        time.sleep(poll_seconds)


def _condition(job: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """The condition of this type where it holds."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def _queued_since(job: Mapping[str, Any]) -> float:
    suspended = _condition(job, "Suspended")
    created = seconds_of(job["metadata"]["creationTimestamp"])
    return max(created, seconds_of(suspended["lastTransitionTime"])) if suspended else created


def _first_pod(cluster: Cluster, job: str, namespace: str) -> dict[str, Any] | None:
    """The newest pod of node 0."""
    labels = f"jobset.sigs.k8s.io/jobset-name={job},jobset.sigs.k8s.io/replicatedjob-name={NODE}"
    pods = cluster.listed(POD, namespace, f"{labels},batch.kubernetes.io/job-completion-index=0")
    return max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)


def _started(pod: Mapping[str, Any] | None) -> float | None:
    """When the pod's training container started, in seconds since the epoch."""
    for state in _states(pod):
        for kind in ("running", "terminated"):
            if stamp := (state.get(kind) or {}).get("startedAt"):
                return seconds_of(stamp)
    return None


def _states(pod: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return [status.get("state") or {} for status in statuses if status["name"] == NODE]


def _exit(pod: Mapping[str, Any] | None) -> str:
    for state in _states(pod):
        if ended := state.get("terminated"):
            return f", node 0: {ended.get('reason', 'ended')}, exit code {ended['exitCode']}"
    return ""


class _Log:
    """Follows the log of node 0 in a thread of its own, across broken streams and pods that are replaced."""

    def __init__(self, cluster: Cluster, namespace: str, say: Callable[[str], None]) -> None:
        self._cluster, self._namespace, self._say = cluster, namespace, say
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._pod = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, pod: str) -> None:
        """Follows this pod from now on."""
        if pod != self._pod:
            self.finish()
            self._pod, self._ending = pod, threading.Event()
            self._thread = threading.Thread(target=self._stream, args=(pod, self._ending), daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Waits until what was logged is shown, for some seconds at most."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(DRAIN_SECONDS)
            self._thread = None

    def ending(self) -> str:
        """The last lines, to be put after a message."""
        return "".join(f"\n  {line}" for line in self._last)

    def _stream(self, pod: str, ending: threading.Event) -> None:
        since = ""
        while True:
            last_pass = ending.is_set()
            with suppress(MathloopError):
                for line in self._cluster.log_lines(pod, self._namespace, NODE, since or None):
                    stamp, _, text = line.partition(" ")
                    if stamp > since:
                        since = stamp
                        self._last.append(text)
                        self._say(text)
            if last_pass:
                return
            ending.wait(1.0)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turns SIGTERM, with which Kubernetes ends a pod, into SystemExit."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
