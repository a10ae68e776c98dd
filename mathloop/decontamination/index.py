"""The index of benchmarks: built once, saved as a folder of arrays, loaded as memory maps.

The folder holds a `.npy` file for each array and `index.json`, written last: the format's version, the n-gram
that the arrays depend on, the benchmarks, and the size and checksum of every file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from mathloop.decontamination.answers import contradict
from mathloop.decontamination.batches import Arrays, Rule
from mathloop.decontamination.exact import Exact
from mathloop.decontamination.items import Item, Items
from mathloop.decontamination.ngram_lcs import NgramLcs
from mathloop.decontamination.rephrased import Rephrased
from mathloop.decontamination.sources import benchmark_name, read_items
from mathloop.decontamination.structure import Structure
from mathloop.decontamination.tokenization import tokenize
from mathloop.errors import BadData, Corrupt
from mathloop.files import disk, reading, replacing_folder

FORMAT = 4
"""Raised whenever the arrays, or what a hash is made of, change."""
CONTENTS = "index.json"


@dataclass(frozen=True)
class Index:
    """Items of benchmarks, and what the rules search in."""

    benchmarks: tuple[str, ...]
    ngram: int
    arrays: Arrays
    given: int
    """Items that it was built of; of equal ones it holds the first."""
    sources: str = ""
    """Names and checksums of the benchmarks' files, where it was built from files."""

    @classmethod
    def build(cls, items: Iterable[Item], *, ngram: int, sources: str = "") -> Index:
        """Indexes the items for every rule; which rules apply is said when it is searched."""
        items = list(items)
        given, names = len(items), tuple(dict.fromkeys(item.benchmark for item in items))
        items = _distinct(items)
        tokens = tokenize([item.text for item in items])
        arrays = {
            **Items.build(items, names, tokens),
            **NgramLcs.build(tokens, ngram),
            **Exact.build(tokens),
            **Structure.build(tokens),
            **Rephrased.build(items, tokens),
        }
        return cls(names, ngram, arrays, given, sources)

    @property
    def items(self) -> Items:
        """The items by number."""
        return Items(self.benchmarks, self.arrays)

    def rules(
        self, names: Sequence[str], *, lcs_ratio: float, structure_ratio: float, likeness: float
    ) -> list[Rule]:
        """The named rules, in the order given."""
        items = self.items
        made: dict[str, Callable[[], Rule]] = {
            "ngram_lcs": lambda: NgramLcs(items, self.arrays, ngram=self.ngram, lcs_ratio=lcs_ratio),
            "exact": lambda: Exact(items, self.arrays),
            "structure": lambda: Structure(items, self.arrays, structure_ratio=structure_ratio),
            "rephrased": lambda: Rephrased(items, self.arrays, likeness=likeness),
        }
        return [made[name]() for name in names]

    def save(self, folder: Path) -> None:
        """Writes the index to `folder`, whole or not at all; an index that is there is replaced.

        Raises:
            BadData: there is something else there.
            StorageRefused: the disk does not take it.
        """
        if folder.exists() and not (folder / CONTENTS).is_file():
            raise BadData("this is there and no index; choose another place for the index", path=folder)
        with replacing_folder(folder) as partial, disk(folder):
            files = {name: self._write(partial, name) for name in self.arrays}
            contents: dict[str, Any] = {"format": FORMAT, "ngram": self.ngram, "sources": self.sources}
            contents["given"] = self.given
            contents |= {"benchmarks": self.benchmarks, "files": files}
            (partial / CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")

    def _write(self, folder: Path, name: str) -> dict[str, Any]:
        path = folder / f"{name}.npy"
        np.save(path, np.ascontiguousarray(self.arrays[name]), allow_pickle=False)
        return {"bytes": path.stat().st_size, "xxh3": _checksum(path)}

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Maps a saved index into memory; what is read of it is shared between processes.

        Sizes are checked here; `verify` reads everything.

        Raises:
            BadData: there is no index, or it is of another version.
            Corrupt: a file is missing or was changed.
        """
        contents = _contents(folder)
        arrays = {}
        for name, told in contents["files"].items():
            path = folder / f"{name}.npy"
            try:
                if path.stat().st_size != told["bytes"]:
                    raise ValueError("its size changed")
                # As plain arrays over the map: numpy's own class for maps is slow at every step.
                arrays[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise _damaged(path, error) from None
        names, given = tuple(contents["benchmarks"]), int(contents["given"])
        return cls(names, int(contents["ngram"]), arrays, given, contents["sources"])


def _distinct(items: Sequence[Item]) -> list[Item]:
    """The first of each question, with the first answer that is known of it; none where two contradict.

    Many equal items would make every key of theirs look like one that says nothing.
    """
    same: dict[str, list[Item]] = {}
    for item in items:
        same.setdefault(" ".join(item.text.lower().split()), []).append(item)
    found = []
    for equal in same.values():
        answers = list(dict.fromkeys(item.answer for item in equal if item.answer))
        agreed = not any(contradict(answers[0], other) for other in answers[1:])
        found.append(replace(equal[0], answer=answers[0] if answers and agreed else None))
    return found


def open_index(benchmarks: Sequence[Path], *, ngram: int, folder: Path) -> Index:
    """The index of these files: that of `folder`, or a new one, which is kept there.

    Raises:
        BadData: a benchmark cannot be read, or `folder` holds something else, or an index of other files.
        Corrupt: the index is damaged.
    """
    sources = "".join(f"{benchmark_name(path)} {_checksum(path)}\n" for path in benchmarks)
    if not (folder / CONTENTS).is_file():
        Index.build(read_items(benchmarks), ngram=ngram, sources=sources).save(folder)
    index = Index.load(folder)
    if (index.sources, index.ngram) != (sources, ngram):
        reason = "an index of other benchmarks, or for another n-gram"
        raise BadData(f"{reason}; remove this folder, or name another", path=folder)
    verify(folder)
    return index


def verify(folder: Path) -> None:
    """Reads a saved index through; raises as `Index.load` does, and Corrupt for a changed byte."""
    for name, told in _contents(folder)["files"].items():
        path = folder / f"{name}.npy"
        try:
            if _checksum(path) != told["xxh3"]:
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
        raise _damaged(path, "it is no index's list of contents") from None
    if version != FORMAT:
        raise BadData(f"an index of format {version}, expected {FORMAT}; build it again", path=folder)
    return contents  # type: ignore[no-any-return]


def _damaged(path: Path, why: object) -> Corrupt:
    reason = str(why).splitlines()[0]
    return Corrupt(f"{path}: the index is damaged ({reason}); remove its folder, and it is built again")


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with reading(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
