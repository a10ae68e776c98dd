"""Shards of a sampling: what an engine's process is asked to draw, and the file of rollouts that it leaves.

The file gets its name when it is complete: it is the marker that its shard is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mathloop.files import disk, replacing
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Rollout

_TOKENS = ("prompt_tokens", "tokens", "logprobs", "sampled")


@dataclass(frozen=True)
class Shard:
    """Consecutive problems, and how their responses are drawn."""

    config: SamplingConfig
    problems: list[Problem]
    first: int
    """Index of the first one among all problems of the sampling."""
    mode: Mode
    samples: int
    temperature: float
    seed: int
    out: Path

    def to_json(self) -> str:
        """One line."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        row |= {"config": self.config.model_dump(mode="json"), "out": str(self.out)}
        return json.dumps(row | {"problems": [asdict(problem) for problem in self.problems]})

    @classmethod
    def from_json(cls, line: str) -> Shard:
        """The shard of `to_json`."""
        row = json.loads(line)
        row |= {"config": SamplingConfig.model_validate(row["config"]), "out": Path(row["out"])}
        problems = [Problem(**one | {"choices": tuple(one["choices"])}) for one in row["problems"]]
        return cls(**row | {"problems": problems})


def write_rollouts(path: Path, rollouts: Sequence[Rollout]) -> None:
    """Writes a Parquet file, whole or not at all; raises StorageRefused."""
    columns: dict[str, Any] = {name: [getattr(r, name) for r in rollouts] for name in _TOKENS}
    for field in fields(Response):
        columns[f"response.{field.name}"] = [getattr(r.response, field.name) for r in rollouts]
    with replacing(path) as partial, disk(path):
        pq.write_table(pa.table(columns), partial, compression="zstd")


def read_rollouts(path: Path) -> list[Rollout]:
    """The rollouts that `write_rollouts` wrote."""
    table = pq.read_table(path)
    tokens = [_lists(table.column(name)) for name in _TOKENS]
    responses = [table.column(f"response.{field.name}").to_pylist() for field in fields(Response)]
    return [
        Rollout(Response(*response), *cast(Any, parts))
        for response, *parts in zip(zip(*responses, strict=True), *tokens, strict=True)
    ]


def _lists(column: pa.ChunkedArray) -> list[list[Any]]:
    """A column of lists; by NumPy, which is many times faster than `to_pylist`."""
    array = column.combine_chunks()
    flat = array.flatten().to_numpy(zero_copy_only=False)
    ends = array.value_lengths().to_numpy().cumsum()
    lengths = array.value_lengths().to_pylist()
    return [flat[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]
