"""The record of a round in its store, for comparing rounds when the run itself is elsewhere or gone.

    rounds/<round>/record/round.json         who, when, what was decided, settings, and every stage's report
    rounds/<round>/record/problems.parquet   the benchmark
    rounds/<round>/record/outcomes.parquet   every response to it, without its text

A round leaves one whether its challenger is promoted or not.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mathloop.errors import BadData, Corrupt
from mathloop.lines import parse_object
from mathloop.records import read_problems, read_responses, write_problems, write_responses
from mathloop.registry import Champion
from mathloop.reports.learning import nothing_learned
from mathloop.stages import StageReport
from mathloop.storage import Store
from mathloop.storage.manifest import RESTORE

ROUND, PROBLEMS, OUTCOMES = "round.json", "problems.parquet", "outcomes.parquet"
NAME = "rounds/{}/record"
_FIELDS = ("round_id", "created", "parent", "number", "gate", "settings", "nothing_learned", "reports")
_NAMES = ("name", "description", "store", "tracking")
"""Settings of a profile that change nothing in what is learned."""


def compared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings, by flat key, in which two rounds may differ."""
    return {key: value for key, value in settings.items() if key not in _NAMES}


@dataclass(frozen=True)
class Record:
    """A round as its record tells it."""

    round_id: str
    created: str
    """UTC, ISO 8601: when it was judged."""
    parent: int
    """Number of the champion that it started from."""
    number: int | None
    """Number of the champion that it made; None if it was not promoted."""
    gate: Mapping[str, Any]
    settings: Mapping[str, Any]
    nothing_learned: tuple[str, ...]
    """A sentence per training stage that had nothing to learn from."""
    reports: tuple[StageReport, ...]
    """Of every stage, without curves and samples."""

    @property
    def seconds(self) -> float:
        """Of all its stages."""
        return sum(report.seconds for report in self.reports)

    @property
    def tokens(self) -> int:
        """Sampled and trained on, as far as the stages count them."""
        return round(sum(report.values.get("tokens", 0.0) for report in self.reports))


def publish_record(
    store: Store,
    *,
    round_id: str,
    champion: str,
    published: Mapping[str, Any],
    gate: Mapping[str, Any],
    settings: Mapping[str, Any],
    reports: Sequence[StageReport],
    benchmark: Path,
    results: Path,
) -> None:
    """Publishes a round's record, unless it is there: then an attempt before a kill wrote it.

    Raises:
        BadData: the responses or problems cannot be read.
        StorageRefused: the store refuses.
    """
    name = NAME.format(round_id)
    if store.exists(name):
        return
    content = {
        "round_id": round_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "parent": Champion.parse(champion).number,
        "number": published.get("number"),
        "gate": dict(gate),
        "settings": dict(settings),
        "nothing_learned": nothing_learned(reports),
        "reports": [asdict(replace(report, curves={}, samples=[])) for report in reports],
    }
    with tempfile.TemporaryDirectory(prefix="mathloop-") as scratch:
        folder = Path(scratch)
        (folder / ROUND).write_text(
            json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8"
        )
        write_problems(folder / PROBLEMS, read_problems(benchmark))
        write_responses(folder / OUTCOMES, (replace(one, text="") for one in read_responses(results)))
        store.publish(folder, name)


def round_ids(store: Store) -> list[str]:
    """Ids of the rounds with a record, sorted: by time, as runs are named."""
    names = (name.split("/") for name in store.names("rounds/"))
    return [parts[1] for parts in names if len(parts) == 3 and parts[2] == "record"]


def incomplete_records(store: Store) -> list[str]:
    """Ids of the rounds with files of a record, but without its manifest: being written, or damaged."""
    keys = (key.split("/") for key in store.object_keys("rounds"))
    begun = {parts[1] for parts in keys if len(parts) > 3 and parts[2] == "record"}
    return sorted(begun.difference(round_ids(store)))


@contextmanager
def fetched(store: Store, round_id: str) -> Iterator[tuple[Record, Path]]:
    """A round's record, and a copy of its folder, which is removed at the end.

    Raises:
        BadData: the record is damaged.
        StorageRefused: there is none.
    """
    with tempfile.TemporaryDirectory(prefix="mathloop-") as scratch:
        folder = Path(scratch, "record")
        store.fetch(NAME.format(round_id), folder)
        yield _read(folder / ROUND, round_id), folder


def read_record(store: Store, round_id: str) -> Record:
    """A round's record, without fetching its outcomes; raises as `fetched`."""
    with tempfile.TemporaryDirectory(prefix="mathloop-") as scratch:
        path = Path(scratch, ROUND)
        store.fetch_file(NAME.format(round_id), ROUND, path)
        return _read(path, round_id)


def read_records(
    store: Store, damaged: dict[str, str], known: dict[str, Record] | None = None
) -> Iterator[Record]:
    """Yields every round's record, by id; one that is damaged goes into `damaged`, with the reason.

    Those in `known` are not read again, and those that are read are put there: records never change.
    """
    known = {} if known is None else known
    for round_id in round_ids(store):
        try:
            known[round_id] = known.get(round_id) or read_record(store, round_id)
        except (BadData, Corrupt) as error:
            damaged[round_id] = str(error)
        else:
            yield known[round_id]


def _read(path: Path, round_id: str) -> Record:
    try:
        value = parse_object(path.read_bytes())
        found = {name: value[name] for name in _FIELDS}
        found["reports"] = tuple(StageReport(**one) for one in found["reports"])
        return Record(**{**found, "nothing_learned": tuple(found["nothing_learned"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        place = f"{NAME.format(round_id)}/{path.name}"
        raise BadData(f"not the record of a round ({error}); {RESTORE}", path=place) from None
