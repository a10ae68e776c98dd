"""Benchmarks as configuration: one YAML file each in `entries`, one's own beside a profile or by path.

name or path ─ registry ─▶ `Benchmark` ─ data folders ─▶ problems, of which each says its benchmark
"""

from mathloop.evaluation.benchmarks.benchmark import Benchmark
from mathloop.evaluation.benchmarks.data import ENVIRONMENT, find_data, read_benchmark
from mathloop.evaluation.benchmarks.registry import benchmark_names, find_benchmark
from mathloop.records import HELD_OUT, benchmark_of

__all__ = [
    "ENVIRONMENT",
    "HELD_OUT",
    "Benchmark",
    "benchmark_names",
    "benchmark_of",
    "find_benchmark",
    "find_data",
    "read_benchmark",
]
