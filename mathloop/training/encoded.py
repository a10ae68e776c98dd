"""Samples encoded once per machine, into memory-mapped files that all its processes read.

A token takes five bytes of disk and page cache, whatever the number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from mathloop.files import disk, replacing_folder
from mathloop.models.packing import Sample
from mathloop.training.order import hash_data

_SUMMARY = "summary.json"
_COLUMNS = {"tokens": np.uint32, "learned": np.bool_, "ends": np.int64, "prompts": np.int32}
"""The files: per token, and whether it is learned; per sample its end in these, and its prompt's length."""


class EncodedSamples(Sequence[Sample]):
    """The samples in a folder of `write_samples`; each is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.summary: dict[str, Any] = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
        """`samples`, `tokens`, `hash` (of all tokens, as `hash_data`) and what the writer added."""
        self._columns = {name: _map(folder / name, kind) for name, kind in _COLUMNS.items()}

    def __len__(self) -> int:
        return int(self.summary["samples"])

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        ends = self._columns["ends"]
        span = slice(int(ends[index - 1]) if index else 0, int(ends[index]))
        return Sample(
            self._columns["tokens"][span].tolist(),
            self._columns["learned"][span].astype(np.float64).tolist(),
            int(self._columns["prompts"][index]),
        )


def write_samples(folder: Path, samples: Iterable[Sample], summary: dict[str, Any]) -> None:
    """Replaces `folder` by one with these samples, of which each token is learned (weight 1) or not (0).

    Memory does not grow with them. `summary` is saved as it is when the last sample was taken.

    Raises StorageRefused if the disk refuses.
    """
    with replacing_folder(folder) as partial, disk(folder):
        files = {name: open(partial / name, "wb") for name in _COLUMNS}  # noqa: SIM115  (closed below)
        counts = {"samples": 0, "tokens": 0}
        try:
            digest = hash_data(_written(samples, files, counts))
        finally:
            for file in files.values():
                file.close()
        whole = {**counts, "hash": digest, **summary}
        (partial / _SUMMARY).write_text(json.dumps(whole), encoding="utf-8")


def _written(
    samples: Iterable[Sample], files: Mapping[str, BinaryIO], counts: dict[str, int]
) -> Iterator[list[int]]:
    for sample in samples:
        counts["samples"] += 1
        counts["tokens"] += len(sample.tokens)
        values: dict[str, Any] = {
            "tokens": sample.tokens,
            "learned": sample.weights,
            "ends": [counts["tokens"]],
            "prompts": [sample.prompt],
        }
        for name, kind in _COLUMNS.items():
            files[name].write(np.asarray(values[name], dtype=kind).tobytes())
        yield sample.tokens


def _map(path: Path, kind: Any) -> Any:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)
