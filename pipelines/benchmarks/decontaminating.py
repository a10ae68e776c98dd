"""`mathloop benchmark decontaminate`: recall, false positives and speed, compared with open-r1's method."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item, Items
from mathloop.decontamination.matching import Match, Rules, find_matches
from mathloop.decontamination.native import loaded
from mathloop.decontamination.shards import ROWS
from mathloop.decontamination.sources import passages, read_items
from mathloop.decontamination.stock import is_stock
from mathloop.errors import BadData
from mathloop.records.rows import numbered_rows
from pipelines.benchmarks.contamination_data import (
    COPIES,
    SEED,
    OpenR1,
    generate_items,
    generate_rows,
    write_rows,
)
from pipelines.benchmarks.cores import one_core
from pipelines.benchmarks.printing import Progress, aligned, machine, shortened

TURNS = 6
"""The peer and mathloop alternate; the best turn of each counts, since other load only slows them."""
PEER_ROWS = 8_000
"""Rows per turn at most; the peer is too slow for more."""

GENERATED_ITEMS = 10_000
ALL_RULES = DecontaminationConfig().rules
PAPER_PAIRS = (
    ("What is the remainder when 1 + 2 + 3 + 4 + ··· + 9 + 10 is divided by {}?", "8", "9"),
    (
        "For how many integer values of n between 1 and 1000 inclusive does the decimal representation of"
        " n/{} terminate?",
        "1400",
        "1375",
    ),
    (
        "Krista put 1 cent into her new bank on Sunday morning. On Monday she put 2 cents into her bank. On"
        " Tuesday she put 4 cents into her bank, and she continued to double the amount of money she put into"
        " her bank each day for two weeks. On what day of the week did the total amount of money in her bank"
        " first exceed ${}?",
        "2",
        "5",
    ),
)
"""A problem, and its number in training data and test set (Qwen2.5-Math report, table 1)."""


def run(data: Path | None, rows: Sequence[int], rephrased: Path | None) -> None:
    """Measures and prints; raises BadData if `data` has no benchmarks or a row is invalid."""
    items, train = _read(data)
    print(machine())
    print(f"filter: {loaded()[1]}")
    print(f"data: {data}" if data else f"data: generated with seed {SEED}; --data DIR uses real benchmarks")
    with Progress() as progress, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        progress.step("index")
        index = _index(items, work / "index")
        progress.step("the paper's pairs, copies")
        _pairs()
        _copies(index, items)
        if rephrased is not None:
            _rephrased(index, rephrased)
        progress.step("training rows")
        _lost(index, train)
        progress.step("speed, one core")
        _speed(index, items, train)
        for count in rows:
            progress.step(f"{count:,} generated rows from a file")
        _files(work, items, rows)


def _read(data: Path | None) -> tuple[list[Item], list[list[Passage]]]:
    if data is None:
        items = [Item("generated", text) for text in generate_items(GENERATED_ITEMS, SEED)]
        return items, [
            [Passage(problem, True), Passage(solution, False)]
            for problem, solution in generate_rows(PEER_ROWS * 4, SEED + 1)
        ]
    files = sorted((data / "benchmarks").glob("*/*.jsonl"))
    if not files:
        raise BadData("no benchmarks/*/*.jsonl in this folder; expected one folder per benchmark", path=data)
    items = list(read_items(files))
    source = data / "train" / "gsm8k" / "train.jsonl"
    return items, [passages(row, source, number) for number, row in numbered_rows(source)]


def _rules(index: Index, names: Sequence[str] = ALL_RULES) -> Rules:
    config = DecontaminationConfig()
    return index.rules(
        names,
        lcs_ratio=config.lcs_ratio,
        structure_ratio=config.structure_ratio,
        likeness=config.likeness,
    )


def _find(rows: Sequence[Sequence[Passage]], rules: Rules, items: Items) -> list[Match | None]:
    return [
        match
        for start in range(0, len(rows), ROWS)
        for match in find_matches(rows[start : start + ROWS], rules, items)
    ]


def _index(items: Sequence[Item], folder: Path) -> Index:
    index = Index.build(items, ngram=13)
    built = _seconds(lambda: Index.build(items, ngram=13))
    saved = _seconds(lambda: index.save(folder))
    loaded = min(_seconds(lambda: Index.load(folder)) for _ in range(5))
    size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
    times = f"built in {built:.2f} s, saved in {saved:.2f} s, loaded in {1000 * loaded:.1f} ms"
    print(f"\nindex of {len(items):,} items, {len(index.benchmarks)} benchmarks, {size:.0f} MiB: {times}")
    return Index.load(folder)


def _pairs() -> None:
    detected = 0
    for text, train, test in PAPER_PAIRS:
        index = Index.build([Item("paper", text.format(test))], ngram=13)
        row = [Passage(text.format(train), True)]
        detected += find_matches([row], _rules(index, ["ngram_lcs"]), index.items)[0] is not None
    print(f"\nthe paper's pairs: {detected} of {len(PAPER_PAIRS)} detected by ngram_lcs alone")


def _copies(index: Index, items: Sequence[Item]) -> None:
    """Recall on copies of every item in every variant: all rules, ngram_lcs alone, and the peer."""
    items = [item for item in items if not is_stock(item.text)]
    print(f"\ncopies detected, of {len(items):,} items that are more than a stock sentence")
    lines, missed = [], []
    rules, ngram_only = _rules(index), _rules(index, ["ngram_lcs"])
    peer = OpenR1([[item.text for item in items]], 13)
    for variant, change in COPIES.items():
        rows = [[Passage(change(item.text), True)] for item in items]
        matches = _find(rows, rules, index.items)
        missed += [(variant, item) for item, match in zip(items, matches, strict=True) if match is None]
        detected = sum(match is not None for match in matches)
        alone = sum(match is not None for match in _find(rows, ngram_only, index.items))
        theirs = peer.count([row[0].text for row in rows])
        lines.append((variant, *(f"{100 * n / len(items):.2f} %" for n in (detected, alone, theirs))))
    print(aligned(("variant", "all rules", "ngram_lcs", "open-r1, 13-gram"), lines))
    for variant, item in missed[:10]:
        print(f"    missed, {variant}: {item.benchmark}: {shortened(item.text, 80)}")


def _rephrased(index: Index, path: Path) -> None:
    """Recall on rephrased items of the benchmarks in the index, in total and by kind."""
    known = {index.items[number].benchmark for number in range(len(index.items))}
    given = [row for _, row in numbered_rows(path)]
    rows = [row for row in given if row.get("benchmark") in {None, *known}]
    if left_out := len(given) - len(rows):
        print(f"\n{path.name}: {left_out} of {len(given)} rows are of benchmarks that the index lacks")
    if not rows:
        return
    texts = [row["rephrased"] for row in rows]
    matches = _find([[Passage(text, True)] for text in texts], _rules(index), index.items)
    theirs = OpenR1([[index.items[number].text for number in range(len(index.items))]], 13).count(texts)
    kinds = sorted({row.get("kind", "") for row in rows})
    print(f"\nrephrased problems detected, of {path.name}; open-r1, 13-gram: {theirs} of {len(rows)}")
    lines = []
    for kind in (*filter(None, kinds), None):
        chosen = [
            match for row, match in zip(rows, matches, strict=True) if kind in (None, row.get("kind", ""))
        ]
        detected = sum(match is not None for match in chosen)
        lines.append(
            (kind or "all", f"{detected}", f"{len(chosen)}", f"{100 * detected / len(chosen):.0f} %")
        )
    print(aligned(("kind", "detected", "of", ""), lines))


def _lost(index: Index, train: Sequence[Sequence[Passage]]) -> None:
    removed = [match for match in _find(train, _rules(index), index.items) if match is not None]
    share = 100 * len(removed) / len(train)
    print(f"\ntraining rows removed: {len(removed)} of {len(train):,} ({share:.2f} %)")
    for rule, matches in groupby(sorted(removed, key=lambda match: match.rule), key=lambda match: match.rule):
        print(f"    {rule}: {len(list(matches))}")


def _speed(index: Index, items: Sequence[Item], train: Sequence[Sequence[Passage]]) -> None:
    """CPU time per row, statement and solution, on one core; index and texts are in memory."""
    rows = train[:PEER_ROWS]
    texts = [passage.text for row in rows for passage in row]
    by_benchmark = [
        [item.text for item in group]
        for _, group in groupby(
            sorted(items, key=lambda item: item.benchmark), key=lambda item: item.benchmark
        )
    ]
    each, merged = OpenR1(by_benchmark, 13), OpenR1([[item.text for item in items]], 13)
    all_rules, ngram_only = _rules(index), _rules(index, ["ngram_lcs"])
    methods: dict[str, Callable[[], object]] = {
        f"open-r1, one pass per benchmark ({len(by_benchmark)})": lambda: each.count(texts),
        "open-r1, all benchmarks in one set": lambda: merged.count(texts),
        "mathloop, ngram_lcs": lambda: _find(rows, ngram_only, index.items),
        "mathloop, all rules": lambda: _find(rows, all_rules, index.items),
    }
    best = dict.fromkeys(methods, float("inf"))
    with one_core():
        for _ in range(TURNS):
            for name, method in methods.items():
                started = time.process_time()
                method()
                best[name] = min(best[name], time.process_time() - started)
    ours = best["mathloop, all rules"]
    print("\nspeed on one core, statement and solution of each row")
    lines = [
        (name, f"{1e6 * took / len(rows):.1f}", f"{took / ours:.1f}×" if "open" in name else "")
        for name, took in best.items()
    ]
    print(aligned(("method", "µs/row", "all rules are faster by"), lines))


def _files(work: Path, items: Sequence[Item], rows: Sequence[int]) -> None:
    """From file to file: time and memory by number of rows, with one process and two."""
    benchmark = work / "benchmark.jsonl"
    lines = (json.dumps({"problem": item.text}, ensure_ascii=False) for item in items)
    benchmark.write_text("\n".join(lines), encoding="utf-8")
    print("\ngenerated rows, from file to file, all rules, saved index")
    write_rows(work / "train.jsonl", 1, SEED + 2)
    _decontaminate(work, benchmark, 1)
    cells = []
    for count in rows:
        write_rows(work / "train.jsonl", count, SEED + 2)
        one, two = (_decontaminate(work, benchmark, workers) for workers in (1, 2))
        rate = [f"{1e6 * result['seconds'] / count:.1f}" for result in (one, two)]
        memory = [f"{result['mib']:.0f}" for result in (one, two)]
        ratio = f"{one['seconds'] / two['seconds']:.2f}×"
        cells.append(
            (f"{count:,}", f"{one['seconds']:.1f}", rate[0], f"{two['seconds']:.1f}", ratio, *memory)
        )
    heads = ("rows", "s", "µs/row", "s, two processes", "speedup", "MiB, one", "MiB, larger of two")
    print(aligned(heads, cells))


_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from mathloop.decontamination import stage
from mathloop.decontamination.config import DecontaminationConfig
from pipelines.benchmarks.memory import memory
if __name__ == "__main__":
    work, benchmark, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    started = time.perf_counter()
    stage.run(problems=work / "train.jsonl", responses=None, benchmarks=[benchmark], out=work / "out.jsonl",
              removed=work / "removed.jsonl", index=work / "saved", workers=workers,
              config=DecontaminationConfig())
    seconds = time.perf_counter() - started
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mib": max(memory("VmHWM"), children)}))
"""


def _decontaminate(work: Path, benchmark: Path, workers: int) -> dict[str, Any]:
    program = work / "decontaminate.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    command = [sys.executable, str(program), str(work), str(benchmark), str(workers)]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(process.stdout)  # type: ignore[no-any-return]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
