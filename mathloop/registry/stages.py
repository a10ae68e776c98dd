"""The stages of a round that use the store: check it, fetch the champion, publish a better one."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from mathloop.errors import BadData, BadModel, ChampionMoved
from mathloop.files import disk, open_plain, reading, write_file
from mathloop.lines import parse_object
from mathloop.registry.champion import Champion, Registry
from mathloop.registry.serving_defaults import ServingDefaults
from mathloop.stages import StageReport, timed
from mathloop.storage import Store, open_store


@timed
def preflight(*, store_url: str) -> tuple[StageReport, Champion]:
    """Checks that the store is writable and has a complete champion, and returns that champion.

    Raises:
        StorageRefused: the store cannot be reached, read or written.
        BadModel: there is no champion, or one of its models is missing.
    """
    store = open_store(store_url)
    store.check_writable()
    champion = _current(store)
    Registry(store).check_models(champion)
    report = StageReport("preflight", values={"champion": champion.number})
    report.notes.append(f"{store.url} is writable and has all models of {_title(champion)}.")
    return report, champion


@timed
def fetch_champion(*, store_url: str, champion: str, policy: Path, reward_model: Path) -> StageReport:
    """Copies a champion's models into the folders `policy` and `reward_model`, which are replaced.

    Args:
        champion: the champion's entry in the registry, as JSON.
        reward_model: becomes an empty folder if the champion has none.

    Raises:
        BadData: `champion` is no entry.
        BadModel: one of its models is missing.
        Corrupt: a manifest or a file is not what was published.
    """
    store = open_store(store_url)
    entry = Champion.parse(champion)
    Registry(store).check_models(entry)
    report = StageReport("champion", values={"champion": entry.number, **entry.metrics})
    for name, folder in ((entry.policy, policy), (entry.reward_model, reward_model)):
        with disk(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
            if name is None:
                folder.mkdir(parents=True)
        if name is not None:
            report.values["bytes"] = report.values.get("bytes", 0) + store.fetch(name, folder).size
    report.notes.append(f"The round starts from {_title(entry)}.")
    return report


@timed
def publish_round(
    *,
    store_url: str,
    champion: str,
    gate: Path,
    policy: Path,
    reward_model: Path,
    round_id: str,
    out: Path,
) -> StageReport:
    """Publishes the round's models and makes them the champion, if the gate says so and it is the first.

    Args:
        champion: entry of the champion that the round started from, as JSON.
        gate: JSON file of the gate, of which `promote`, `reason` and `serving` are read.
        policy: the challenger's model folder, published as `rounds/<round_id>/policy`.
        reward_model: its reward model's folder, published as `rounds/<round_id>/reward_model`.
        out: becomes {"promoted": bool, "number": int or null, "reason": str}.

    If the process is killed after the promotion, the next call finds it and does not repeat it.
    """
    verdict = _read_gate(gate)
    expected = Champion.parse(champion)
    store = open_store(store_url)
    registry = Registry(store)
    report = StageReport("publication", inputs=1)
    promoted, reason = None, str(verdict.get("reason", ""))
    if verdict["promote"]:
        try:
            promoted = next((past for past in registry.history() if past.round_id == round_id), None)
            if promoted is None:
                registry.check_current(expected)
            names = f"rounds/{round_id}/policy", f"rounds/{round_id}/reward_model"
            for name, folder in zip(names, (policy, reward_model), strict=True):
                manifest = store.publish(folder, name)
                report.values["bytes"] = report.values.get("bytes", 0) + manifest.size
            promoted = promoted or registry.promote(
                *names,
                round_id=round_id,
                expected=expected,
                base=expected.base,
                metrics=_metrics(verdict),
                serving=_serving(verdict, gate),
            )
        except ChampionMoved as error:
            reason = str(error)
    if promoted is None:
        report.notes.append(f"The champion stays {_title(registry.current())}: {reason.rstrip('.')}.")
    return _published(report, promoted, reason, out)


@timed
def publish_base(*, store_url: str, model: Path, round_id: str, out: Path) -> StageReport:
    """Publishes a pretrained model as `base/<round_id>/policy`; it becomes champion 0 if the store has none.

    Args:
        out: becomes {"promoted": true, "number": 0, "reason": str}.

    Raises:
        BadModel: the store already has another first champion; nothing was changed.
    """
    store = open_store(store_url)
    registry = Registry(store)
    name = f"base/{round_id}/policy"
    promoted = next(iter(registry.history()), None)
    if promoted is None or promoted.policy == name:
        report = StageReport("base_publication", inputs=1, values={"bytes": store.publish(model, name).size})
        if promoted is None:
            try:
                promoted = registry.promote(
                    name, None, round_id=round_id, expected=None, base=name, metrics={}
                )
            except ChampionMoved:
                promoted = registry.history()[0]
    if promoted.policy != name:
        message = f"{store.url} already has a line of champions, begun by {_title(promoted)}"
        raise BadModel(f"{message}; publish a new base into another store, or run a round from this one")
    return _published(report, promoted, "the first champion of its line", out)


def _published(report: StageReport, promoted: Champion | None, reason: str, out: Path) -> StageReport:
    if promoted is not None:
        report.kept = 1
        report.values["champion"] = promoted.number
        report.notes.append(f"Published {_title(promoted)}: {reason.rstrip('.')}.")
    number = None if promoted is None else promoted.number
    answer = {"promoted": promoted is not None, "number": number, "reason": reason}
    write_file(out, json.dumps(answer, ensure_ascii=False).encode("utf-8"))
    return report


def _current(store: Store) -> Champion:
    champion = Registry(store).current()
    if champion is None:
        raise BadModel(
            f"{store.url} has no champion yet; run the pretraining pipeline, which publishes the first"
        )
    return champion


def _title(champion: Champion | None) -> str:
    return "none" if champion is None else f"champion {champion.number} (round {champion.round_id})"


def _read_gate(path: Path) -> dict[str, Any]:
    try:
        with reading(path), open_plain(path) as file:
            verdict = parse_object(file.read())
    except ValueError as error:
        raise BadData(f"not a gate's verdict ({error}); run the gate again", path=path) from None
    if not isinstance(verdict.get("promote"), bool):
        raise BadData("expected true or false; run the gate again", path=path, field="promote")
    return verdict


def _serving(verdict: dict[str, Any], path: Path) -> ServingDefaults | None:
    value = verdict.get("serving")
    try:
        return None if value is None else ServingDefaults.parse(value)
    except ValueError as error:
        raise BadData(f"{error}; run the gate again", path=path, field="serving") from None


def _metrics(verdict: dict[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in verdict.items() if isinstance(value, int | float)}
    return {
        name: float(value) for name, value in numbers.items() if name != "promote" and math.isfinite(value)
    }
