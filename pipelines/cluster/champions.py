"""`mathloop rollback`: goes back to an earlier champion."""

from __future__ import annotations

from mathloop.errors import BadModel
from mathloop.registry import Registry
from mathloop.storage import open_store
from pipelines.compiling import for_cluster
from pipelines.profile import load_profile


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
            serving=target.serving,
        )
        print(f"champion {promoted.number} has the models of champion {target.number} ({target.round_id})")
    if serve:
        from mathloop.cluster.deployment import deploy
        from mathloop.cluster.kubernetes import Cluster

        deploy(Cluster.connect(), promoted, open_store(store).url, settings.deployment)
    else:
        print(f"the endpoints are unchanged; deploy with: mathloop rollback --to {target.number} --serve")
