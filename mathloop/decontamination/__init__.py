"""Keeps benchmark items out of training data (Qwen2.5-Math report, section 4)."""

from mathloop.decontamination.matching import Benchmarks, Item, Match
from mathloop.decontamination.normalization import tokens
from mathloop.decontamination.run_files import decontaminate_files

__all__ = ["Benchmarks", "Item", "Match", "decontaminate_files", "tokens"]
