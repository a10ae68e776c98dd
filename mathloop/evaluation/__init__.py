"""Evaluation on benchmarks: scores with intervals, the promotion gate, and the paper's claims."""

from mathloop.evaluation.metrics import score_table
from mathloop.evaluation.orderings import Ordering, check_orderings
from mathloop.evaluation.table import Score, Table, print_table

__all__ = ["Ordering", "Score", "Table", "check_orderings", "print_table", "score_table"]
