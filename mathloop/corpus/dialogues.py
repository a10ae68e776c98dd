"""Stage: a corpus of dialogues that are there already: an earlier corpus, and written ones mixed into it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from mathloop.corpus.config import CorpusConfig
from mathloop.errors import BadData
from mathloop.records import read_rows, write_rows
from mathloop.stages import Progress, StageReport, timed
from mathloop.storage import local_copy

COLUMNS = ("id", "problem", "solution", "mode", "language", "style", "misread")
"""Of a corpus of dialogues, as `mathloop.corpus.write` writes it."""


@timed
def run(*, out: Path, config: CorpusConfig, seed: int) -> StageReport:
    """Writes the dialogues of `config.given`, then those of `config.written`, to `out` (Parquet).

    Of `written` there are as many as make up `config.written_share` of all. Those of one language are equally
    often there, up to one; the seed decides which are once more. Languages have the shares that they have in
    `given` with `config.written_languages`, else, or if `given` lacks one, those that they have in `written`.

    Raises:
        BadData: a file cannot be read or has no row, or a row has no problem, solution or mode.
    """
    with local_copy(config.given) as given:
        there = _languages(given, config.given)
        count = there.total()
        if not config.written:
            progress = Progress("corpus", count, "documents")
            kept = write_rows(out, _rows(given, config.given, progress))
            return StageReport("corpus", inputs=count, kept=kept)
        with local_copy(config.written) as written:
            own = _languages(written, config.written)
            share = config.written_share
            wanted = max(1, round(count * share / (1 - share)))
            shares = {
                name: (config.written_languages and there[name] / count) or number / own.total()
                for name, number in own.items()
            }
            numbers = _divided(wanted, shares)
            progress = Progress("corpus", count + wanted, "documents")
            more = _repeated(written, config.written, own, numbers, seed, progress)
            kept = write_rows(out, chain(_rows(given, config.given, progress), more))
    values = {"written documents": float(own.total())}
    for name in sorted(own):
        values[f"times that each in {name} is in the corpus"] = numbers[name] / own[name]
    return StageReport("corpus", inputs=count + own.total(), kept=kept, values=values)


def _languages(path: Path, shown: str) -> Counter[str]:
    """Language → number of dialogues."""
    counts = Counter(_language(row) for row in read_rows(path))
    if not counts:
        raise BadData("the file has no dialogue; give one with rows", path=shown)
    return counts


def _language(row: Mapping[str, Any]) -> str:
    return str(row.get("language") or "no language")


def _divided(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """`total` in proportion to `shares`, in whole numbers."""
    numbers: dict[str, int] = {}
    left, rest = total, sum(shares.values())
    for name, share in sorted(shares.items()):
        numbers[name] = round(left * share / rest)
        left, rest = left - numbers[name], rest - share
    return numbers


def _rows(path: Path, shown: str, progress: Progress) -> Iterator[dict[str, Any]]:
    for row in _dialogues(path, shown):
        progress.update()
        yield row


def _dialogues(path: Path, shown: str) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(read_rows(path), 1):
        for name in ("problem", "solution", "mode"):
            if not isinstance(row.get(name), str):
                raise BadData("expected a text: a row is a dialogue", path=shown, row=number, field=name)
        yield {name: row.get(name) for name in COLUMNS}


def _repeated(
    path: Path,
    shown: str,
    own: Mapping[str, int],
    numbers: Mapping[str, int],
    seed: int,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """The dialogues of each language until there are `numbers` of them: pass after pass over the file."""
    rng = random.Random(f"dialogues-{seed}")
    once_more = {name: set(rng.sample(range(own[name]), numbers[name] % own[name])) for name in sorted(own)}
    for turn in range(1 + max(numbers[name] // own[name] for name in own)):
        places: Counter[str] = Counter()
        for row in _dialogues(path, shown):
            name = _language(row)
            each = numbers[name] // own[name]
            if turn < each or (turn == each and places[name] in once_more[name]):
                progress.update()
                yield row
            places[name] += 1
