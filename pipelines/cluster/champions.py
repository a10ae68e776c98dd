"""`mathloop rounds` and `mathloop rollback`: runs, all champions, and going back to an earlier one."""

from __future__ import annotations

import json
from typing import Any

from mathloop.errors import BadModel
from mathloop.registry import Champion, Registry
from mathloop.storage import open_store
from pipelines.cluster.connection import connect
from pipelines.cluster.uploading import EXPERIMENT, check_namespace
from pipelines.compiling import for_cluster
from pipelines.profile import load_profile

METRICS = 4
"""Metrics to print per champion."""


def rounds(*, limit: int, store: str, host: str | None, namespace: str | None) -> None:
    """Prints the newest runs, then every champion of the store with its gate's scores."""
    pipelines = connect(host)
    check_namespace(pipelines, namespace)
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": EXPERIMENT}
    with pipelines.answered("list experiments") as client:
        answer = client.list_experiments(
            namespace=namespace, filter=json.dumps({"predicates": [predicate]}), page_size=1
        )
    runs: list[Any] = []
    for experiment in answer.experiments or []:
        with pipelines.answered("list runs") as client:
            page = client.list_runs(
                page_size=limit, sort_by="created_at desc", experiment_id=experiment.experiment_id
            )
        runs += page.runs or []
    for run in runs:
        print(
            f"{run.created_at:%Y-%m-%d %H:%M}  {run.state or 'PENDING':10} {run.display_name}  {run.run_id}"
        )
    if not runs:
        print("no runs; start one with: mathloop submit")
    registry = Registry(open_store(store))
    print(f"\nchampions of {store}:")
    for champion in registry.history():
        entry = f"{champion.number:3}  {champion.created[:16]}  {champion.round_id}"
        print(f"{entry}  {_metrics(champion)}".rstrip())


def _metrics(champion: Champion) -> str:
    shown = list(champion.metrics.items())[:METRICS]
    return ", ".join(f"{name} {value:.3g}" for name, value in shown)


def rollback(*, to: int | None, store: str, serve: bool, profile: str, sets: list[str]) -> None:
    """Promotes an earlier champion's models again, as a new champion.

    Raises:
        BadModel: there is no such champion, or it is the current one.
        ChampionMoved: another run promoted a champion meanwhile; nothing was changed.
    """
    settings = for_cluster(load_profile(profile, sets))
    registry = Registry(open_store(store))
    history = registry.history()
    if len(history) < 2 and to is None:
        raise BadModel(f"{store} has no earlier champion to go back to")
    current = history[-1] if history else None
    number = to if to is not None else history[-1].number - 1
    target = next((one for one in history if one.number == number), None)
    if target is None or current is None:
        known = f"0 to {history[-1].number}" if history else "none"
        raise BadModel(f"{store} has no champion {number}; there are {known}: choose one with --to")
    if (target.policy, target.reward_model) == (current.policy, current.reward_model):
        if not serve:
            raise BadModel(
                f"champion {current.number} already has the models of {number}; choose another --to"
            )
        promoted = current
    else:
        promoted = registry.promote(
            target.policy,
            target.reward_model,
            round_id=f"rollback-of-{current.number}-to-{target.number}",
            expected=current,
            base=target.base,
            metrics=target.metrics,
        )
        print(f"champion {promoted.number} has the models of champion {target.number} ({target.round_id})")
    if serve:
        from mathloop.cluster.deployment import deploy
        from mathloop.cluster.kubernetes import Cluster

        deploy(Cluster.connect(), promoted, open_store(store).url, settings.deployment)
    else:
        print(f"the endpoints are unchanged; deploy with: mathloop rollback --to {target.number} --serve")
