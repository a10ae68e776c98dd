"""Evaluation on benchmarks: scores with intervals, the promotion gate, and the paper's claims."""

from mathloop.evaluation.differences import Difference, Mark, paired_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.orderings import Ordering, check_orderings
from mathloop.evaluation.scoring import score_table, tabulate
from mathloop.evaluation.table import Score, Table, print_scores, print_table

__all__ = [
    "Difference",
    "Mark",
    "Ordering",
    "Outcomes",
    "Score",
    "Table",
    "check_orderings",
    "paired_difference",
    "print_scores",
    "print_table",
    "score_table",
    "tabulate",
]
