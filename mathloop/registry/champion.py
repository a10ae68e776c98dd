"""Champions are the entries of an append-only log; whoever writes the next entry first promotes theirs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mathloop.errors import BadData, BadModel, ChampionMoved, Corrupt
from mathloop.lines import parse_object
from mathloop.registry.serving_defaults import ServingDefaults
from mathloop.storage import Store, Taken
from mathloop.storage.manifest import RESTORE
from mathloop.storage.store import entry_key

LOG = "champion"


@dataclass(frozen=True)
class Champion:
    """One entry of the line; policy, reward model and base are names of artifacts in the same store."""

    number: int
    """0 is the first."""
    policy: str
    reward_model: str | None
    """None if the line has none yet."""
    base: str
    """The pretrained model at the start of the line."""
    round_id: str
    """The round that promoted it."""
    parent: int | None
    """Number of the champion that it replaced; None for the first."""
    metrics: dict[str, float]
    """The measurements of its gate."""
    created: str
    """UTC, ISO 8601."""
    serving: ServingDefaults | None = None
    """How its evaluation says to serve it; None where it has none, as the first champion of a line."""

    @property
    def models(self) -> dict[str, str]:
        """Role → name of each of its models; without the reward model if there is none."""
        named = {"policy": self.policy, "reward model": self.reward_model, "base": self.base}
        return {role: name for role, name in named.items() if name is not None}

    def to_json(self) -> bytes:
        """The champion as it is stored."""
        value = asdict(self)
        if self.serving is None:
            del value["serving"]  # as entries were before it was there
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode("utf-8")

    @classmethod
    def from_json(cls, data: bytes) -> Champion:
        """Parses what `to_json` wrote; raises ValueError for anything else."""
        value = parse_object(data)
        if "serving" in value:
            value["serving"] = ServingDefaults.parse(value["serving"])
        if set(value) | {"serving"} != set(cls.__dataclass_fields__):
            raise ValueError(f"expected an object with {', '.join(cls.__dataclass_fields__)}")
        champion = cls(**value)
        texts = [champion.policy, champion.base, *champion.models.values()]
        if not all(isinstance(text, str) for text in (*texts, champion.round_id, champion.created)):
            raise ValueError("expected names of models, a round and a time")
        metrics = champion.metrics.values() if isinstance(champion.metrics, dict) else [None]
        if not all(isinstance(number, int | float) for number in metrics):
            raise ValueError("expected metrics that are numbers")
        if type(champion.number) is not int or champion.parent != (
            champion.number - 1 if champion.number else None
        ):
            raise ValueError("expected a number from 0 and the one before it as parent")
        return champion

    @classmethod
    def parse(cls, text: str) -> Champion:
        """Parses the JSON that preflight hands to a run's stages; raises BadData."""
        try:
            return cls.from_json(text.encode(errors="surrogateescape"))
        except ValueError as error:
            raise BadData(f"not a champion's entry ({error}); start a new run", field="champion") from None


class Registry:
    """The champions of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self) -> Champion | None:
        """The current champion; None if there never was one."""
        history = self.history()
        return history[-1] if history else None

    def history(self) -> list[Champion]:
        """All champions, from the first to the current one.

        Raises:
            Corrupt: an entry is missing or cannot be read.
        """
        champions: list[Champion] = []
        for number, record in self._store.read_log(LOG):
            try:
                champion = Champion.from_json(record)
            except ValueError as error:
                broken = f"champion {number} cannot be read ({error})"
                raise self._damaged(number, broken) from None
            if not len(champions) == number == champion.number:
                raise self._damaged(len(champions), f"the line of champions has no number {len(champions)}")
            champions.append(champion)
        return champions

    def promote(
        self,
        policy: str,
        reward_model: str | None,
        *,
        round_id: str,
        expected: Champion | None,
        base: str,
        metrics: dict[str, float],
        serving: ServingDefaults | None = None,
    ) -> Champion:
        """Makes `policy` the champion if `expected` still is (None: if there is none), and returns it.

        Raises:
            ChampionMoved: another champion is current; nothing was changed.
            BadModel: one of the models is not in the store; nothing was changed.
            ValueError: a metric is not finite.
        """
        if not all(math.isfinite(value) for value in metrics.values()):
            raise ValueError(f"metrics of a champion must be finite: {metrics}")
        self.check_current(expected)
        champion = Champion(
            number=0 if expected is None else expected.number + 1,
            policy=policy,
            reward_model=reward_model,
            base=base,
            round_id=round_id,
            parent=None if expected is None else expected.number,
            metrics=metrics,
            created=datetime.now(UTC).isoformat(),
            serving=serving,
        )
        self.check_models(champion)
        try:
            self._store.append(LOG, champion.number, champion.to_json())
        except Taken:
            self.check_current(expected)
            raise
        return champion

    def check_current(self, expected: Champion | None) -> None:
        """Raises ChampionMoved, naming the current champion, unless it is `expected`."""
        current = self.current()
        if current != expected:
            now = (
                "there is none"
                if current is None
                else f"it is number {current.number} (round {current.round_id})"
            )
            was = "none" if expected is None else f"number {expected.number} (round {expected.round_id})"
            message = f"the champion moved: {now}, where {was} was expected; nothing was changed"
            raise ChampionMoved(f"{message}; run a round that starts from the current one")

    def _damaged(self, number: int, problem: str) -> Corrupt:
        return Corrupt(f"{self._store.url}: {problem}; entry {entry_key(LOG, number)}: {RESTORE}")

    def check_models(self, champion: Champion) -> None:
        """Raises BadModel if a model is not in the store, Corrupt if its manifest cannot be read."""
        for role, name in champion.models.items():
            if not self._store.exists(name):
                missing = f"champion {champion.number} names the {role} {name!r}, which is not there"
                remedy = "publish it there again under that name, or use another store"
                raise BadModel(f"{self._store.url}: {missing}; {remedy}")
