"""The address of the served champion: the Service `mathloop`, and an HTTPRoute where there is a gateway.

The Service selects the pods of one champion's solver, and its annotations name that champion and the former
one: they are written in one request, so that a deployment may be killed at any moment. A canary's share of
the traffic is a second backend of the HTTPRoute, whose other backend is the Service.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mathloop.cluster.inference_services import CHAMPION, MANAGED_BY, MANAGER, POD_LABEL, SOLVER
from mathloop.cluster.kinds import HTTP_ROUTE, SERVICE
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import Changed, ClusterRefused, Exists
from mathloop.cluster.rollout import DeploymentFailed
from mathloop.settings.pools import DRAIN_SECONDS, DeploymentConfig

NAME = "mathloop"
PORT = 80
FORMER = "mathloop.dev/former"
TARGET_PORTS = {"Standard": 8080, "Knative": 8012}
"""Port of the solver's pods; Knative's is that of its proxy beside the solver, which counts requests."""
TRIES = 5
"""Attempts to apply a change to the newest version of an object that somebody else changed."""
LABELS = {
    "app.kubernetes.io/name": NAME,
    "app.kubernetes.io/part-of": "mathloop",
    "app.kubernetes.io/component": "solver",
    MANAGED_BY: MANAGER,
}


@dataclass(frozen=True)
class Served:
    """A champion and the release that serves it."""

    champion: str
    """Its number; after a rollback, the release has that of the earlier champion with the same models."""
    release: str

    def __str__(self) -> str:
        return f"champion {self.champion} ({SOLVER}-{self.release})"


@dataclass(frozen=True)
class Serving:
    """Which champions the Service names."""

    served: Served | None
    former: Served | None


def url(namespace: str) -> str:
    """The stable address inside the cluster."""
    return f"http://{NAME}.{namespace}.svc.cluster.local"


class StableAddress:
    """The Service and the HTTPRoute of one namespace."""

    def __init__(self, cluster: Cluster, config: DeploymentConfig) -> None:
        self._cluster, self._config = cluster, config

    def read(self) -> Serving:
        """Which champion is served, and which was before."""
        return _parse(self._service())

    def switch(self, seen: Serving, new: Served, former: Served | None) -> Serving:
        """Lets the Service select `new`, if it still selects what was `seen`.

        Raises:
            DeploymentFailed: another deployment changed it.
        """
        for _ in range(TRIES):
            found = self._service()
            if _parse(found) == Serving(new, former):  # perhaps by a request whose answer was lost
                break
            if _parse(found).served != seen.served:
                raise DeploymentFailed("another deployment changed the Service mathloop meanwhile: run again")
            try:
                if found is None:
                    self._cluster.create(SERVICE, self._changed(self._first(), new, former))
                else:
                    self._cluster.replace(SERVICE, self._changed(found, new, former))
            except (Changed, Exists):
                continue
            break
        else:
            raise ClusterRefused(f"Service {self._config.namespace}/{NAME} changes all the time: run again")
        return Serving(new, former)

    def share(self, release: str, percent: int) -> None:
        """Gives a release a share of the gateway's traffic, the Service the rest; no-op without a gateway."""
        if not self._config.gateway.name:
            return
        canary = {"name": f"{SOLVER}-{release}-predictor", "port": PORT, "weight": percent}
        backends = [{"name": NAME, "port": PORT, "weight": 100 - percent}, *([canary] if percent else [])]
        for _ in range(TRIES):
            found = self._cluster.get(HTTP_ROUTE, NAME, self._config.namespace)
            try:
                if found is None:
                    self._cluster.create(HTTP_ROUTE, self._route(backends))
                else:
                    found["spec"] = self._route(backends)["spec"]
                    self._cluster.replace(HTTP_ROUTE, found)
            except (Changed, Exists):
                continue
            return
        raise ClusterRefused(f"HTTPRoute {self._config.namespace}/{NAME} changes all the time: run again")

    def _service(self) -> dict[str, Any] | None:
        found = self._cluster.get(SERVICE, NAME, self._config.namespace)
        if found is not None and (found["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
            raise ClusterRefused(
                f"Service {self._config.namespace}/{NAME} is not mathloop's (it lacks the label "
                f"{MANAGED_BY}={MANAGER}): delete it, or set deployment.namespace"
            )
        return found

    def _first(self) -> dict[str, Any]:
        return {
            "apiVersion": SERVICE.api_version,
            "kind": SERVICE.name,
            "metadata": {"name": NAME, "namespace": self._config.namespace, "labels": LABELS},
            "spec": {"ports": [{"name": "http", "port": PORT, "protocol": "TCP"}]},
        }

    def _changed(self, body: dict[str, Any], new: Served, former: Served | None) -> dict[str, Any]:
        """The Service with another selector; its type and other people's annotations stay."""
        notes = body["metadata"].setdefault("annotations", {})
        notes[CHAMPION] = new.champion
        notes.pop(FORMER, None)
        if former is not None:
            notes[FORMER] = json.dumps({"champion": former.champion, "release": former.release})
        body["spec"]["selector"] = {POD_LABEL: f"{SOLVER}-{new.release}", "component": "predictor"}
        for port in body["spec"]["ports"]:
            if port["port"] == PORT:
                port["targetPort"] = TARGET_PORTS[self._config.mode]
        return body

    def _route(self, backends: list[dict[str, Any]]) -> dict[str, Any]:
        gateway = self._config.gateway
        parent = {"name": gateway.name, **({"namespace": gateway.namespace} if gateway.namespace else {})}
        timeout = f"{DRAIN_SECONDS}s"  # gateways' own are far below a question's deadline
        return {
            "apiVersion": HTTP_ROUTE.api_version,
            "kind": HTTP_ROUTE.name,
            "metadata": {"name": NAME, "namespace": self._config.namespace, "labels": LABELS},
            "spec": {
                "parentRefs": [parent],
                **({"hostnames": [gateway.hostname]} if gateway.hostname else {}),
                "rules": [{"backendRefs": backends, "timeouts": {"request": timeout}}],
            },
        }


def _parse(found: dict[str, Any] | None) -> Serving:
    if found is None:
        return Serving(None, None)
    notes = found["metadata"].get("annotations") or {}
    name = str((found["spec"].get("selector") or {}).get(POD_LABEL, ""))
    if not name.startswith(f"{SOLVER}-"):
        return Serving(None, None)
    former = json.loads(notes[FORMER]) if notes.get(FORMER) else None
    return Serving(
        Served(notes.get(CHAMPION, "?"), name.removeprefix(f"{SOLVER}-")),
        Served(former["champion"], former["release"]) if former else None,
    )
