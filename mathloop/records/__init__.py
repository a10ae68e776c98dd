"""`Problem`, `Response` and `Document`, and how data sets of them are read and written."""

from mathloop.records.datasets import (
    read_documents,
    read_problems,
    read_responses,
    response_of,
    write_documents,
    write_problems,
    write_responses,
)
from mathloop.records.drops import Drops, open_drops
from mathloop.records.rows import read_rows, write_rows
from mathloop.records.schema import (
    HELD_OUT,
    Document,
    FinishReason,
    Language,
    Mode,
    Problem,
    Response,
    benchmark_of,
)

__all__ = [
    "HELD_OUT",
    "Document",
    "Drops",
    "FinishReason",
    "Language",
    "Mode",
    "Problem",
    "Response",
    "benchmark_of",
    "open_drops",
    "read_documents",
    "read_problems",
    "read_responses",
    "read_rows",
    "response_of",
    "write_documents",
    "write_problems",
    "write_responses",
    "write_rows",
]
