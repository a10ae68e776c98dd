"""Canary rollout of the next champion on an InferenceService, and its rollback.

The canary starts without traffic and can be tested; then it gets a share of the traffic, then all of it.
Every step can be rolled back. KServe (0.21) has two forms of this:

- Standard: `spec.canary` holds a second predictor with a name and a share. To promote it without a restart
  the predictor takes over its name. A canary without traffic gets no pod unless `minReplicas` is set.
- Knative: `predictor.canaryTrafficPercent` is the share of the newest revision; the rest goes to the last
  revision that had all traffic. Standard mode ignores that field, Knative mode refuses `spec.canary`.

An annotation keeps the former champion until the new one has all traffic and answers, so that a deployment
that was killed can resume or roll back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mathloop.cluster.inference_services import (
    CHAMPION,
    FORMER,
    HASH,
    MODE,
    TAGS,
    Service,
    first,
    named,
    notes_of,
)
from mathloop.cluster.kinds import INFERENCE_SERVICE
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import Changed, ClusterRefused, Exists

TRIES = 5
"""Attempts to apply a change to the newest version of an object that somebody else changed."""


def create(cluster: Cluster, service: Service) -> bool:
    """Creates the service if there is none; returns whether it did.

    Raises:
        ClusterRefused: it exists in the other deployment mode, which KServe cannot change.
    """
    found = cluster.get(INFERENCE_SERVICE, service.name, service.config.namespace)
    if found is None:
        try:
            cluster.create(INFERENCE_SERVICE, first(service))
        except Exists:
            return False
        return True
    mode = notes_of(found).get(MODE, service.config.mode)
    if mode != service.config.mode:
        raise ClusterRefused(
            f"{service.name} is in {mode} mode: set deployment.mode={mode}, "
            f"or kubectl delete inferenceservice {service.name} -n {service.config.namespace}"
        )
    return False


def is_settled(cluster: Cluster, service: Service) -> bool:
    """Whether the service has this champion and no canary.

    In Knative mode two champions can have the same solver, and a canary without a change would never start.
    """
    found = cluster.get(INFERENCE_SERVICE, service.name, service.config.namespace)
    if found is None:
        return False
    notes, spec = notes_of(found), found["spec"]
    alone = FORMER not in notes and not spec.get("canary")
    alone = alone and "canaryTrafficPercent" not in spec["predictor"]
    same = service.config.mode == "Knative" or notes.get(CHAMPION) == str(service.champion)
    return alone and same and notes.get(HASH) == service.hash


def begin(cluster: Cluster, service: Service) -> None:
    """Adds the champion as a canary without traffic; a canary that has traffic keeps it."""

    def change(found: dict[str, Any]) -> None:
        notes, spec = found["metadata"].setdefault("annotations", {}), found["spec"]
        if FORMER not in notes:
            former = {**spec["predictor"]}
            former.pop("canaryTrafficPercent", None)
            notes[FORMER] = json.dumps(
                {CHAMPION: notes.get(CHAMPION), HASH: notes.get(HASH), "predictor": former}
            )
        if service.config.mode == "Standard":
            canaries = [one for one in spec.get("canary") or [] if one["predictor"]["name"] == service.canary]
            if spec["predictor"].get("name") != service.canary:
                percent = canaries[0]["trafficPercent"] if canaries else 0
                spec["canary"] = [{"trafficPercent": percent, "predictor": _dark(service)}]
        else:
            same = notes.get(HASH) == service.hash
            percent = spec["predictor"].get("canaryTrafficPercent", 0) if same else 0
            spec["predictor"] = {**service.predictor, "canaryTrafficPercent": percent}
            notes.update({CHAMPION: str(service.champion), HASH: service.hash, TAGS: "true"})

    _update(cluster, service, change)


def _dark(service: Service) -> dict[str, Any]:
    """A canary's predictor: a fixed number of replicas, at least one, so that it starts without traffic.

    The CRD requires its container's name, which KServe's webhook forbids in the main predictor.
    """
    predictor = {**named(service), "minReplicas": 1}
    predictor.pop("maxReplicas")
    predictor["model"] = {"name": "kserve-container", **predictor["model"]}
    return predictor


def shift(cluster: Cluster, service: Service, percent: int) -> None:
    """Gives the new champion a share of the traffic."""

    def change(found: dict[str, Any]) -> None:
        if service.config.mode == "Knative":
            found["spec"]["predictor"]["canaryTrafficPercent"] = percent
        for canary in found["spec"].get("canary") or []:
            canary["trafficPercent"] = percent

    _update(cluster, service, change)


def promote(cluster: Cluster, service: Service) -> None:
    """Gives the new champion all traffic; it can be rolled back until `settle`."""

    def change(found: dict[str, Any]) -> None:
        found["spec"]["predictor"] = named(service)
        found["spec"].pop("canary", None)
        found["metadata"].setdefault("annotations", {}).update(
            {CHAMPION: str(service.champion), HASH: service.hash}
        )

    _update(cluster, service, change)


def settle(cluster: Cluster, service: Service) -> None:
    """Forgets the former champion."""
    notes = {FORMER: None, CHAMPION: str(service.champion)}
    cluster.annotate(INFERENCE_SERVICE, service.name, service.config.namespace, notes)


def pin(cluster: Cluster, service: Service) -> bool:
    """Takes all traffic from the new champion at once; returns whether the former one must be restored."""
    to_restore = False

    def change(found: dict[str, Any]) -> None:
        nonlocal to_restore
        former = _former(found)
        if former is None:
            return
        to_restore = service.config.mode == "Knative" or found["spec"]["predictor"] != former["predictor"]
        found["spec"].pop("canary", None)
        if service.config.mode == "Knative":
            found["spec"]["predictor"]["canaryTrafficPercent"] = 0
        elif not to_restore:
            _put_back(found, former)

    _update(cluster, service, change)
    return to_restore


def restore(cluster: Cluster, service: Service, *, dark: bool) -> None:
    """Writes the former champion's predictor again.

    Args:
        dark: without traffic yet (Knative): it becomes a new revision while the last good one serves.
    """

    def change(found: dict[str, Any]) -> None:
        former = _former(found)
        if former is not None:
            found["spec"]["predictor"] = dict(former["predictor"])
            if dark:
                found["spec"]["predictor"]["canaryTrafficPercent"] = 0
            else:
                _put_back(found, former)

    _update(cluster, service, change)


def _former(found: Mapping[str, Any]) -> dict[str, Any] | None:
    text = notes_of(found).get(FORMER)
    return json.loads(text) if text else None


def _put_back(found: dict[str, Any], former: Mapping[str, Any]) -> None:
    notes = found["metadata"]["annotations"]
    del notes[FORMER]
    for key in (CHAMPION, HASH):
        if former[key] is None:
            notes.pop(key, None)
        else:
            notes[key] = former[key]


def _update(cluster: Cluster, service: Service, change: Callable[[dict[str, Any]], None]) -> None:
    """Applies a change to the newest version; tries again if another client (mostly KServe) was quicker."""
    for attempt in range(TRIES):
        found = cluster.get(INFERENCE_SERVICE, service.name, service.config.namespace)
        if found is None:
            raise ClusterRefused(f"InferenceService {service.name} was deleted; deploy again")
        before = json.dumps(found, sort_keys=True)
        change(found)
        found.pop("status", None)
        if json.dumps(json.loads(before) | {"status": None}, sort_keys=True) == json.dumps(
            found | {"status": None}, sort_keys=True
        ):
            return
        try:
            cluster.replace(INFERENCE_SERVICE, found)
        except Changed:
            if attempt == TRIES - 1:
                raise
        else:
            return
