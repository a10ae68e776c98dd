"""Why an answer was chosen, in one sentence."""

from __future__ import annotations

import re

from mathloop.records import Response
from mathloop.serving.answer import Answer
from mathloop.voting import STRATEGIES, Group

_LATEX = re.compile(r"\\[A-Za-z]|[\^_]")
_SHOWN = 80
"""Characters of an answer."""


def explain(answer: Answer) -> str:
    """The reason, with the figures that decided and those of the next candidate; LaTeX is between dollars."""
    chosen, strategy = answer.chosen, answer.strategy
    if chosen.answer is None:
        return "no response gave a final answer"
    if STRATEGIES[strategy].needs == "greedy":
        return "greedy: the one response at temperature 0"
    drawn = len(answer.generation.responses)
    others = [one for one in answer.candidates if one is not chosen and one.answer is not None]
    if not others:
        votes = f"{chosen.votes} of {drawn} responses give" if drawn > 1 else "the one response gives"
        return f"{strategy}: {votes} this answer, and none gives another"
    rank = STRATEGIES[strategy].rank
    second = max(others, key=rank)
    tie = rank(second) == rank(chosen)
    ending = "; a tie goes to the one that was drawn first" if tie else ""
    figure, next_figure = _figure(strategy, chosen), _figure(strategy, second)
    summary = STRATEGIES[strategy].summary
    return f"{strategy}: {summary}: {figure}; the next, {_short(second)}, has {next_figure}{ending}"


def _figure(strategy: str, group: Group[Response]) -> str:
    votes = f"{group.votes} {'vote' if group.votes == 1 else 'votes'}"
    if STRATEGIES[strategy].needs != "rewards":
        return votes
    return f"{STRATEGIES[strategy].rank(group):.2f} ({votes})"


def _short(group: Group[Response]) -> str:
    answer = " ".join((group.answer or "").split())
    if len(answer) > _SHOWN:
        return f"{answer[:_SHOWN]}…"
    return f"${answer}$" if _LATEX.search(answer) and "$" not in answer else answer
