"""An evaluation in a folder: its plan, and every response in Parquet shards that `mathloop score` reads.

    DIR/evaluation.json               what was asked: model, settings, benchmarks
    DIR/BENCHMARK/cot-greedy-00000.parquet    a shard: rows with the columns of `SCHEMA`
    DIR/scores.json, scores.csv       the table, once all is drawn

A shard appears whole or not at all. The same call goes on after a kill: shards that are there are not drawn
again, and another model or other settings are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation.passes import SHARD, Pass
from mathloop.evaluation.response_layouts import files_beside_others
from mathloop.files import disk, write_file
from mathloop.lines import parse_object
from mathloop.problems.files import Repeats
from mathloop.problems.sources.files import data_files
from mathloop.records import Problem, Response, write_rows

PLAN = "evaluation.json"
_TEXT, _WHOLE, _NUMBER, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
SCHEMA = pa.schema(
    {
        "benchmark": _TEXT,
        "problem_id": _TEXT,
        "problem": _TEXT,
        "gold": _TEXT,
        "language": _TEXT,
        "family": _TEXT,
        "level": _WHOLE,
        "parent": _TEXT,
        "model": _TEXT,
        "mode": _TEXT,
        "sample": _WHOLE,
        "temperature": _NUMBER,
        "prompt": _TEXT,
        "text": _TEXT,
        "answer": _TEXT,
        "correct": _FLAG,
        "reason": _TEXT,
        "reward": _NUMBER,
        "finish_reason": _TEXT,
        "tokens": _WHOLE,
        "tool_calls": _WHOLE,
    }
)
"""The fields of `Response`, which `read_responses` reads too, after those of its problem."""


class SavedEvaluation:
    """The folder of an evaluation, which the same call goes on with."""

    def __init__(self, folder: Path, plan: dict[str, Any], benchmarks: dict[str, dict[str, Any]]) -> None:
        """Begins the folder, or finds it again.

        Args:
            plan: what must be the same to go on, in JSON's types.
            benchmarks: name → `problems`, `digest`, `prompt` and the `modes` asked for; others may be there
                already.

        Raises:
            BadConfig: the folder holds something else, or an evaluation with another plan.
        """
        self.folder = folder
        plan = {**plan, "shard": SHARD}
        before = read_plan(folder)
        if before is None:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise BadConfig(f"--out {folder}: something else is there; choose a new or empty folder")
            before = {**plan, "benchmarks": {}}
        for name, value in plan.items():
            if before.get(name) != value:
                _differ(folder, name, before.get(name), value)
        for name, value in benchmarks.items():
            old = before["benchmarks"].setdefault(name, value)
            for field in ("digest", "prompt"):
                if old.get(field) != value.get(field):
                    shown = "problems" if field == "digest" else field
                    _differ(folder, f"{shown} of {name}", old.get(field), value.get(field))
            old["modes"] = sorted({*old["modes"], *value["modes"]})
        with disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / PLAN, json.dumps(before, ensure_ascii=False, indent=1).encode())

    def shard(self, benchmark: str, one: Pass, number: int) -> Path:
        """The file of a shard; it exists if it is complete."""
        return self.folder / benchmark / f"{one.name}-{number:05d}.parquet"


def read_plan(folder: Path) -> dict[str, Any] | None:
    """What was asked of the evaluation in a folder; None if it holds none. Raises BadData."""
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        plan = parse_object(path.read_bytes())
    except ValueError as error:
        raise BadData(f"{error}; it is not what `mathloop evaluate` wrote", path=path) from None
    if not isinstance(plan.get("benchmarks"), dict):
        raise BadData("it is not what `mathloop evaluate` wrote; choose another folder", path=path)
    return plan


def write_shard(path: Path, rows: Iterable[tuple[Problem, Response, str]]) -> int:
    """Writes responses with their problems and prompts; returns their number."""
    return write_rows(path, (_row(path.parent.name, *row) for row in rows), SCHEMA, row_group=1024)


def digest(problems: Iterable[Problem]) -> tuple[int, str, Repeats]:
    """Their number, a hash of ids, statements and answers, and repeats; raises BadData if two have one id."""
    found, seen, count, repeats = hashlib.sha256(), set[bytes](), 0, Repeats()
    for problem in problems:
        count += 1
        name = hashlib.blake2b(problem.id.encode(), digest_size=12).digest()
        if name in seen:
            raise BadData(f"two problems have the id {problem.id!r}; give each its own", field="id")
        seen.add(name)
        repeats.add(problem)
        found.update(json.dumps([problem.id, problem.problem, problem.answer]).encode())
    return count, found.hexdigest()[:16], repeats


def _row(benchmark: str, problem: Problem, response: Response, prompt: str) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "problem": problem.problem,
        "gold": problem.answer,
        "language": problem.language,
        "family": problem.family,
        "level": problem.difficulty,
        "parent": problem.parent,
        "prompt": prompt,
        **{field.name: getattr(response, field.name) for field in fields(Response)},
    }


def _differ(folder: Path, name: str, before: object, now: object) -> None:
    raise BadConfig(
        f"--out {folder}: this evaluation has {name} {before}, now it is {now}; "
        "choose another folder, or ask for the same"
    )


def response_files(place: Path) -> list[Path]:
    """The files of responses at a place: an evaluation's shards, or a file or folder in any known format.

    Raises BadData if there is none, or one that cannot be read.
    """
    if read_plan(place) is None:
        return (files_beside_others(place) if place.is_dir() else []) or data_files(place)
    return sorted(place.rglob("*.parquet"))


def is_complete(folder: Path) -> bool:
    """Whether every shard that the folder's plan asks for is there; true for a folder without a plan."""
    plan = read_plan(folder)
    if plan is None:
        return True
    wanted = [
        folder / name / f"{one.name}-{number:05d}.parquet"
        for name, benchmark in plan["benchmarks"].items()
        for mode in benchmark["modes"]
        for one in (Pass(mode, 1, 0.0), Pass(mode, plan["samples"], plan["temperature"]))
        for number in range(-(-benchmark["problems"] // max(1, plan["shard"] // one.samples)))
    ]
    return all(path.is_file() for path in wanted)
