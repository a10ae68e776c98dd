"""Sample responses: the choice of responses for a report, and their layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mathloop.records import Problem, Response
from mathloop.reports.figures import label, scalar
from mathloop.reports.formulas import answer_formula, formulas
from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.typesetting import Block, split_blocks

CELLS = [
    (mode, right, language) for right in (True, False) for mode in ("cot", "tir") for language in ("en", "zh")
]
"""Kinds of samples shown: mode, correct or not, language."""
_TOKENS = re.compile(
    r"(?P<comment>\#[^\n]*)"
    r"|(?P<string>\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<word>\b(?:and|as|assert|break|class|continue|def|elif|else|except|False|finally|for|from|if|import|in"
    r"|is|lambda|None|not|or|pass|raise|return|True|try|while|with|yield)\b)"
    r"|(?P<number>\b\d[\d_.]*\b)",
    re.DOTALL,
)


@dataclass
class Chosen:
    """A problem to show, with the challenger's greedy response and other models' responses to compare."""

    response: Response
    others: list[Response] = field(default_factory=list)
    problem: Problem | None = None


def choose(
    problems: Iterable[Problem], responses: Sequence[Iterable[Response]], challenger: str, each: int = 2
) -> list[Chosen]:
    """Greedy responses of the challenger, up to `each` per kind in `CELLS`, spread over families.

    `responses` holds two iterators over the same results: one to choose from, one to find the other models'
    responses to the same problem in the same mode.
    """
    known = {problem.id: problem for problem in problems}
    kinds: dict[tuple[str, bool, str], dict[str, Chosen]] = {cell: {} for cell in CELLS}
    for response in responses[0]:
        problem = known.get(response.problem_id)
        if (
            problem is None
            or response.model != challenger
            or response.sample >= 0
            or response.correct is None
        ):
            continue
        kind = kinds[response.mode, response.correct, problem.language]
        # One per family, with families in the benchmark's order.
        if len(kind) < each and problem.family not in kind:
            kind[problem.family] = Chosen(response, problem=problem)
    chosen = [one for kind in kinds.values() for one in kind.values()]
    wanted = {(one.response.problem_id, one.response.mode): one for one in chosen}
    for response in responses[1]:
        one = wanted.get((response.problem_id, response.mode))
        if one is not None and response.sample < 0 and response.model != challenger:
            one.others.append(response)
    return chosen


def samples_section(chosen: Sequence[Chosen], role: str = "challenger") -> Markup | None:
    """Cards with responses of the model in this role, correct ones first."""
    if not chosen:
        return None
    intro = f"Greedy responses of the {role} to benchmark problems, correct and incorrect, unedited."
    return element(
        "section",
        element("h2", "Samples"),
        element("p", intro, class_="caption"),
        element("div", [_column(chosen, right) for right in (True, False)], class_="cards"),
        id="samples",
    )


def prose(written: str) -> Markup:
    """A response as paragraphs with formulas, code and output blocks."""
    blocks = split_blocks(clip(written, 4_000))
    return element("div", [_block(block) for block in blocks], class_="prose", dir="auto")


def _block(block: Block) -> Markup:
    if block.kind == "prose":
        return element("p", formulas(block.text))
    code = _highlight(block.text) if block.kind == "python" else block.text
    return element("pre", element("code", code), class_=block.kind)


def _highlight(code: str) -> list[Child]:
    parts: list[Child] = []
    end = 0
    for match in _TOKENS.finditer(code):
        parts += [code[end : match.start()], element("i", match[0], class_=match.lastgroup)]
        end = match.end()
    return [*parts, code[end:]]


def _column(chosen: Sequence[Chosen], right: bool) -> Markup | None:
    cards = [_card(one) for one in chosen if one.response.correct is right]
    return element("div", cards) if cards else None


def _card(one: Chosen) -> Markup:
    response, problem = one.response, one.problem
    right = response.correct is True
    badges = [
        element("span", "right" if right else "wrong", class_=f"mark {'right' if right else 'wrong'}"),
        element("span", label(response.mode), class_=f"key {response.mode}"),
    ]
    if response.reward is not None:
        badges.append(element("span", f"reward {scalar(response.reward)}", class_="reward"))
    if response.finish_reason != "stop":
        badges.append(element("span", f"truncated: {response.finish_reason}", class_="reward"))
    answer = response.answer if response.answer is not None else "none"
    ending: list[Child] = ["answer ", element("b", answer_formula(answer))]
    if problem is not None and problem.answer is not None:
        ending += [" · gold ", element("b", answer_formula(problem.answer))]
    ending += [f" · {clip(response.reason)}" if response.reason else None]
    others = [
        element(
            "details",
            element("summary", f"{label(other.model)} wrote ({'right' if other.correct else 'wrong'})"),
            prose(other.text),
        )
        for other in sorted(one.others, key=lambda other: other.model)
    ]
    language = problem.language if problem is not None else None
    return element(
        "article",
        element("div", badges, class_="badges"),
        element("p", formulas(clip(problem.problem, 2_000)) if problem else "", class_="problem", dir="auto"),
        prose(response.text),
        element("p", ending, class_="caption"),
        element("div", others, class_="others") if others else None,
        lang=language,
    )
