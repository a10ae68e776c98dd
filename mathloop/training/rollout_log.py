"""The log of all rollouts: a Parquet file per step and rank, joined into one at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mathloop.files import disk, replacing
from mathloop.training.rollouts import Batch


def log_rollouts(work: Path, batch: Batch, step: int, rank: int, world: int = 1) -> None:
    """Writes a batch to Parquet; a step that is repeated after a restart writes the same file.

    Files of this step and later ones that a killed attempt left, maybe one of more ranks, are removed first.
    """
    folder = work / "rollouts"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:06d}-{rank:04d}.parquet"
    if rank == 0:
        first_stale = folder / f"step-{step:06d}-{world:04d}.parquet"
        for stale in folder.glob("step-*.parquet"):
            if stale.name >= first_stale.name:
                stale.unlink()
    with replacing(path) as partial, disk(path):
        pq.write_table(pa.Table.from_pylist(batch.rows, schema=_SCHEMA), partial, compression="zstd")


def join_rollouts(work: Path, out: Path) -> None:
    """Joins this machine's logged batches into one Parquet file, in order of steps and ranks."""
    with (
        replacing(out) as partial,
        disk(out),
        pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer,
    ):
        for table in _tables(work / "rollouts"):
            writer.write_table(table)


def _tables(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("step-*.parquet")):
        yield pq.read_table(path, schema=_SCHEMA)


_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("problem_id", pa.string()),
        ("problem", pa.string()),
        ("gold", pa.string()),
        ("sample", pa.int64()),
        ("mode", pa.string()),
        ("text", pa.string()),
        ("answer", pa.string()),
        ("correct", pa.bool_()),
        ("reason", pa.string()),
        ("reward", pa.float64()),
        ("shaped_reward", pa.float64()),
        ("advantage", pa.float64()),
        ("finish_reason", pa.string()),
        ("tokens", pa.int64()),
        ("tool_calls", pa.int64()),
        ("temperature", pa.float64()),
    ]
)
