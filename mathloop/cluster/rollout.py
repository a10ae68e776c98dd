"""How the next champion takes over an InferenceService, and how it gives it back.

It stands beside the old one first, without traffic, and can be asked there; then it gets a share, then
everything; at any step it can be taken away again. KServe has two forms of this (0.21):

- Standard: `spec.canary` holds a second predictor with a name and a share. To promote it without a restart
  the predictor takes over its name. A canary without traffic gets no pod unless `minReplicas` says so.
- Knative: `predictor.canaryTrafficPercent` is the share of the newest revision, and the rest goes to the last
  one that had everything. Standard mode ignores that field, Knative mode refuses the other.

What was served before is kept in an annotation until the new champion has everything and answers, so that
whoever comes after a kill can go on or go back.
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
    """Creates the service if there is none; says whether it did.

    Raises:
        ClusterRefused: it is there in the other deployment mode, which KServe does not change.
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
    """Whether the service has this champion, alone.

    In Knative mode the solver of two champions can be the same; a canary of nothing new would never start.
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
    """Puts the champion beside the one that is served, without traffic; leaves it the traffic that it has."""

    def change(found: dict[str, Any]) -> None:
        notes, spec = found["metadata"].setdefault("annotations", {}), found["spec"]
        if FORMER not in notes:
            former = {**spec["predictor"]}
            former.pop("canaryTrafficPercent", None)
            notes[FORMER] = json.dumps(
                {CHAMPION: notes.get(CHAMPION), HASH: notes.get(HASH), "predictor": former}
            )
        if service.config.mode == "Standard":
            begun = [one for one in spec.get("canary") or [] if one["predictor"]["name"] == service.canary]
            if spec["predictor"].get("name") != service.canary:
                percent = begun[0]["trafficPercent"] if begun else 0
                spec["canary"] = [{"trafficPercent": percent, "predictor": _dark(service)}]
        else:
            same = notes.get(HASH) == service.hash
            percent = spec["predictor"].get("canaryTrafficPercent", 0) if same else 0
            spec["predictor"] = {**service.predictor, "canaryTrafficPercent": percent}
            notes.update({CHAMPION: str(service.champion), HASH: service.hash, TAGS: "true"})

    _update(cluster, service, change)


def _dark(service: Service) -> dict[str, Any]:
    """A canary has fixed replicas, one at least, so that it starts before it gets traffic.

    The CRD demands its container's name, which KServe's webhook forbids in the predictor beside it.
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
    """Gives the new champion everything; the way back stays open until `settle`."""

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
    """Takes the new champion's traffic away at once; says whether the former one has to be put back."""
    left = False

    def change(found: dict[str, Any]) -> None:
        nonlocal left
        former = _former(found)
        if former is None:
            return
        left = service.config.mode == "Knative" or found["spec"]["predictor"] != former["predictor"]
        found["spec"].pop("canary", None)
        if service.config.mode == "Knative":
            found["spec"]["predictor"]["canaryTrafficPercent"] = 0
        elif not left:
            _put_back(found, former)

    _update(cluster, service, change)
    return left


def restore(cluster: Cluster, service: Service, *, dark: bool) -> None:
    """Writes the former champion's predictor again.

    Args:
        dark: in Knative mode, without traffic yet: it is a new revision, and the last good one serves.
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
    """Makes a change on the newest version, again where somebody (KServe, mostly) was quicker."""
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
