"""Step: leaves out documents that are near-copies of earlier ones, with an index on disk.

Signatures (480 bytes per document) and sorted keys of bands (320 bytes) are written in parts. Keys are then
compared one range of hashes at a time, so that memory stays constant but for one byte per document. A
document is dropped only if one that stays resembles it; of copies, the first stays.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mathloop.corpus.config import DeduplicationConfig
from mathloop.corpus.steps import Outcome, run_step
from mathloop.decontamination.minhash import BANDS, PERMUTATIONS, U32, least_estimate, resemblance, signatures
from mathloop.files import disk, write_file
from mathloop.records import Document, read_documents
from mathloop.stages import Progress, StageReport, timed
from mathloop.work_folders import working

PART = 2_000
"""Documents per part: a killed step repeats at most one part."""
KEYS = 1 << 22
"""Keys that are compared together, 16 bytes each."""
_LEADERS = 16
"""Documents of a group with one key that the rest of it is compared with."""
_ENTRY = np.dtype([("key", np.uint64), ("document", np.int64)])
_LINK = np.dtype([("document", np.int64), ("leader", np.int64)])
_SIGNATURE = PERMUTATIONS * 4


@timed
def run(*, documents: Path, out: Path, dropped: Path | None, config: DeduplicationConfig) -> StageReport:
    """Writes the documents that are no near-copies of earlier ones."""
    settings = config.model_dump_json()
    with working("deduplication-index", out, [documents], settings) as work:
        count, parts = _index(work, documents, config.shingle)
        pairs = _link(work, count, parts, least_estimate(config.jaccard))
        copies = _decide(work, count)
        report = run_step(
            "deduplication",
            _outcomes,
            lambda: zip(read_documents(documents), copies, strict=True),
            inputs=[documents],
            out=out,
            dropped=dropped,
            settings=settings,
        )
    report.values["compared pairs"] = float(pairs)
    return report


def _outcomes(batch: Any) -> Iterator[Outcome]:
    for document, is_copy in batch:
        yield ("near-copy of an earlier document" if is_copy else ""), document


def _index(work: Path, documents: Path, shingle: int) -> tuple[int, int]:
    """Writes signatures and keys of each part that has none; returns the numbers of documents and parts."""
    reading: Iterator[Document] = read_documents(documents)
    progress = Progress("deduplication", None, "documents")
    count = part = 0
    while batch := list(islice(reading, PART)):
        path = work / f"{part}.keys"
        if not path.exists():
            own = signatures([one.text for one in batch], shingle)
            with disk(work):
                write_file(work / f"{part}.signatures", own.values.tobytes())
            entries = np.zeros((len(batch), BANDS), _ENTRY)
            entries["key"] = own.keys()
            entries["document"] = np.arange(count, count + len(batch))[:, None]
            write_file(path, np.sort(entries[own.filled].ravel(), order="key").tobytes())
        count, part = count + len(batch), part + 1
        progress.update(len(batch))
    return count, part


def _link(work: Path, count: int, parts: int, least: float) -> int:
    """Writes which documents resemble which, a file per range of keys; returns how many pairs it compared."""
    ranges = max(1, math.ceil(count * BANDS / KEYS))
    borders = [(number << 64) // ranges for number in range(ranges)]
    compared = 0
    progress = Progress("deduplication", ranges, "ranges of keys")
    for number, start in enumerate(borders):
        path = work / f"{number}.links"
        if not path.exists():
            end = borders[number + 1] if number + 1 < ranges else None
            entries = np.concatenate(
                [np.zeros(0, _ENTRY), *(_slice(work / f"{part}.keys", start, end) for part in range(parts))]
            )
            links, own = _resembling(work, entries, least)
            compared += own
            write_file(path, np.sort(links, order=("document", "leader")).tobytes())
        progress.update()
    return compared


def _slice(path: Path, start: int, end: int | None) -> npt.NDArray[Any]:
    """The entries of a part with keys from `start` up to, but not including, `end`."""
    if not os.path.getsize(path):
        return np.zeros(0, _ENTRY)
    entries = np.memmap(path, _ENTRY, mode="r")
    first = int(np.searchsorted(entries["key"], np.uint64(start)))
    last = len(entries) if end is None else int(np.searchsorted(entries["key"], np.uint64(end)))
    return np.array(entries[first:last])


def _resembling(work: Path, entries: npt.NDArray[Any], least: float) -> tuple[npt.NDArray[Any], int]:
    """Links of the documents that share a key and resemble one another, and the number of comparisons.

    In each group, all are compared with the first; those that do not resemble it with the first of them.
    """
    entries = np.sort(entries, order=("key", "document"))
    links, compared = [np.zeros(0, _LINK)], 0
    for _ in range(_LEADERS):
        keys = entries["key"]
        first = np.ones(len(keys), bool)
        first[1:] = keys[1:] != keys[:-1]
        leaders = np.maximum.accumulate(np.where(first, np.arange(len(keys)), 0))
        rest = np.flatnonzero(~first)
        if not len(rest):
            break
        pairs = np.zeros(len(rest), _LINK)
        pairs["document"], pairs["leader"] = entries["document"][rest], entries["document"][leaders[rest]]
        similar = _similar(work, pairs, least)
        compared += len(pairs)
        links.append(np.unique(pairs[similar]))
        entries = entries[rest[~similar]]
    return np.unique(np.concatenate(links)), compared


def _similar(work: Path, pairs: npt.NDArray[Any], least: float) -> npt.NDArray[np.bool_]:
    similar = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), PART):
        chunk = pairs[start : start + PART]
        ours, theirs = (_signatures(work, chunk[side]) for side in ("document", "leader"))
        similar[start : start + PART] = resemblance(ours, theirs) >= least
    return similar


def _signatures(work: Path, documents: npt.NDArray[np.int64]) -> U32:
    """[documents, PERMUTATIONS] Read one by one: a memory map would stay in memory."""
    values = np.zeros((len(documents), PERMUTATIONS), np.uint32)
    order = np.argsort(documents, kind="stable")
    last, file = -1, None
    try:
        for place in order.tolist():
            part, row = divmod(int(documents[place]), PART)
            if part != last:
                if file is not None:
                    file.close()
                file, last = open(work / f"{part}.signatures", "rb", buffering=0), part  # noqa: SIM115
            assert file is not None
            values[place] = np.frombuffer(os.pread(file.fileno(), _SIGNATURE, row * _SIGNATURE), np.uint32)
    finally:
        if file is not None:
            file.close()
    return values


def _decide(work: Path, count: int) -> Iterator[bool]:
    """[documents] Whether each is a copy of one that stays; in order, so that leaders are decided first."""
    gone = bytearray(count)
    step = max(1, KEYS // 4)
    paths = sorted(work.glob("*.links"))
    for start in range(0, count, step):
        for pair in np.unique(np.concatenate([_of_range(path, start, start + step) for path in paths])):
            gone[int(pair["document"])] |= not gone[int(pair["leader"])]
    return map(bool, gone)


def _of_range(path: Path, start: int, end: int) -> npt.NDArray[Any]:
    if not os.path.getsize(path):
        return np.zeros(0, _LINK)
    links = np.memmap(path, _LINK, mode="r")
    first, last = np.searchsorted(links["document"], (start, end))
    return np.array(links[first:last])
