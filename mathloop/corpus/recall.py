"""Step: recalls mathematical documents with a classifier, trained again on what it recalled (Paper §1).

Each iteration trains on positives against a random sample of all documents, scores every document, and
counts the recalled ones per host. The first positives are the seeds; later ones are also documents that were
recalled with certainty, and documents of hosts that are mostly mathematical (DeepSeekMath, arXiv:2402.03300,
§2.1): these teach kinds of mathematics that the seeds do not have. Later negatives are neither.

Memory grows with the number of hosts (about 200 bytes each), not of documents.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import xxhash

from mathloop.corpus.classifier import Classifier, Scores, line_of, train
from mathloop.corpus.config import RecallConfig
from mathloop.corpus.extraction import text_of_row
from mathloop.corpus.steps import Outcome, run_step
from mathloop.errors import BadData
from mathloop.files import disk, replacing, write_file
from mathloop.problems.sources.files import file_rows
from mathloop.records import Document, read_documents
from mathloop.stages import Progress, StageReport, timed
from mathloop.work_folders import working

PART = 5_000
"""Documents per part: a killed recall repeats at most one part, or one training."""
Observe = Callable[[int, Scores], None]


class Host(NamedTuple):
    """Documents of one host."""

    documents: int
    recalled: int


@timed
def run(
    *,
    documents: Path,
    seeds: Iterable[Path],
    out: Path,
    dropped: Path | None,
    config: RecallConfig,
    seed: int = 0,
    observe: Observe | None = None,
) -> StageReport:
    """Writes the documents that the last iteration's classifier recalls.

    Args:
        seeds: texts known to be mathematical: documents, or problems with their solutions, in any format
            that problems are read from.
        observe: called after each iteration with its number (from 1) and [documents] scores.

    Raises:
        BadData: there are no seeds, or no documents.
    """
    seeds = list(seeds)
    settings = f"{config.model_dump_json()} {seed}"
    with working("recall-parts", out, [documents, *seeds], settings) as work:
        report = _recall(work, documents, seeds, config, seed, observe)
        scores = _Joined(work, config.iterations)
        final = run_step(
            "recall",
            _kept(config.threshold),
            lambda: zip(read_documents(documents), scores, strict=True),
            inputs=[documents],
            out=out,
            dropped=dropped,
            settings=settings,
        )
    final.values |= report
    return final


def _kept(threshold: float) -> Callable[[Any], Iterator[Outcome]]:
    def apply(batch: list[tuple[Document, float]]) -> Iterator[Outcome]:
        for document, score in batch:
            yield ("" if score >= threshold else "not mathematical"), document

    return apply


def _recall(
    work: Path, documents: Path, seeds: list[Path], config: RecallConfig, seed: int, observe: Observe | None
) -> dict[str, float]:
    known = list(islice(map(line_of, chain.from_iterable(map(seed_texts, seeds))), config.most_positives))
    if not known:
        raise BadData(
            "no seeds; expected texts that are known to be mathematical", path=next(iter(seeds), None)
        )
    parts = _write_lines(work, documents)
    if not parts:
        raise BadData("no documents; expected at least one", path=documents)
    values: dict[str, float] = {}
    scores: list[Scores] = []
    math_hosts: set[str] = set()
    progress = Progress("recall", config.iterations * parts, "parts")
    for iteration in range(1, config.iterations + 1):
        folder = work / str(iteration)
        with disk(folder):
            folder.mkdir(exist_ok=True)
        model = folder / "model.bin"
        if not model.with_suffix(".done").exists():
            rows = _training_rows(work, parts, known, scores, math_hosts, config, f"{seed} {iteration}")
            train(model, rows, config)
            write_file(model.with_suffix(".done"), b"")
        classifier = Classifier(model)
        scores = [_score(work, iteration, part, classifier, progress) for part in range(parts)]
        hosts = _hosts(work, scores, config.threshold)
        math_hosts = {
            name
            for name, host in hosts.items()
            if host.documents >= config.host_documents and host.recalled >= config.host_share * host.documents
        }
        recalled = sum(int((own >= config.threshold).sum()) for own in scores)
        values[f"recalled, iteration {iteration}"] = float(recalled)
        values[f"mathematical hosts, iteration {iteration}"] = float(len(math_hosts))
        if observe is not None:
            observe(iteration, np.concatenate(scores))
    values["hosts"] = float(len(hosts))
    return values


def seed_texts(path: Path) -> Iterator[str]:
    """The texts of seeds: `text`, or a problem and its solutions as one text."""
    for number, row in file_rows(path, None):
        yield text_of_row(row, path, number)


def host_of(url: str) -> str:
    """The host of an address, without port and `www.`; empty for none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _write_lines(work: Path, documents: Path) -> int:
    """Writes each document's line and host, in parts; returns their number. Done parts are only counted."""
    reading, part = read_documents(documents), 0
    progress = Progress("recall", None, "documents")
    while batch := list(islice(reading, PART)):
        path = work / f"{part}.lines"
        if not path.exists():
            text = "".join(f"{host_of(one.url)}\t{line_of(one.text)}\n" for one in batch)
            write_file(path, text.encode("utf-8", "replace"))
        progress.update(len(batch))
        part += 1
    return part


def _lines(work: Path, part: int) -> Iterator[tuple[str, str]]:
    """(host, line) of each document of a part."""
    with open(work / f"{part}.lines", encoding="utf-8", newline="\n") as file:
        for line in file:
            host, _, text = line.removesuffix("\n").partition("\t")
            yield host, text


def _training_rows(
    work: Path,
    parts: int,
    known: list[str],
    scores: list[Scores],
    math_hosts: set[str],
    config: RecallConfig,
    salt: str,
) -> Iterator[tuple[bool, str]]:
    """Positives and negatives, alternating as far as there are both."""
    chosen: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
    most = {True: config.most_positives, False: int(config.negatives * config.most_positives)}
    for part in range(parts):
        for row, (host, line) in enumerate(_lines(work, part)):
            score = float(scores[part][row]) if scores else None
            kind = _kind(score, host in math_hosts, config)
            if kind is None or not line:
                continue
            entry = (-xxhash.xxh3_64_intdigest(f"{salt} {part} {row}"), part, row)
            heap = chosen[kind]
            if len(heap) < most[kind]:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
    positives = len(known) + len(chosen[True])
    limit = int(config.negatives * positives)
    places = {
        kind: {(part, row) for _, part, row in (sorted(heap, reverse=True)[:limit] if not kind else heap)}
        for kind, heap in chosen.items()
    }
    rows = chain(((True, line) for line in known), _at(work, parts, places))
    return _shuffled(rows, salt)


def _kind(score: float | None, on_math_host: bool, config: RecallConfig) -> bool | None:
    """Whether a document may be a positive (True), a negative (False) or neither."""
    if score is None:
        return False  # before the first scores every document is a negative: few are mathematical
    if score >= config.certain or (on_math_host and score >= config.host_score):
        return True
    return None if on_math_host or score >= config.threshold else False


def _at(work: Path, parts: int, places: dict[bool, set[tuple[int, int]]]) -> Iterator[tuple[bool, str]]:
    for part in range(parts):
        for row, (_, line) in enumerate(_lines(work, part)):
            for kind in (True, False):
                if (part, row) in places[kind]:
                    yield kind, line


def _shuffled(rows: Iterable[tuple[bool, str]], salt: str) -> Iterator[tuple[bool, str]]:
    """In a random order that depends on the salt: fastText learns in the order of its file."""
    together = list(rows)
    order = np.random.default_rng(xxhash.xxh3_64_intdigest(salt)).permutation(len(together))
    return (together[int(place)] for place in order)


def _score(work: Path, iteration: int, part: int, classifier: Classifier, progress: Progress) -> Scores:
    path = work / str(iteration) / f"{part}.npy"
    if not path.exists():
        with replacing(path) as partial, disk(path), open(partial, "wb") as file:
            np.save(file, classifier.scores([line for _, line in _lines(work, part)]))
    progress.update()
    loaded: Scores = np.load(path, mmap_mode="r", allow_pickle=False)
    return loaded


class _Joined:
    """The scores of an iteration, one after another."""

    def __init__(self, work: Path, iteration: int) -> None:
        self._folder = work / str(iteration)

    def __iter__(self) -> Iterator[float]:
        for part in range(sum(1 for _ in self._folder.glob("*.npy"))):
            yield from np.load(self._folder / f"{part}.npy", allow_pickle=False).tolist()


def _hosts(work: Path, scores: list[Scores], threshold: float) -> dict[str, Host]:
    documents: Counter[str] = Counter()
    recalled: Counter[str] = Counter()
    for part, own in enumerate(scores):
        for (host, _), score in zip(_lines(work, part), own.tolist(), strict=True):
            documents[host] += 1
            recalled[host] += score >= threshold
    documents.pop("", None)
    return {host: Host(count, recalled[host]) for host, count in documents.items()}
