"""One way in for published problems: any file or folder, any public layout, as a stream of `Problem`s.

place ─ files ─▶ rows ─ layouts (recognized by columns, or named) ─▶ parsing ─▶ Problem
"""

from mathloop.problems.sources.layouts import LAYOUTS, Layout
from mathloop.problems.sources.reader import Skipped, Source, read_source

__all__ = ["LAYOUTS", "Layout", "Skipped", "Source", "read_source"]
