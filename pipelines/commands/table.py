"""The table of commands, in the order of `mathloop --help`. A command is its function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.commands import (
    answering,
    benchmarks,
    browsing,
    cluster,
    comparing,
    data,
    keeping,
    planning,
    problems,
    profiles,
    reproducing,
    rounds,
    runs,
    scoring,
)

COMMANDS: dict[str, Callable[..., Any]] = {
    "run": rounds.run,
    "reproduce": reproducing.reproduce,
    "report": keeping.report,
    "clean": keeping.clean,
    "profiles": profiles.profiles,
    "plan": planning.plan,
    "compile": cluster.compile_pipelines,
    "submit": cluster.submit,
    "schedule": cluster.schedule,
    "rounds": runs.rounds,
    "logs": runs.logs,
    "cancel": runs.cancel,
    "rollback": cluster.rollback,
    "doctor": cluster.doctor,
    "grade": data.grade,
    "execute": data.execute,
    "problems": problems.problems,
    "decontaminate": data.decontaminate,
    "benchmark": benchmarks.benchmark,
    "evaluate": scoring.evaluate,
    "score": scoring.score,
    "compare": comparing.compare,
    "browse": browsing.browse,
    "serve": answering.serve,
    "ask": answering.ask,
}
"""Name → function. Its parameters are the command's options, its docstring is the help."""
