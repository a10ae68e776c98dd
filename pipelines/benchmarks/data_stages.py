"""`mathloop benchmark data`: time and memory of the stages that handle data, without a model's time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mathloop.errors import MathloopError
from mathloop.records import Problem, write_problems
from mathloop.records.rows import write_rows
from pipelines.benchmarks.printing import Progress, aligned, machine
from pipelines.benchmarks.stage_process import EVALUATION, SYNTHESIS

SAMPLES = 8
FILE_ROWS = 10
"""Rows of the file that `problems` reads, for each problem of the other stages."""
SEED = 1


def run(rows: int) -> None:
    """Runs each stage in a process of its own, on `rows` problems, and prints rate and peak memory."""
    print(f"{machine()}; {rows:,} problems with {SAMPLES} responses each, from a scripted sampler")
    cells = []
    with tempfile.TemporaryDirectory(prefix="mathloop-data-") as temporary, Progress() as progress:
        folder = Path(temporary)
        for stage in ("problems", *SYNTHESIS, *EVALUATION):
            progress.step(f"{stage}: data")
            count, items = _prepare(stage, folder, rows)
            progress.step(f"{stage}: {count:,} {items}")
            measured = _measure(stage, folder)
            rate = count / measured["seconds"]
            memory = (f"{measured[name]:,.0f}" for name in ("mib", "files", "added"))
            cells.append((stage, f"{count:,} {items}", f"{rate:,.0f}", *memory))
        progress.step("engine: imports")
        engine = _measure("engine")
    heads = ("stage", "input", "a CPU second", "peak MiB", "of it files", "of it data")
    print(aligned(heads, cells, left=(0, 1)))
    print(
        "The peak is the whole process's. Files are pages of libraries, which processes share; the data's "
        "part is what came after the imports."
    )
    print(
        f"Not in it: a sampler or reward model in the stage's own process adds {engine['mib']:,.0f} MiB of "
        f"torch and transformers ({engine['files']:,.0f} of it files), and its weights."
    )


def _prepare(stage: str, folder: Path, rows: int) -> tuple[int, str]:
    """Writes the stage's input; returns how much it is, and of what."""
    if stage == "problems":
        write_rows(
            folder / "problems.jsonl",
            ({"problem": p.problem, "answer": p.answer} for p in _problems(rows * FILE_ROWS)),
        )
        return rows * FILE_ROWS, "rows"
    if not (folder / "problems.parquet").exists():
        (folder / "problems.jsonl").unlink(missing_ok=True)
        write_problems(folder / "problems.parquet", _problems(rows))
    # Two modes, each with one greedy response besides the samples.
    return rows * (2 * (SAMPLES + 1) if stage in EVALUATION else SAMPLES), "responses"


def _problems(count: int) -> Iterator[Problem]:
    """Statements of about the length of GSM8K's, no two of them the same."""
    draw = random.Random(SEED)
    for number in range(count):
        first, second, third = (draw.randrange(2, 10_000) for _ in range(3))
        statement = (
            f"A warehouse with the number {number} has {first} crates with {second} bottles in each of them. "
            f"On Monday {third} bottles are sold, and on Tuesday as many are delivered as were there in the "
            "morning before. How many bottles does the warehouse have in the end?"
        )
        yield Problem(f"p{number}", statement, str(2 * (first * second - third)), source="data")


def _measure(stage: str, *folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "pipelines.benchmarks.stage_process", stage, *map(str, folder)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise MathloopError(f"{stage} failed: {(process.stderr.strip() or 'no message').splitlines()[-1]}")
    measured: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return measured
