"""Stage: a corpus of dialogues that are there already: an earlier corpus, and written ones mixed into it."""

from __future__ import annotations

import random
from collections.abc import Iterator
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

    Of `written` there are as many as make up `config.written_share` of all: each of them equally often, up to
    one; the seed decides which are once more.

    Raises:
        BadData: a file cannot be read or has no row, or a row has no problem, solution or mode.
    """
    with local_copy(config.given) as given:
        count = _count(given, config.given)
        if not config.written:
            progress = Progress("corpus", count, "documents")
            kept = write_rows(out, _rows(given, config.given, progress))
            return StageReport("corpus", inputs=count, kept=kept)
        with local_copy(config.written) as written:
            own = _count(written, config.written)
            share = config.written_share
            wanted = max(1, round(count * share / (1 - share)))
            progress = Progress("corpus", count + wanted, "documents")
            more = _repeated(written, config.written, own, wanted, seed, progress)
            kept = write_rows(out, chain(_rows(given, config.given, progress), more))
    values = {"written documents": float(own), "times that each is in the corpus": wanted / own}
    return StageReport("corpus", inputs=count + own, kept=kept, values=values)


def _count(path: Path, shown: str) -> int:
    count = sum(1 for _ in read_rows(path))
    if not count:
        raise BadData("the file has no dialogue; give one with rows", path=shown)
    return count


def _rows(path: Path, shown: str, progress: Progress) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(read_rows(path), 1):
        for name in ("problem", "solution", "mode"):
            if not isinstance(row.get(name), str):
                raise BadData("expected a text: a row is a dialogue", path=shown, row=number, field=name)
        progress.update()
        yield {name: row.get(name) for name in COLUMNS}


def _repeated(
    path: Path, shown: str, own: int, wanted: int, seed: int, progress: Progress
) -> Iterator[dict[str, Any]]:
    each, more = divmod(wanted, own)
    for _ in range(each):
        yield from _rows(path, shown, progress)
    chosen = set(random.Random(f"dialogues-{seed}").sample(range(own), more))
    for number, row in enumerate(read_rows(path)):
        if number in chosen:
            progress.update()
            yield {name: row.get(name) for name in COLUMNS}
