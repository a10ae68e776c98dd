"""`Problem` and `Response`, and how data sets of them are read and written."""

from mathloop.records.datasets import (
    read_problems,
    read_responses,
    response_of,
    write_problems,
    write_responses,
)
from mathloop.records.drops import Drops, open_drops
from mathloop.records.rows import read_rows, write_rows
from mathloop.records.schema import (
    HELD_OUT,
    FinishReason,
    Language,
    Mode,
    Problem,
    Response,
    benchmark_of,
)

__all__ = [
    "HELD_OUT",
    "Drops",
    "FinishReason",
    "Language",
    "Mode",
    "Problem",
    "Response",
    "benchmark_of",
    "open_drops",
    "read_problems",
    "read_responses",
    "read_rows",
    "response_of",
    "write_problems",
    "write_responses",
    "write_rows",
]
