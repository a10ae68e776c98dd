"""The two records that every stage reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
Mode = Literal["cot", "tir"]
"""CoT reasons in prose; TIR (tool-integrated reasoning) writes Python and reads its output."""
FinishReason = Literal["stop", "length", "tool_limit"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A math problem, with a gold answer where one is known."""

    id: str
    problem: str
    """The statement, as a person would read it."""
    answer: str | None = None
    """Gold final answer; None where nobody knows it (evolved problems)."""
    source: str = ""
    """Data set or generator it came from."""
    language: Language = "en"
    family: str = ""
    """Subject or generator family, for tables by group."""
    difficulty: int = 0
    """1 (easy) and up; 0 where unknown."""
    solution: str | None = None
    """A reference solution, where the source has one."""
    parent: str | None = None
    """What it is a variation of: the id of the problem that it was evolved from, or what the generator calls
    its family and numbers. Scores count variations of one thing as one draw."""
    operation: str | None = None
    """Evolution operation that made it."""


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled solution of one problem."""

    problem_id: str
    sample: int
    """Index among the samples of this problem by this sampler, from 0."""
    mode: Mode
    text: str
    """All of it after the prompt, interpreter output included, without the end-of-turn token."""
    answer: str | None = None
    """Extracted final answer, as written."""
    correct: bool | None = None
    """The verifier's verdict; None before verification or without a gold answer."""
    reason: str = ""
    """Why the verifier decided so."""
    reward: float | None = None
    """The reward model's score (a logit), None where none was asked."""
    finish_reason: FinishReason = "stop"
    tokens: int = 0
    """Sampled tokens, without prompt and interpreter output."""
    tool_calls: int = 0
    temperature: float = 1.0
    """0 is greedy."""
    model: str = ""
    """Label of the model that wrote it: base, sft, grpo, champion."""
