"""One TrainJob of Kubeflow Trainer, or one Job of sampling pods, from its creation to its end.

A job's name follows from the run and the stage, so that a launcher that was restarted, however often, finds
the job that it created, checks that it has the same specification, and resumes watching it. Queueing and
running have separate deadlines, which start at the cluster's time stamps and not with the launcher.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mathloop.cluster import train_job_waiting
from mathloop.cluster.kinds import JOB, POD, TRAIN_JOB, Kind
from mathloop.cluster.kubernetes import Cluster, seconds_of
from mathloop.cluster.refusals import ClusterRefused, Exists
from mathloop.cluster.termination import terminable
from mathloop.cluster.train_job_spec import HASH_LABEL, NODE
from mathloop.errors import MathloopError, UserError

REPORTED = "mathloop.dev/failure-reported"
"""Marks a failed job that a launcher has reported: the next launcher creates the job again."""
POLL_SECONDS = 5.0
LAST_LINES = 20
DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Shape:
    """A kind of job; its pods' containers are called NODE, and their labels have their index."""

    kind: Kind
    pods: str
    """Label selector of a job's pods, with {name}."""
    pool: str
    nodes: Callable[[Mapping[str, Any]], int]
    remedy: str
    """What to lower where a pod runs out of memory."""


TRAINING = Shape(
    TRAIN_JOB,
    f"jobset.sigs.k8s.io/jobset-name={{name}},jobset.sigs.k8s.io/replicatedjob-name={NODE}",
    "trainer",
    lambda job: int(job["spec"]["trainer"]["numNodes"]),
    "the stage's engine.micro_batch_tokens",
)
SAMPLING = Shape(
    JOB,
    "batch.kubernetes.io/job-name={name}",
    "sampler",
    lambda job: int(job["spec"]["completions"]),
    "the stage's sampling.batch_size",
)


class TrainJobFailed(MathloopError):
    """The job failed or a deadline passed; the message says which and ends with the last log lines.

    Its exit code is 2 where the pod's was: a mistake in settings or data.
    """


def run(
    cluster: Cluster,
    job: Mapping[str, Any],
    *,
    queue_seconds: float,
    run_seconds: float,
    say: Callable[[str], None] = print,
    poll_seconds: float = POLL_SECONDS,
    shape: Shape = TRAINING,
) -> None:
    """Creates the job or resumes it, shows node 0's log, waits until it is complete, and deletes it.

    SIGTERM and Ctrl-C delete the job, which frees its GPUs.

    Raises:
        TrainJobFailed: it failed (the job stays for inspection), or a deadline passed (it is deleted).
        ClusterRefused: the cluster refuses it, it can never start (it is deleted), or a job with other
            settings has its name.
    """
    with terminable():
        try:
            live = _create_or_adopt(cluster, shape, job, say, poll_seconds)
            _watch(cluster, shape, live, queue_seconds, run_seconds, say, poll_seconds)
        except (KeyboardInterrupt, SystemExit):
            named = job["metadata"]
            say(f"stopped: deleting {shape.kind.name} {named['name']}")
            cluster.delete(shape.kind, named["name"], named["namespace"])
            raise
    named = live["metadata"]
    cluster.delete(shape.kind, named["name"], named["namespace"], named["uid"])


def _create_or_adopt(
    cluster: Cluster, shape: Shape, job: Mapping[str, Any], say: Callable[[str], None], poll_seconds: float
) -> dict[str, Any]:
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    named = f"{shape.kind.name} {namespace}/{name}"
    while True:
        try:
            live = cluster.create(shape.kind, job)
        except Exists:
            pass
        else:
            say(f"created {named}")
            return live
        found = cluster.get(shape.kind, name, namespace)
        if found is None:
            continue
        metadata = found["metadata"]
        if metadata.get("deletionTimestamp"):
            time.sleep(poll_seconds)
        elif metadata.get("labels", {}).get(HASH_LABEL) != job["metadata"]["labels"][HASH_LABEL]:
            raise ClusterRefused(
                f"{named} exists with other settings; "
                f"kubectl delete {shape.kind.name.lower()} {name} -n {namespace}, then start again"
            )
        elif metadata.get("annotations", {}).get(REPORTED) and _condition(found, "Failed"):
            say(f"{named} failed before: creating it again")
            cluster.delete(shape.kind, name, namespace, metadata["uid"])
        else:
            say(f"resuming {named}")
            return found


def _watch(
    cluster: Cluster,
    shape: Shape,
    job: dict[str, Any],
    queue_seconds: float,
    run_seconds: float,
    say: Callable[[str], None],
    poll_seconds: float,
) -> None:
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    named = f"{shape.kind.name} {namespace}/{name}"
    log = _Log(cluster, namespace, say)
    last_phase = ""
    while True:
        live = cluster.get(shape.kind, name, namespace)
        pods = _pods(cluster, shape, name, namespace) if live is not None else []
        obstacle = None
        if live is not None and _waits(shape, live, pods):
            obstacle = train_job_waiting.find(cluster, live, pods, shape.pool)
        if live is None or live["metadata"]["uid"] != job["metadata"]["uid"]:
            raise TrainJobFailed(f"{named} was deleted by somebody else")
        first = next((pod for pod in pods if _index(pod) == 0), None)
        # Sampling pods do not wait for each other: the first one may be replaced while others work.
        starts = [_started(pod) for pod in (pods if shape is SAMPLING else [first])]
        started = min((start for start in starts if start is not None), default=None)
        if first is not None and _started(first) is not None:
            log.follow(first["metadata"]["name"])
        if _condition(live, "Complete"):
            log.finish()
            return
        if failure := _condition(live, "Failed"):
            log.finish()
            cluster.annotate(shape.kind, name, namespace, {REPORTED: "true"})
            reason = f"{failure['reason']}: {failure['message']}".rstrip(".")
            end, code = _exit(pods, shape)
            # Any sampling pod may be the one that failed, and the log is of the first.
            lines = "" if end and shape is SAMPLING else log.ending()
            error = TrainJobFailed(f"{named} failed ({reason}){end}{lines}")
            if shape is SAMPLING and code == UserError.exit_code:
                error.exit_code = code
            raise error
        if obstacle is not None and obstacle.is_final(time.time()):
            cluster.delete(shape.kind, name, namespace, live["metadata"]["uid"])
            raise ClusterRefused(f"{named} cannot start: {obstacle.text}; {obstacle.remedy}")
        queued = _condition(live, "Suspended") is not None or started is None
        since = _queued_since(live) if queued else started
        assert since is not None
        reason = f" ({obstacle.text})" if obstacle else ""
        limit, what = (queue_seconds, "waited") if queued else (run_seconds, "ran")
        if time.time() - since > limit:
            cluster.delete(shape.kind, name, namespace, live["metadata"]["uid"])
            remedy = "free nodes of its pool, or raise queue_seconds" if queued else "raise run_seconds"
            raise TrainJobFailed(
                f"{named} {what} for more than {limit:g} s{reason}: "
                f"{remedy} of pools.{shape.pool}" + ("" if queued else log.ending())
            )
        phase = f"{'waits for its nodes' if queued else 'runs'}{reason}"
        if phase != last_phase:
            say(f"{named} {phase}")
            last_phase = phase
        time.sleep(poll_seconds)


def _condition(job: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """The condition of this type if it is true."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def _queued_since(job: Mapping[str, Any]) -> float:
    suspended = _condition(job, "Suspended")
    created = seconds_of(job["metadata"]["creationTimestamp"])
    return max(created, seconds_of(suspended["lastTransitionTime"])) if suspended else created


def _waits(shape: Shape, job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some node of a job that has not ended is not running yet."""
    ended = _condition(job, "Complete") or _condition(job, "Failed")
    running = sum(_started(pod) is not None for pod in pods)
    return not ended and running < shape.nodes(job)


def _pods(cluster: Cluster, shape: Shape, job: str, namespace: str) -> list[dict[str, Any]]:
    """The newest pod of each node, in order of the nodes."""
    pods = cluster.listed(POD, namespace, shape.pods.format(name=job))
    newest = {_index(pod): pod for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])}
    return [newest[index] for index in sorted(newest)]


def _index(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"]["labels"].get("batch.kubernetes.io/job-completion-index", 0))


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


def _exit(pods: Sequence[Mapping[str, Any]], shape: Shape) -> tuple[str, int]:
    """How the first node that failed ended and what to do about it, and its exit code; 0 if unknown."""
    evicted = [pod for pod in pods if (pod.get("status") or {}).get("reason") == "Evicted"]
    if evicted:
        first = evicted[0]
        said = f", node {_index(first)}: Evicted: {first['status'].get('message', '')}"
        return said.rstrip(". "), 0
    ends = [(_index(pod), end) for pod in pods for state in _states(pod) if (end := state.get("terminated"))]
    if not ends:
        return "", 0
    # The others are stopped because of it, and end later.
    index, end = min(
        ends, key=lambda one: (one[1]["exitCode"] == 0, one[1].get("finishedAt") or "unknown", one[0])
    )
    said = f", node {index}: {end.get('reason', 'ended')}, exit code {end['exitCode']}"
    if end.get("reason") == "OOMKilled":
        said = f"{said}; raise pools.{shape.pool}.memory_limit, or lower {shape.remedy}"
    else:
        said += _own_error(end.get("message") or "")
    return said, end["exitCode"]


def _own_error(message: str) -> str:
    """ ": " and the text of our own error line at the end of a container's log; empty where there is none."""
    found = re.findall(r"mathloop: error: (.*)", message)
    return f": {found[-1]}" if found else ""


class _Log:
    """Follows the log of node 0 in its own thread, across broken streams and replaced pods."""

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
        """Waits, at most DRAIN_SECONDS, until all of the log is shown."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(DRAIN_SECONDS)
            self._thread = None

    def ending(self) -> str:
        """The last lines, for the end of a message."""
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
