"""The problems of a benchmark: found in a data folder, checked, and marked as the benchmark's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mathloop.errors import BadData
from mathloop.evaluation.benchmarks.benchmark import Benchmark
from mathloop.files import content_digest, joined_digest, reading
from mathloop.lines import shown
from mathloop.problems.sources import read_source
from mathloop.problems.sources.files import data_files, splits_in
from mathloop.records import Problem
from mathloop.storage import local_copy, remote_url

ENVIRONMENT = "MATHLOOP_BENCHMARKS"
"""Environment variable with data folders, separated as in PATH."""
_LETTERS = re.compile(r"[A-Z]+")
_SUFFIXES = (".jsonl", ".parquet", ".json", ".csv", ".jsonl.gz", ".jsonl.zst")


def data_folders(folders: Sequence[Path] = ()) -> list[Path]:
    """The given data folders, and those of the environment."""
    named = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    return [*folders, *(Path(name).expanduser() for name in named if name)]


def find_data(benchmark: Benchmark, folders: Sequence[Path] = ()) -> str:
    """Where its data is: its own path, or NAME or NAME.jsonl (…) in `folders` or the environment's.

    Raises:
        BadData: it is nowhere; one line that says where it was looked for.
    """
    if benchmark.path:
        return benchmark.path
    searched = data_folders(folders)
    remote = [url for folder in searched if (url := remote_url(folder))]
    for folder in searched:
        for place in (folder / benchmark.name, *(folder / f"{benchmark.name}{s}" for s in _SUFFIXES)):
            if place.exists():
                return str(place)
    if remote:  # whether it is there shows when it is read
        return f"{remote[0]}/{benchmark.name}/{benchmark.split}.jsonl"
    where = ", ".join(map(str, searched)) or "no data folder is set"
    source = f" (published at {benchmark.source})" if benchmark.source else ""
    raise BadData(
        f"the data of benchmark {benchmark.name} was not found (searched: {where}); put it{source} into "
        f"{benchmark.name}/{benchmark.split}.jsonl of a data folder, and name that folder in "
        f"benchmarks.folders, {ENVIRONMENT} or evaluate --data"
    )


def read_benchmark(benchmark: Benchmark, folders: Sequence[Path] = ()) -> Iterator[Problem]:
    """Yields its problems: `source` is the benchmark's name, and every `id` starts with it.

    Raises:
        BadData: its data is not found, is not what was recorded, has broken rows, or is not multiple choice
            although the entry says so.
    """
    with local_copy(find_data(benchmark, folders)) as place:
        _check(benchmark, place)
        source = read_source(
            place,
            fields=benchmark.fields,
            layout=benchmark.layout or None,
            split=_split(benchmark, place),
            prose=benchmark.sha256 is not None,  # a recorded set is measured whole, as others measure it
        )
        seen: set[str] = set()
        for problem in source:
            name = f"{benchmark.name}/{problem.id}"
            name = name if name not in seen else f"{name}-{len(seen) + 1}"
            seen.add(name)
            if benchmark.choices and not _LETTERS.fullmatch(problem.answer or ""):
                raise BadData(
                    f"{name}: the gold answer {shown(problem.answer or '')} is no letter, and the entry of "
                    f"{benchmark.name} says choices: true; correct layout or fields there, or remove choices",
                    path=place,
                )
            language = benchmark.language or problem.language
            yield replace(problem, id=name, source=benchmark.name, language=language)
        source.check()
        if benchmark.sha256 is not None and benchmark.problems not in (None, len(seen)):
            raise BadData(
                f"expected the {benchmark.problems:,} problems of benchmark {benchmark.name}, found "
                f"{len(seen):,}; correct problems, layout or fields in its YAML file",
                path=place,
            )


def data_digest(benchmark: Benchmark, folders: Sequence[Path] = ()) -> str:
    """SHA-256 of its data, of all files together where it is a folder. Raises BadData as `read_benchmark`."""
    with local_copy(find_data(benchmark, folders)) as place, reading(place):
        _check(benchmark, place)
        return joined_digest([content_digest(path) for path in data_files(place)])


def _check(benchmark: Benchmark, place: Path) -> None:
    """Raises BadData if the files that are read are not the recorded ones."""
    if benchmark.sha256 is None:
        return
    found = {path: content_digest(path) for path in data_files(place, _split(benchmark, place))}
    if joined_digest(list(found.values())) != benchmark.sha256:
        digests = ", ".join(f"{one[:12]}… in {path.name}" for path, one in found.items())
        raise BadData(
            f"not the recorded data of benchmark {benchmark.name} (expected SHA-256 "
            f"{benchmark.sha256[:12]}…, found {digests}): "
            "get the recorded version, or give a YAML file of your own with the checksum of yours",
            path=place,
        )


def _split(benchmark: Benchmark, place: Path) -> str | None:
    """The split to read; None of a file, and of a folder whose files name no split, which is read whole."""
    return benchmark.split if place.is_dir() and splits_in(place) else None
