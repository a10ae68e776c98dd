"""Why a TrainJob does not run yet, in the words of Kueue, the scheduler and the kubelet, and if it ever will.

The messages are those of Kueue 0.19 and Kubernetes 1.34. One that is not known here is shown and waited for.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mathloop.cluster.kinds import EVENT, WORKLOAD
from mathloop.cluster.kubernetes import Cluster, seconds_of
from mathloop.cluster.refusals import MANIFESTS, ClusterRefused, Unreachable
from mathloop.cluster.train_job_spec import NODE

PATIENCE_SECONDS = 300.0
"""How long something that is missing, such as an image or a Secret, may still be made by somebody."""
JOB_UID = "kueue.x-k8s.io/job-uid"
"""Kueue's label of a Workload."""
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{unit}i": 1024.0**power for power, unit in enumerate("KMGT", 1)
}
LENGTH = 500
"""Longest message that is shown, in characters."""

_UNCOVERED = re.compile(r"resource (\S+) unavailable in ClusterQueue")
_TOO_MUCH = re.compile(r"insufficient quota for (\S+) in flavor (\S+), .*maximum capacity \(([^)>]*)\)")
_NO_FLAVOR = re.compile(r"doesn't match node affinity|untolerated taint|flavor \S+ not found")
_NO_QUEUE = re.compile(r"Queue \S+ doesn't exist|namespace doesn't match ClusterQueue selector")
_LATER = re.compile(r"insufficient unused quota|preemption")
_NO_IMAGE = re.compile(
    r"not ?found|manifest unknown|does not exist|name unknown|is not present", re.IGNORECASE
)
_NO_OBJECT = re.compile(r"(secret|configmap|serviceaccount)s? \S+ not found|couldn't find key", re.I)
_QUOTA = re.compile(r"exceeded quota: (\S+), requested: (\S+), used: \S+, limited: (\S+)")
_REFUSED = re.compile(r"violates PodSecurity|is invalid")


@dataclass(frozen=True)
class Obstacle:
    """What keeps a TrainJob from running."""

    text: str
    remedy: str = ""
    """What to do, where waiting does not help."""
    since: float = 0.0
    """Seconds since the epoch."""
    patience: float = math.inf
    """How long it is waited for, in seconds from `since`."""

    def is_final(self, now: float) -> bool:
        """Whether waiting longer is useless."""
        return now - self.since >= self.patience


def find(
    cluster: Cluster, job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], pool: str = "trainer"
) -> Obstacle | None:
    """The obstacle of a job that Kueue holds back (`spec.suspend`) or whose `pods` are not all running.

    None where nothing is known. Raises Unreachable.
    """
    try:
        if job["spec"].get("suspend"):
            return _in_queue(cluster, job, pool)
        in_pods = min(_in_pods(pods), key=lambda obstacle: obstacle.patience, default=None)
        return in_pods or _in_events(cluster, job, pool)
    except Unreachable:
        raise
    except ClusterRefused as error:
        return Obstacle(f"the reason cannot be read: {error}")


def _in_queue(cluster: Cluster, job: Mapping[str, Any], pool: str) -> Obstacle | None:
    metadata = job["metadata"]
    workloads = cluster.listed(WORKLOAD, metadata["namespace"], f"{JOB_UID}={metadata['uid']}")
    for workload in workloads:
        for condition in (workload.get("status") or {}).get("conditions") or []:
            # A Workload with quota still waits for its admission checks.
            if condition["type"] in ("QuotaReserved", "Admitted") and condition["status"] == "False":
                return _of_kueue(condition, workload["spec"].get("queueName", ""), pool)
    return None


def _of_kueue(condition: Mapping[str, Any], queue: str, pool: str) -> Obstacle:
    message = _line(condition["message"])
    text, since = f"Kueue: {message}", seconds_of(condition["lastTransitionTime"])
    if uncovered := _UNCOVERED.search(message):
        remedy = f"add {uncovered[1]} to the coveredResources and quotas of the ClusterQueue of {queue}"
        return Obstacle(text, remedy, since, 0.0)
    if _NO_QUEUE.search(message):
        return Obstacle(text, f"add the component kueue: {MANIFESTS}", since, PATIENCE_SECONDS)
    if _LATER.search(message):
        return Obstacle(text)
    if too_much := _TOO_MUCH.search(message):
        remedy = (
            f"request less {too_much[1]} in pools.{pool}, or raise the nominalQuota of flavor {too_much[2]}"
        )
        return Obstacle(text, remedy, since, 0.0)
    if _NO_FLAVOR.search(message):
        remedy = f"correct pools.{pool}'s node_selector and tolerations, or the ResourceFlavors"
        return Obstacle(text, remedy, since, 0.0)
    return Obstacle(text)


def _in_pods(pods: Sequence[Mapping[str, Any]]) -> Iterator[Obstacle]:
    for pod in pods:
        status = pod.get("status") or {}
        since = seconds_of(pod["metadata"]["creationTimestamp"])
        for condition in status.get("conditions") or []:
            if condition["type"] == "PodScheduled":
                if condition["status"] == "False":
                    yield Obstacle(f"{condition['reason']}: {_line(condition.get('message', ''))}")
                else:
                    since = seconds_of(condition["lastTransitionTime"])
        for container in status.get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                yield _of_container(container, waiting, since)


def _of_container(container: Mapping[str, Any], waiting: Mapping[str, Any], since: float) -> Obstacle:
    reason, message = waiting["reason"], _line(waiting.get("message", ""))
    text = f"{reason}: {message}"
    image = container["image"]
    if reason == "InvalidImageName":
        return Obstacle(text, f"correct the name of the image {image}", since, 0.0)
    if "Image" in reason and _NO_IMAGE.search(message):
        remedy = f"build and push {image}, or name your registry in the overlay's images"
        return Obstacle(text, remedy, since, PATIENCE_SECONDS)
    if _NO_OBJECT.search(message):
        return Obstacle(text, _make_it(message), since, PATIENCE_SECONDS)
    return Obstacle(text)


def _in_events(cluster: Cluster, job: Mapping[str, Any], pool: str) -> Obstacle | None:
    """A recent warning about the job's pods or what makes them: a volume, a quota, an account."""
    metadata = job["metadata"]
    own = re.compile(rf"{re.escape(metadata['name'])}(-({NODE}|[0-9]+)-.*)?")
    created = seconds_of(metadata["creationTimestamp"])
    recent = max(created, time.time() - PATIENCE_SECONDS)
    warnings = [
        event
        for event in cluster.listed(EVENT, metadata["namespace"], fields="type=Warning")
        if own.fullmatch(event["involvedObject"].get("name", ""))
        and event["reason"] != "FailedScheduling"  # a pod's condition says whether that is over
        and _seen(event) >= recent
    ]
    obstacles = [_of_event(event, created, pool) for event in sorted(warnings, key=_seen, reverse=True)]
    return min(obstacles, key=lambda obstacle: obstacle.patience, default=None)


def _of_event(event: Mapping[str, Any], created: float, pool: str) -> Obstacle:
    message = _line(event.get("message", ""))
    text, since = f"{event['reason']}: {message}", max(created, _seen(event, first=True))
    if _NO_OBJECT.search(message):
        return Obstacle(text, _make_it(message), since, PATIENCE_SECONDS)
    if resource := _above_quota(message):
        remedy = f"request less in pools.{pool}, or raise {resource} in the namespace's ResourceQuota"
        return Obstacle(text, remedy, since, 0.0)
    if _REFUSED.search(message):
        return Obstacle(text, f"apply this version's manifests: {MANIFESTS}", since, PATIENCE_SECONDS)
    return Obstacle(text)


def _above_quota(message: str) -> str:
    """The resource of which a pod requests more than a ResourceQuota allows in all; empty: there is none."""
    found = _QUOTA.search(message)
    if not found:
        return ""
    requested, limited = (dict(pair.split("=") for pair in found[n].split(",")) for n in (2, 3))
    return next((name for name in requested if _amount(requested[name]) > _amount(limited[name])), "")


def _amount(quantity: str) -> float:
    """Of a Kubernetes quantity, such as 500m, 4 or 2Gi; NaN, which is above nothing, of any other text."""
    found = re.fullmatch(r"([0-9.]+)(\D*)", quantity)
    return float(found[1]) * UNITS.get(found[2], math.nan) if found else math.nan


def _seen(event: Mapping[str, Any], *, first: bool = False) -> float:
    """When the event was seen last, or first; its recorders fill in different fields."""
    names = ("firstTimestamp", "eventTime") if first else ("lastTimestamp", "eventTime")
    stamp = next((event[name] for name in names if event.get(name)), event["metadata"]["creationTimestamp"])
    return seconds_of(stamp)


def _make_it(message: str) -> str:
    if "secret" in message.lower():
        return "create this Secret (docs/cluster.md), or correct its name in pools"
    return f"apply it: {MANIFESTS}"


def _line(message: str) -> str:
    line = " ".join(message.split()).rstrip(".")
    return line if len(line) <= LENGTH else f"{line[: LENGTH - 1]}…"
