"""Rules of rejection fine-tuning: TIR responses that are dropped for what their programs did."""

from __future__ import annotations

import re

_OUTPUT = re.compile(r"```output\n(.*?)\n?```", re.DOTALL)
_FAILED = re.compile(
    r"([A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|StopIteration)(: .*)?"
    r"|the program (was killed by signal|ended with exit code) \d+)"
)
"""What the interpreter shows for a program that failed: its error's last line, and nothing else."""


def rejected(text: str) -> str | None:
    """Why a TIR response is no example to learn from, whatever its answer; None if its programs worked."""
    outputs = printed(text)
    if any(_FAILED.fullmatch(output) for output in outputs):
        return "a program failed"
    return None if any(outputs) else "no program printed anything"


def printed(text: str) -> list[str]:
    """What the programs of a TIR response printed, one text per program that was run."""
    return [output.strip() for output in _OUTPUT.findall(text)]
