"""What jobs of killed rounds left in the store: shards of sampling, and copies of the inputs of jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mathloop.errors import BadConfig
from mathloop.storage import Store

FOLDERS = ("sampling", "training")
"""Artifacts `<folder>/<round>/<stage>/…` are of jobs; what a round publishes is elsewhere."""


@dataclass(frozen=True)
class Leftover:
    """What one round's jobs of one kind left."""

    name: str
    """`sampling/<round>` or `training/<round>`."""
    size: int
    """Bytes of its complete artifacts."""

    @property
    def round_id(self) -> str:
        return self.name.partition("/")[2]


def leftovers(store: Store, rounds: Collection[str] = ()) -> Iterator[Leftover]:
    """All of them, or those of the given rounds. Raises BadConfig for a round that has none."""
    found = []
    for folder in FOLDERS:
        names = {"/".join(key.split("/")[:2]) for key in store.object_keys(folder)}
        found += [Leftover(name, sum(map(store.size, store.names(f"{name}/")))) for name in sorted(names)]
    for one in rounds:
        if one not in {each.round_id for each in found}:
            raise BadConfig(
                f"{store.url}: no job of round {one!r} left anything; see `mathloop clean --store`"
            )
    yield from (one for one in found if not rounds or one.round_id in rounds)


def remove(store: Store, leftover: Leftover) -> None:
    """Removes it: complete artifacts by their manifests first, then what a killed upload left."""
    for name in list(store.names(f"{leftover.name}/")):
        store.remove(name)
    store.remove(leftover.name)
