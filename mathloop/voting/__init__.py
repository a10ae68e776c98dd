"""The vote among several responses to one problem: synthesis, evaluation and serving have this one.

    responses ─ grouping ─▶ groups of equal answers ─ strategies ─▶ the group that answers the problem

It never sees the gold answer. This room is light to import: what reads answers is imported by the first vote
that needs it, so that settings and the command line can name the strategies at no cost.
"""

from mathloop.voting.grouping import Group, group_answers, is_plain, sigmoid
from mathloop.voting.strategies import STRATEGIES, Strategy, choose, share

__all__ = ["STRATEGIES", "Group", "Strategy", "choose", "group_answers", "is_plain", "share", "sigmoid"]
