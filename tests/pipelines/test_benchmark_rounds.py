"""`mathloop benchmark round`: rounds taken together decide, not single ones; nothing starts on a bad call."""

import io

import pytest
from rich.console import Console

from mathloop.evaluation import Outcomes
from mathloop.records import Problem, Response
from pipelines.benchmarks import rounds

COUNT = 20


def outcomes(**right: int) -> Outcomes:
    """Models that solve the first few of the problems."""
    rows = [
        Response(str(number), -1, "cot", "t", "1", number < solved, model=model)
        for model, solved in right.items()
        for number in range(COUNT)
    ]
    return Outcomes([Problem(str(number), "?", "1") for number in range(COUNT)], rows)


def test_claims_are_tested_on_all_rounds_together() -> None:
    both = [outcomes(base=2, sft=9, challenger=9), outcomes(base=2, sft=11, challenger=10)]
    first, second = rounds.orderings(both)
    assert first.startswith(
        "holds         SFT improves on the base model: SFT greedy 50.0, base greedy 10.0,"
    )
    assert second.startswith("within noise  Reinforcement learning improves on SFT: challenger greedy 47.5,")
    (worse,) = rounds.orderings([outcomes(base=9, sft=0), outcomes(base=9, sft=1)])
    assert worse.startswith("fails         SFT improves")


def test_means_are_shown_by_model_and_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"one": outcomes(base=10, sft=8), "two": outcomes(base=4, sft=12)}
    monkeypatch.setattr(rounds, "outcomes_of", found.__getitem__)
    console = Console(file=io.StringIO(), width=100)
    rounds.print_means(list(found), console)  # type: ignore[arg-type]
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "base CoT" in shown
    assert "35.0" in shown
    assert "50.0" in shown
    assert "fails" not in shown
