"""Releases on a cluster: the InferenceServices of one champion, found, created, waited for and removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mathloop.cluster.inference_services import (
    HASH,
    MANAGED_BY,
    MANAGER,
    POD_LABEL,
    RELEASE,
    SOLVER,
    Service,
    services_of,
    state_of,
    to_object,
)
from mathloop.cluster.kinds import INFERENCE_SERVICE, POD
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Exists, Unreachable
from mathloop.errors import MathloopError
from mathloop.registry import Champion
from mathloop.settings.pools import REMOVAL_SECONDS, DeploymentConfig

Objects = list[dict[str, Any]]


class DeploymentFailed(MathloopError):
    """The champion is not served; the message says why and which champion is."""


def wanted_services(
    champion: Champion,
    store_url: str,
    config: DeploymentConfig,
    found: Mapping[str, Objects],
    served: str,
) -> list[Service]:
    """The champion's services: those of a complete release with these models and settings, if there is one.

    A champion made by a rollback has the models of an earlier one, whose services may still run. A release is
    never changed, so the served champion with other settings gets a second one.

    Args:
        found: release → its InferenceServices.
        served: the release that users reach; empty if none.
    """
    for release in sorted(found, key=lambda one: (one != served, one)):
        services = services_of(champion, store_url, config, release)
        hashes = {one["metadata"]["name"]: _hash(one) for one in found[release] if not _is_deleted(one)}
        if {service.name: service.hash for service in services}.items() <= hashes.items():
            return services
    release = f"c{champion.number}"
    return services_of(champion, store_url, config, f"{release}-2" if release == served else release)


class Releases:
    """The releases in one namespace of a cluster."""

    def __init__(
        self, cluster: Cluster, config: DeploymentConfig, say: Callable[[str], None], poll_seconds: float
    ) -> None:
        self._cluster, self._config, self._say, self._poll = cluster, config, say, poll_seconds

    def found(self) -> dict[str, Objects]:
        """Release → its InferenceServices."""
        releases: dict[str, Objects] = {}
        selector = f"{MANAGED_BY}={MANAGER},{RELEASE}"
        for found in self._cluster.listed(INFERENCE_SERVICE, self._config.namespace, selector):
            releases.setdefault(found["metadata"]["labels"][RELEASE], []).append(found)
        return releases

    def create(self, services: Sequence[Service]) -> bool:
        """Creates what is missing, and anew what differs or cannot start; returns whether it created any."""
        created = False
        for service in services:
            found = self._cluster.get(INFERENCE_SERVICE, service.name, self._config.namespace)
            if found is not None:
                if not _is_deleted(found) and _hash(found) == service.hash and not self._failed(found):
                    continue
                self.remove([found])
            try:
                self._cluster.create(INFERENCE_SERVICE, to_object(service))
            except Exists:  # it was created by a request whose answer was lost, or by another deployment
                found = self._cluster.get(INFERENCE_SERVICE, service.name, self._config.namespace)
                if found is None or _hash(found) != service.hash:
                    raise DeploymentFailed(f"another deployment creates {service.name}: run again") from None
            self._say(f"{service.name}: created for champion {service.champion}")
            created = True
        return created

    def wait(self, services: Sequence[Service]) -> None:
        """Returns when all are ready.

        Raises:
            DeploymentFailed: one was not in time, cannot start, or was deleted.
        """
        deadline = time.monotonic() + self._config.ready_seconds
        for service in services:
            last = ""
            while True:
                try:
                    pending = self.pending(service)
                except Unreachable as error:
                    pending = str(error)
                if not pending:
                    break
                if pending != last:
                    self._say(f"{service.name}: waiting; {pending}")
                    last = pending
                if time.monotonic() > deadline:
                    limit = f"{self._config.ready_seconds} s (deployment.ready_seconds)"
                    raise DeploymentFailed(f"{service.name} is not ready after {limit}: {pending}")
                time.sleep(self._poll)
            self._say(f"{service.name}: ready")

    def pending(self, service: Service) -> str:
        """What the service waits for; empty if it is ready.

        Raises:
            DeploymentFailed: it cannot start, or was deleted.
        """
        found = self._cluster.get(INFERENCE_SERVICE, service.name, self._config.namespace)
        if found is None or _is_deleted(found):
            raise DeploymentFailed(f"InferenceService {service.name} was deleted by somebody else")
        state = state_of(found, self._pods(service.name))
        if state.failed:
            last = self._show_log(service.name)
            raise DeploymentFailed(f"{service.name} cannot start ({state.failed}){last and f': {last}'}")
        return "" if state.ready else state.pending

    def address(self, service: Service) -> str:
        """URL of this service alone, inside the cluster."""
        found = self._cluster.get(INFERENCE_SERVICE, service.name, self._config.namespace) or {}
        status = found.get("status") or {}
        return str((status.get("address") or {}).get("url") or status.get("url") or "")

    def remove(self, doomed: Iterable[Mapping[str, Any]], *, wait: bool = True) -> None:
        """Deletes InferenceServices: solvers first, which finish their requests by the other services.

        Args:
            wait: until the pods are gone, which free their GPUs and quota only then.
        """
        solvers: Objects = []
        others: Objects = []
        for found in doomed:
            (solvers if found["metadata"]["name"].startswith(SOLVER) else others).append(found["metadata"])
        for group in (solvers, others):
            for named in group:
                self._cluster.delete(INFERENCE_SERVICE, named["name"], named["namespace"], named["uid"])
                self._say(f"{named['name']}: deleted")
            if wait and group:
                self._wait_until_gone([named["name"] for named in group])

    def _wait_until_gone(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + REMOVAL_SECONDS
        for name in names:
            while self._exists(name):
                if time.monotonic() > deadline:
                    self._say(f"{name}: its pods are still there after {REMOVAL_SECONDS} s; going on")
                    break
                time.sleep(self._poll)

    def _exists(self, name: str) -> bool:
        found = self._cluster.get(INFERENCE_SERVICE, name, self._config.namespace)
        return found is not None or bool(self._pods(name))

    def _failed(self, found: Mapping[str, Any]) -> bool:
        return bool(state_of(found, self._pods(found["metadata"]["name"])).failed)

    def _pods(self, name: str) -> Objects:
        return self._cluster.listed(POD, self._config.namespace, f"{POD_LABEL}={name}")

    def _show_log(self, name: str) -> str:
        """Shows the end of the failed container's log, which is gone with its pod; returns the last line."""
        last = ""
        for pod in self._pods(name)[:1]:
            status = pod.get("status") or {}
            for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                if container.get("restartCount", 0) and not container.get("ready"):
                    try:
                        lines = self._cluster.last_lines(
                            pod["metadata"]["name"], self._config.namespace, container["name"]
                        )
                    except ClusterRefused as error:
                        lines = [str(error)]
                    for line in lines:
                        self._say(f"{container['name']}| {line}")
                        last = line.strip()[:300] or last
        return last


def _hash(found: Mapping[str, Any]) -> str:
    return str((found["metadata"].get("annotations") or {}).get(HASH, ""))


def _is_deleted(found: Mapping[str, Any]) -> bool:
    return bool(found["metadata"].get("deletionTimestamp"))
