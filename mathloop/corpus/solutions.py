"""Writes solutions of nano problems in the formats of real ones: CoT prose, and TIR with Python blocks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from mathloop.problems.nano import NanoProblem, Step, calculate
from mathloop.records import Mode

Style = Literal["guess", "worked"]

_ENDING = {"en": "The answer is \\boxed{{{}}}.", "zh": "答案是\\boxed{{{}}}。"}
_TOOL = {"en": "Let Python compute it.", "zh": "用Python计算。"}


@dataclass(frozen=True)
class Faults:
    """The errors of one solution."""

    misread: bool = False
    """Calculates the family's misreading, which has only one method."""
    slip: float = 0.0
    """Probability that a calculated number is wrong."""


def write_solution(
    nano: NanoProblem,
    mode: Mode,
    style: Style,
    faults: Faults,
    rng: random.Random,
    *,
    other_way: bool = False,
) -> str:
    """Returns one solution text. Without faults, it ends with the gold answer."""
    steps = nano.family.other_steps if other_way else nano.family.steps
    if faults.misread:
        steps = nano.family.misread
    if mode == "tir":
        return _with_python(nano, steps, rng)
    lines: list[str] = []
    results: list[int] = []
    for left, operator, right in steps:
        x, y = (results[int(v[1:])] if v[0] == "#" else nano.numbers[v] for v in (left, right))
        _, _, _, z = calculate((("a", operator, "b"),), {"a": x, "b": y})[0]
        if rng.random() < faults.slip:
            z = _slip(z, rng)
        lines.append(f"{x}{operator}{y}={z}")
        results.append(z)
    stop = "。" if nano.problem.language == "zh" else "."
    ending = _ENDING[nano.problem.language].format(results[-1])
    if style == "guess":
        return ending
    return "".join(f"{line}{stop}\n" for line in lines) + ending


def _slip(value: int, rng: random.Random) -> int:
    return max(0, value + rng.choice((-10, -2, -1, 1, 2, 10)))


def _with_python(nano: NanoProblem, steps: tuple[Step, ...], rng: random.Random) -> str:
    """One expression or one line per step, the interpreter's true output, and the answer read from it."""
    operators = {"/": "//"}
    done = calculate(steps, nano.numbers)
    if rng.random() < 0.5:
        names = "xyz"
        lines = [
            f"{names[i]}={_name(left, nano)}{operators.get(operator, operator)}{_name(right, nano)}"
            for i, (left, operator, right) in enumerate(steps)
        ]
        code = "\n".join([*lines, f"print({names[len(steps) - 1]})"])
    else:
        expressions: list[str] = []
        for left, operator, right in steps:
            x, y = (
                f"({expressions[int(v[1:])]})" if v[0] == "#" else str(nano.numbers[v]) for v in (left, right)
            )
            expressions.append(f"{x}{operators.get(operator, operator)}{y}")
        code = f"print({expressions[-1]})"
    language = nano.problem.language
    ending = _ENDING[language].format(done[-1][3])
    return f"{_TOOL[language]}\n```python\n{code}\n```\n```output\n{done[-1][3]}\n```\n{ending}"


def _name(value: str, nano: NanoProblem) -> str:
    return "xyz"[int(value[1:])] if value[0] == "#" else str(nano.numbers[value])
