"""How a champion is to be served: chosen on one half of its evaluation, reported on the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mathloop.evaluation import gate
from mathloop.evaluation.config import GateConfig
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.serving import _first_half, choose_serving
from mathloop.records import Problem, Response, write_problems, write_responses

COUNT = 40


def problems(**fields: str) -> list[Problem]:
    return [Problem(str(index), "?", "1", **fields) for index in range(COUNT)]


def rows(index: int, model: str, *, greedy: bool, votes: str, rewards: list[float]) -> list[Response]:
    """One problem's responses in CoT: r is right."""
    made = [
        Response(str(index), -1, "cot", "t", "1" if greedy else "2", greedy, model=model, temperature=0.0)
    ]
    for number, (vote, reward) in enumerate(zip(votes, rewards, strict=True)):
        answer = "1" if vote == "r" else "2"
        made.append(
            Response(
                str(index),
                number,
                "cot",
                "t",
                answer,
                vote == "r",
                reward=reward,
                model=model,
                temperature=0.6,
            )
        )
    return made


def half() -> list[bool]:
    bare = Outcomes(problems(), (one for i in range(COUNT) for one in _wrong(i)))
    return [bool(one) for one in _first_half(bare)]


def _wrong(index: int) -> list[Response]:
    return rows(index, "challenger", greedy=False, votes="www", rewards=[0, 0, 0])


def test_the_score_is_of_the_problems_that_did_not_choose() -> None:
    """maj is right wherever the choice is made and wrong elsewhere: chosen, and reported as it is."""
    chooses = half()
    made = [
        one
        for i in range(COUNT)
        for one in rows(
            i, "challenger", greedy=False, votes="rrw" if chooses[i] else "wwr", rewards=[-9, -9, 9]
        )
    ]
    found = choose_serving(Outcomes(problems(), made), "challenger", 0.6, {})
    assert found is not None
    assert (found.strategy, found.samples, found.temperature) == ("maj", 3, 0.6)
    assert (found.score, found.greedy, found.problems) == (0.0, 0.0, COUNT // 2)


@pytest.mark.parametrize(
    ("greedy", "votes", "rewards", "best"),
    [
        (True, "rrr", [1.0, 1.0, 1.0], "greedy"),  # of equals the one that costs least
        (False, "rrw", [-9.0, -9.0, 9.0], "maj"),
        (False, "rww", [9.0, -9.0, -9.0], "rm"),
        (False, "rrwww", [1.0, 1.0, 2.0, -9.0, -9.0], "weighted"),
    ],
)
def test_the_best_strategy_is_chosen(greedy: bool, votes: str, rewards: list[float], best: str) -> None:
    made = [
        one
        for i in range(COUNT)
        for one in rows(i, "challenger", greedy=greedy, votes=votes, rewards=rewards)
    ]
    found = choose_serving(Outcomes(problems(), made), "challenger", 0.6, {})
    assert found is not None
    assert (found.strategy, found.score) == (best, 1.0)
    assert found.samples == (1 if best == "greedy" else len(votes))
    again = choose_serving(Outcomes(problems(), reversed(made)), "challenger", 0.6, {})
    assert again == found


def test_variants_of_one_problem_are_in_one_half() -> None:
    variants = [Problem(str(i), "?", "1", parent=f"seed{i // 4}") for i in range(COUNT)]
    chooses = _first_half(Outcomes(variants, (one for i in range(COUNT) for one in _wrong(i))))
    assert chooses.sum() == COUNT // 2
    assert all(len(set(chooses[at : at + 4])) == 1 for at in range(0, COUNT, 4))
    alone = [Problem(str(i), "?", "1", parent="one") for i in range(COUNT)]
    outcomes = Outcomes(alone, (one for i in range(COUNT) for one in _wrong(i)))
    assert choose_serving(outcomes, "challenger", 0.6, {}) is None


def test_the_gate_says_how_to_serve_the_challenger(tmp_path: Path) -> None:
    made = [
        one
        for i in range(COUNT)
        for model, votes in (("base", "wwr"), ("challenger", "rrw"))
        for one in rows(i, model, greedy=model != "base", votes=votes, rewards=[0.5, 0.5, 0.5])
    ]
    write_problems(tmp_path / "b.parquet", problems())
    write_responses(tmp_path / "r.parquet", made)
    report = gate.run(
        benchmark=tmp_path / "b.parquet",
        results=tmp_path / "r.parquet",
        out=tmp_path / "gate.json",
        config=GateConfig(),
        seed=0,
    )
    decision = json.loads((tmp_path / "gate.json").read_text())
    assert decision["serving"] == {
        "strategy": "greedy", "samples": 1, "temperature": 0.6, "score": 1.0, "greedy": 1.0, "problems": 20,
    }  # fmt: skip
    assert report.notes[-1].startswith("To be served with greedy: 100.0 % of the 20 problems")
