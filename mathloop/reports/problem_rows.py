"""One problem for the browser: its responses by mode and side, their votes, and the summary for the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mathloop.reports.markup import clip
from mathloop.typesetting import Node, split_blocks, to_mathml, typeset, typeset_answer
from mathloop.voting import STRATEGIES, Group, choose, group_answers

_TEXT = 30_000
"""Characters of a response or statement that the page has."""
_ANSWER = 400


class _Answered(NamedTuple):
    """A response as a vote sees it."""

    answer: str | None
    reward: float | None
    correct: bool | None


class SideRows(NamedTuple):
    """What one model wrote to one problem in one mode."""

    greedy: Mapping[str, Any] | None
    samples: Sequence[Mapping[str, Any]]
    votes: Sequence[Group[_Answered]]
    """Groups of equal answers of the samples."""
    prompt: str | None = None
    """What the model was given, if it was saved."""


def details_of(records: Iterable[Mapping[str, Any]], sides: int) -> dict[str, list[SideRows | None]]:
    """Mode → for each side what it wrote; None where nothing."""
    found: dict[str, list[list[Mapping[str, Any]]]] = {}
    for one in records:
        found.setdefault(one["mode"], [[] for _ in range(sides)])[one["side"]].append(one)
    return {mode: [_side(rows) if rows else None for rows in found[mode]] for mode in sorted(found)}


def answered(
    details: Mapping[str, Sequence[SideRows | None]],
) -> Iterator[tuple[str, list[list[Any] | None]]]:
    """Yields (mode, for each side [verdict, right samples, samples, answer]) for the index."""
    for mode, sides in details.items():
        yield mode, [None if side is None else _summary(side) for side in sides]


def packed(statement: str, details: Mapping[str, Sequence[SideRows | None]]) -> dict[str, Any]:
    """All of the problem, as the page shows it: prose is in pieces, each a text, the number of a formula in
    `formulas`, or the node of one that cannot be rendered."""
    formulas = _Formulas()
    return {
        "text": formulas.prose(clip(statement, _TEXT)),
        "modes": {
            mode: [None if side is None else _packed_side(side, formulas) for side in sides]
            for mode, sides in details.items()
        },
        "formulas": formulas.nodes,
    }


class _Formulas:
    """The formulas of a problem, each rendered and written once: its responses repeat them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._rendered: dict[tuple[str, bool], Node | None] = {}
        self._numbers: dict[int, int] = {}
        """Identity of a node → its place in `nodes`, which keeps it alive."""

    def prose(self, text: str) -> list[Any]:
        return list(map(self._number, typeset(text, convert=self._render)))

    def answer(self, answer: str | None) -> list[Any] | None:
        if answer is None:
            return None
        return list(map(self._number, typeset_answer(clip(answer, _ANSWER), self._render)))

    def _render(self, source: str, display: bool) -> Node | None:
        key = source, display
        if key not in self._rendered:
            node = self._rendered[key] = to_mathml(source, display)
            if node is not None:
                self._numbers[id(node)] = len(self.nodes)
                self.nodes.append(node)
        return self._rendered[key]

    def _number(self, piece: str | Node) -> str | int | Node:
        return piece if isinstance(piece, str) else self._numbers.get(id(piece), piece)


def _side(records: Sequence[Mapping[str, Any]]) -> SideRows:
    prompt = next((clip(one["prompt"], _TEXT) for one in records if "prompt" in one), None)
    rows = [one for one in records if "prompt" not in one]
    samples = sorted((one for one in rows if one["sample"] >= 0), key=lambda one: one["sample"])
    voters = [_Answered(one["answer"], one["reward"], one["correct"]) for one in samples]
    greedy = next((one for one in rows if one["sample"] < 0), None)
    return SideRows(greedy, samples, group_answers(voters) if voters else [], prompt)


def _summary(side: SideRows) -> list[Any]:
    right = sum(one["correct"] is True for one in side.samples)
    if side.greedy is not None:
        correct, answer = side.greedy["correct"], side.greedy["answer"]
    else:
        chosen = choose("maj", side.votes)
        correct, answer = chosen.responses[0].correct, chosen.answer
    verdict = None if correct is None else int(correct)
    return [verdict, right, len(side.samples), None if answer is None else clip(answer, _ANSWER)]


def _packed_side(side: SideRows, formulas: _Formulas) -> dict[str, Any]:
    n = len(side.samples)
    rewarded = any(group.rewards for group in side.votes)
    names = [
        name
        for name, strategy in STRATEGIES.items()
        if strategy.needs == "samples" or (strategy.needs == "rewards" and rewarded)
    ]
    chosen = {name: choose(name, side.votes) for name in names} if side.votes else {}
    return {
        "prompt": side.prompt,
        "greedy": None if side.greedy is None else _packed_response(side.greedy, formulas),
        "samples": [_packed_response(one, formulas) for one in side.samples],
        "votes": [
            {
                "answer": formulas.answer(group.answer),
                "votes": len(group.responses),
                "weight": round(group.weight, 4) if rewarded else None,
                "best": max(group.rewards) if group.rewards else None,
                "correct": group.responses[0].correct,
                "chosen": [f"{name}@{n}" for name, winner in chosen.items() if winner is group],
            }
            for group in sorted(side.votes, key=lambda one: (one.answer is None, -len(one.responses)))
        ],
    }


def _packed_response(one: Mapping[str, Any], formulas: _Formulas) -> dict[str, Any]:
    return {
        "sample": one["sample"],
        "blocks": [
            [block.kind, formulas.prose(block.text) if block.kind == "prose" else [block.text]]
            for block in split_blocks(clip(one["text"], _TEXT))
        ],
        "answer": formulas.answer(one["answer"]),
        **{name: one[name] for name in ("correct", "reward", "finish", "tokens", "calls", "temperature")},
        "reason": clip(str(one["reason"] or "")),
    }
