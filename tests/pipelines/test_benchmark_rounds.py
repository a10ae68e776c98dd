"""`mathloop benchmark round`: means over rounds decide, not single rounds; nothing starts on a bad call."""

import io

import pytest
from rich.console import Console

from mathloop.evaluation import Score, Table
from pipelines.benchmarks import rounds


def table(**greedy: float) -> Table:
    scores = [
        Score(model, "cot", "all", "greedy", value, value, value, 10) for model, value in greedy.items()
    ]
    return Table(8, tuple(scores))


def test_orderings_are_of_the_means() -> None:
    tables = [table(base=0.5, sft=0.4, challenger=0.7), table(base=0.2, sft=0.5, challenger=0.1)]
    assert rounds.orderings(tables) == [
        "holds  SFT improves on the base model: SFT greedy 45.0 above base greedy 35.0",
        "FAILS  Reinforcement learning improves on SFT: challenger greedy 40.0 above SFT greedy 45.0",
    ]


def test_means_are_shown_by_model_and_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"one": table(base=0.5, sft=0.4), "two": table(base=0.2, sft=0.6)}
    monkeypatch.setattr(rounds, "table_of", tables.__getitem__)
    console = Console(file=io.StringIO(), width=100)
    rounds.print_means(list(tables), console)  # type: ignore[arg-type]
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "base CoT" in shown
    assert "35.0" in shown
    assert "50.0" in shown
    assert "FAILS" not in shown
