"""The records that stages read and write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
Mode = Literal["cot", "tir"]
"""CoT reasons in prose; TIR (tool-integrated reasoning) writes Python and reads its output."""
HELD_OUT = "held-out"
"""The benchmark of the problems that a round holds out of its own."""
FinishReason = Literal["stop", "length", "tool_limit"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A math problem, with a gold answer where one is known."""

    id: str
    problem: str
    """The statement, as a person reads it."""
    answer: str | None = None
    """Gold final answer; None if it is not known (evolved problems)."""
    source: str = ""
    """Data set or generator that it comes from."""
    language: Language = "en"
    family: str = ""
    """Subject or generator family, for tables by group."""
    difficulty: int = 0
    """From 1 (easy) upwards; 0 if unknown."""
    solution: str | None = None
    """A reference solution, if the source has one."""
    parent: str | None = None
    """What it is a variation of: the id of the problem that it was evolved from, or the generator's name for
    its family and numbers. Statistics treat variations of one problem as one cluster."""
    operation: str | None = None
    """Evolution operation that produced it."""
    choices: tuple[str, ...] = ()
    """The texts of multiple choice, without their letters. The statement shows them already, and the gold
    answer is the letter of the right one."""


def benchmark_of(problem: Problem) -> str:
    """The named benchmark that a round's problem is from, by its id, NAME/…; else `HELD_OUT`."""
    return problem.source if problem.source and problem.id.startswith(f"{problem.source}/") else HELD_OUT


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled solution of one problem."""

    problem_id: str
    sample: int
    """Index among the samples of this problem by this sampler, from 0."""
    mode: Mode
    text: str
    """Everything after the prompt, including interpreter output, without the end-of-turn token."""
    answer: str | None = None
    """Extracted final answer, as written."""
    correct: bool | None = None
    """The verifier's verdict; None before verification or without a gold answer."""
    reason: str = ""
    """The verifier's reason."""
    reward: float | None = None
    """The reward model's score (a logit); None if it was not scored."""
    finish_reason: FinishReason = "stop"
    tokens: int = 0
    """Sampled tokens, excluding prompt and interpreter output."""
    tool_calls: int = 0
    temperature: float = 1.0
    """0 is greedy."""
    model: str = ""
    """Label of the model that wrote it: base, sft, grpo, champion."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to pretrain on."""

    id: str
    text: str
    """Plain text; formulas in LaTeX between dollar signs."""
    url: str = ""
    """Address of the page that it is from; its host groups documents."""
    language: str = "en"
    """ISO 639 code."""
    source: str = ""
    """The source of the mixture that it belongs to."""
    score: float | None = None
    """Estimated quality (a logit), higher is better; None if it was not scored."""
