"""The index of benchmarks: built once, saved as a folder of arrays, loaded as memory maps.

The folder contains a `.npy` file per array and `index.json`, written last: the format version, the n-gram
length that the arrays depend on, the benchmarks, and the size and checksum of every file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from mathloop.decontamination.answer_conflicts import share_no_number
from mathloop.decontamination.batches import Arrays, Rule
from mathloop.decontamination.exact import Exact
from mathloop.decontamination.items import Item, Items
from mathloop.decontamination.matching import Rules
from mathloop.decontamination.ngram_lcs import NgramLcs
from mathloop.decontamination.prefilter import Prefilter
from mathloop.decontamination.rephrased import Rephrased
from mathloop.decontamination.sources import benchmark_name, read_items
from mathloop.decontamination.spaceless import Spaceless
from mathloop.decontamination.structure import Structure
from mathloop.decontamination.tokenization import tokenize
from mathloop.errors import BadData, Corrupt
from mathloop.files import disk, reading, replacing_folder

FORMAT = 8
"""Increased whenever the arrays or the hash functions change."""
CONTENTS = "index.json"


@dataclass(frozen=True)
class Index:
    """Benchmark items, and the arrays that the rules search."""

    benchmarks: tuple[str, ...]
    ngram: int
    arrays: Arrays
    source_items: int
    """Number of items that it was built from; of equal ones it keeps the first."""
    sources: str = ""
    """Names and checksums of the benchmark files, if it was built from files."""

    @classmethod
    def build(cls, items: Iterable[Item], *, ngram: int, sources: str = "") -> Index:
        """Indexes the items for every rule; `rules` selects the ones to apply."""
        items = list(items)
        source_items, names = len(items), tuple(dict.fromkeys(item.benchmark for item in items))
        items = _distinct(items)
        tokens = tokenize([item.text for item in items])
        arrays = {
            **Items.build(items, names, tokens),
            **NgramLcs.build(tokens, ngram),
            **Exact.build(tokens),
            **Spaceless.build(item.text for item in items),
            **Structure.build(tokens),
            **Rephrased.build(items, tokens),
        }
        return cls(names, ngram, arrays, source_items, sources)

    @property
    def items(self) -> Items:
        """The items by number."""
        return Items(self.benchmarks, self.arrays)

    def rules(
        self, names: Sequence[str], *, lcs_ratio: float, structure_ratio: float, likeness: float
    ) -> Rules:
        """The named rules, in the order of `names`. Raises Corrupt for a damaged index."""
        items = self.items
        factories: dict[str, Callable[[], Rule]] = {
            "ngram_lcs": lambda: NgramLcs(items, self.arrays, ngram=self.ngram, lcs_ratio=lcs_ratio),
            "exact": lambda: Exact(items, self.arrays),
            "structure": lambda: Structure(items, self.arrays, structure_ratio=structure_ratio),
            "rephrased": lambda: Rephrased(items, self.arrays, likeness=likeness),
        }
        prefilter = Prefilter(
            self.arrays,
            ngram=self.ngram if "ngram_lcs" in names else 0,
            exact="exact" in names,
            structure_ratio=structure_ratio if "structure" in names else 0.0,
            rephrased="rephrased" in names,
        )
        return Rules([factories[name]() for name in names], prefilter)

    def save(self, folder: Path) -> None:
        """Writes the index to `folder`, whole or not at all; replaces an existing index.

        Raises:
            BadData: `folder` exists but is not an index.
            StorageRefused: the disk refuses the write.
        """
        if folder.exists() and not (folder / CONTENTS).is_file():
            message = "exists but is not a decontamination index; choose another folder for --index"
            raise BadData(message, path=folder)
        with replacing_folder(folder) as partial, disk(folder):
            files = {name: self._write(partial, name) for name in self.arrays}
            contents: dict[str, Any] = {"format": FORMAT, "ngram": self.ngram, "sources": self.sources}
            contents["given"] = self.source_items
            contents |= {"benchmarks": self.benchmarks, "files": files}
            (partial / CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")

    def _write(self, folder: Path, name: str) -> dict[str, Any]:
        path = folder / f"{name}.npy"
        np.save(path, np.ascontiguousarray(self.arrays[name]), allow_pickle=False)
        return {"bytes": path.stat().st_size, "xxh3": _checksum(path)}

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Maps a saved index into memory; processes share the pages that they read.

        Checks the file sizes; `verify` checks every byte.

        Raises:
            BadData: there is no index, or it has another format version.
            Corrupt: a file is missing or was changed.
        """
        contents = _contents(folder)
        arrays = {}
        for name, file in contents["files"].items():
            path = folder / f"{name}.npy"
            try:
                if path.stat().st_size != file["bytes"]:
                    raise ValueError("its size changed")
                # As a plain array over the map: every operation on numpy.memmap is slower.
                arrays[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise _damaged(path, error) from None
        names, source_items = tuple(contents["benchmarks"]), int(contents["given"])
        return cls(names, int(contents["ngram"]), arrays, source_items, contents["sources"])


def _distinct(items: Sequence[Item]) -> list[Item]:
    """The first item of each question, with its first known answer; without one where two answers conflict.

    Many equal items would make all their keys look unselective.
    """
    same: dict[str, list[Item]] = {}
    for item in items:
        same.setdefault(" ".join(item.text.lower().split()), []).append(item)
    found = []
    for equal in same.values():
        answers = list(dict.fromkeys(item.answer for item in equal if item.answer))
        agreed = not any(share_no_number(answers[0], other) for other in answers[1:])
        found.append(replace(equal[0], answer=answers[0] if answers and agreed else None))
    return found


def open_index(benchmarks: Sequence[Path], *, ngram: int, folder: Path) -> Index:
    """The index of these files: loaded from `folder`, or built and saved there.

    Raises:
        BadData: a benchmark cannot be read, or `folder` is not an index, or an index of other files.
        Corrupt: the index is damaged.
    """
    sources = "".join(f"{benchmark_name(path)} {_checksum(path)}\n" for path in benchmarks)
    if not (folder / CONTENTS).is_file():
        Index.build(read_items(benchmarks), ngram=ngram, sources=sources).save(folder)
    index = Index.load(folder)
    if (index.sources, index.ngram) != (sources, ngram):
        reason = "an index of other benchmarks, or for another n-gram length"
        raise BadData(f"{reason}; delete this folder, or choose another", path=folder)
    verify(folder)
    return index


def verify(folder: Path) -> None:
    """Checks every byte of a saved index; raises as `Index.load` does, and Corrupt for a changed byte."""
    for name, file in _contents(folder)["files"].items():
        path = folder / f"{name}.npy"
        try:
            if _checksum(path) != file["xxh3"]:
                raise ValueError("its checksum changed")
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from None


def _contents(folder: Path) -> Mapping[str, Any]:
    path = folder / CONTENTS
    with reading(path):
        text = path.read_bytes()
    try:
        contents = json.loads(text)
        version = contents["format"]
    except (ValueError, KeyError, TypeError):
        raise _damaged(path, "it does not list an index's contents") from None
    if version != FORMAT:
        message = f"an index of format {version}, expected {FORMAT}; delete this folder to rebuild it"
        raise BadData(message, path=folder)
    return contents  # type: ignore[no-any-return]


def _damaged(path: Path, why: object) -> Corrupt:
    reason = str(why).splitlines()[0]
    return Corrupt(f"{path}: the index is damaged ({reason}); delete its folder to rebuild it")


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with reading(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
