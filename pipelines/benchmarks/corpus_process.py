"""One step of a corpus in a process of its own; prints time, peak memory and what it found as JSON.

python -m pipelines.benchmarks.corpus_process STEP FOLDER [MODEL]
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mathloop.corpus.classifier import Scores, line_of
from mathloop.corpus.config import DeduplicationConfig, ExtractionConfig, QualityConfig, RecallConfig
from mathloop.records import read_documents, read_rows
from mathloop.stages import StageReport
from pipelines.benchmarks.corpus_data import is_math, shingles, similarity
from pipelines.benchmarks.memory import memory

LEAST_CHARACTERS = 60
FALSE_BELOW = 0.7
"""A dropped document whose most similar earlier one is less similar than this was no copy."""


def _extraction(folder: Path) -> tuple[StageReport, Any]:
    from mathloop.corpus import extraction

    config = ExtractionConfig(least_characters=LEAST_CHARACTERS, languages=())
    return extraction.run(
        pages=folder / "pages.parquet",
        out=folder / "extraction.jsonl",
        dropped=folder / "extraction.dropped",
        config=config,
    ), None


def _recall(folder: Path) -> tuple[StageReport, Any]:
    from mathloop.corpus import recall

    lines: list[dict[str, float]] = []

    def observe(iteration: int, scores: Scores) -> None:
        found: Counter[tuple[bool, bool]] = Counter()
        for one, score in zip(read_documents(folder / "extraction.jsonl"), scores.tolist(), strict=True):
            found[is_math(one.id), score >= 0.5] += 1
        right = found[True, True]
        recalled, precise = right + found[True, False], right + found[False, True]
        lines.append(
            {"recall": right / max(1, recalled), "precision": right / max(1, precise), "recalled": precise}
        )

    report = recall.run(
        documents=folder / "extraction.jsonl",
        seeds=[folder / "seeds.jsonl"],
        out=folder / "recall.jsonl",
        dropped=folder / "recall.dropped",
        config=RecallConfig(),
        observe=observe,
    )
    for number, line in enumerate(lines, start=1):
        line["hosts"] = report.values[f"mathematical hosts, iteration {number}"]
    return report, lines


def _deduplication(folder: Path) -> tuple[StageReport, Any]:
    from mathloop.corpus import deduplication

    report = deduplication.run(
        documents=folder / "extraction.jsonl",
        out=folder / "deduplication.jsonl",
        dropped=folder / "deduplication.dropped",
        config=DeduplicationConfig(),
    )
    return report, None


def _quality(folder: Path, model: str = "") -> tuple[StageReport, Any]:
    from mathloop.corpus import quality

    config = QualityConfig(sample=100 if model else 2000, max_tokens=256)
    return quality.run(
        documents=folder / "recall.jsonl",
        out=folder / "quality.jsonl",
        dropped=folder / "quality.dropped",
        config=config,
        scorer=_rater(model, config) if model else _Unigrams(folder / "seeds.jsonl"),
    ), None


def _rater(model: str, config: QualityConfig) -> Any:
    from mathloop.corpus.rating import Rater

    return Rater(Path(model), config.max_tokens)


class _Unigrams:
    """A stand-in for a language model: the frequencies of the seeds' words."""

    def __init__(self, seeds: Path) -> None:
        self._counts = Counter(token for row in read_rows(seeds) for token in line_of(row["text"]).split())

    def __call__(self, texts: Sequence[str]) -> list[float]:
        total = self._counts.total()
        scores = []
        for text in texts:
            found = line_of(text).split()
            scores.append(sum(math.log((self._counts[t] + 0.5) / total) for t in found) / max(1, len(found)))
        return scores


def _questions(folder: Path) -> tuple[StageReport, Any]:
    from mathloop.corpus import questions

    return questions.run(
        documents=folder / "recall.jsonl", out=folder / "questions.jsonl", dropped=None
    ), None


def _mixture(folder: Path) -> tuple[StageReport, Any]:
    from mathloop.corpus.config import SourceConfig
    from mathloop.corpus.mixture import mix
    from mathloop.records import write_documents

    names = {"recalled": "recall.jsonl", "unique": "deduplication.jsonl"}
    sources = [SourceConfig(name=name, path="", weight=1.0) for name in names]
    files = {name: folder / file for name, file in names.items()}
    count = write_documents(folder / "mixture.parquet", mix(sources, files))
    return StageReport("mixture", inputs=count, kept=count), None


STEPS: dict[str, Callable[..., tuple[StageReport, Any]]] = {
    "extraction": _extraction,
    "recall": _recall,
    "deduplication": _deduplication,
    "quality": _quality,
    "questions": _questions,
    "mixture": _mixture,
}


def check_copies(folder: Path) -> dict[str, float]:
    """How many planted pairs lost one member, and how many dropped documents resemble no earlier one.

    Only documents made of problems are checked: their true similarity is computed from all of their shingles.
    """
    kept = {one.id for one in read_documents(folder / "deduplication.jsonl")}
    owners: dict[tuple[str, ...], list[str]] = defaultdict(list)
    sets: dict[str, set[tuple[str, ...]]] = {}
    dropped = false = unlike = pairs = found = 0
    names = {one.id for one in read_documents(folder / "extraction.jsonl")}
    for one in read_documents(folder / "extraction.jsonl"):
        if one.id.startswith("copy/"):
            original = one.id.replace("copy/", "math/")
            pairs += original in names
            found += original in names and not (one.id in kept and original in kept)
        if not is_math(one.id):
            continue
        own = sets[one.id] = shingles(one.text)
        if one.id not in kept:
            dropped += 1
            rivals = {name for shingle in own for name in owners[shingle][:50]}
            best = max((similarity(own, sets[name]) for name in rivals), default=0.0)
            false += best < FALSE_BELOW
            unlike += best < 0.8
        for shingle in own:
            owners[shingle].append(one.id)
    whole = sum(map(is_math, names))
    return {
        "pairs": pairs,
        "found": found,
        "dropped": dropped,
        "below 0.8": unlike,
        "false": false,
        "documents": whole,
    }


def main() -> None:
    """Runs the step of the arguments."""
    step, folder, *model = sys.argv[1:]
    if step == "rating":
        step = "quality"
    before = memory("VmRSS")
    cpu, clock = time.process_time(), time.monotonic()
    report, found = STEPS[step](Path(folder), *model)
    row = {
        "cpu": time.process_time() - cpu,
        "seconds": time.monotonic() - clock,
        "mib": memory("VmHWM"),
        "added": memory("VmHWM") - before,
        "inputs": report.inputs,
        "kept": report.kept,
        "values": report.values,
        "found": found,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
