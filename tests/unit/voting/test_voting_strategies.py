"""The table of strategies: how each chooses, ties and missing answers, and one more entry."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.evaluation.metrics import Outcome, score_samples
from mathloop.records import Response
from mathloop.serving.config import SolverConfig
from mathloop.serving.questions import read_question, strategies
from mathloop.synthesis.cot import majority_answer
from mathloop.voting import STRATEGIES, choose, group_answers, share, sigmoid
from tests.unit.serving.standins import ScriptedEngine
from tests.unit.voting.test_voting_grouping import drawn

REWARDS = st.none() | st.sampled_from([math.nan, math.inf, -1.5, 0.0, 2.0]) | st.floats(-50, 50)
DRAWN = st.lists(
    st.tuples(st.none() | st.sampled_from(["7", "07", "8", "1/2", "0.5", "14/2"]), REWARDS),
    min_size=1,
    max_size=12,
).map(lambda pairs: drawn([answer for answer, _ in pairs], [reward for _, reward in pairs]))


def chosen(strategy: str, responses: list[Response]) -> str | None:
    return choose(strategy, group_answers(responses)).answer


CASE = ["7", "7", "7", "1/3", "1/3", "33.3333%", "33.3333%", "9"]
"""Of the gold answer 0.333333, which the verifier finds equal to 1/3 and to 33.3333 %."""


def test_the_vote_does_not_see_the_gold_answer_in_the_evaluation() -> None:
    judged = [Outcome(answer, answer in ("1/3", "33.3333%"), 0.0) for answer in CASE]
    assert score_samples(judged, 8)["maj"] == 0
    assert score_samples([Outcome(one.answer, one.answer == "7", None) for one in judged], 8)["maj"] == 1


def test_the_vote_does_not_see_the_gold_answer_in_the_synthesis() -> None:
    assert majority_answer(drawn(CASE), "maj", 3 / 8) == "7"
    assert majority_answer(drawn(CASE), "maj", 0.5) is None


def test_the_vote_does_not_see_the_gold_answer_in_the_solver() -> None:
    import asyncio

    from mathloop.serving.solver import Solver

    async def answered() -> Any:
        solver = Solver(ScriptedEngine(CASE), SolverConfig())
        await solver.prepare()
        body = {"messages": [{"role": "user", "content": "?"}], "samples": 8}
        asked = read_question(json.dumps(body).encode(), SolverConfig(), has_reward_model=False)
        try:
            return await solver.ask(asked)
        finally:
            await solver.close()

    answer = asyncio.run(answered())
    assert answer.chosen.answer == "7"
    assert [(one.answer, one.votes) for one in answer.candidates] == [
        ("7", 3), ("1/3", 2), ("33.3333%", 2), ("9", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "winner", "part"),
    [
        (["3", "4", "4"], "4", 2 / 3),
        (["0.5", "7", "\\frac{1}{2}", "1/2"], "0.5", 3 / 4),  # other forms of one number
        (["7", "1/2", "7.0", "0.5", "0.50"], "1/2", 3 / 5),
        (["4", "3", "3", "4"], "4", 1 / 2),  # a tie: drawn first
        ([None, None, None, "9", "8", "8"], "8", 2 / 3),  # no answer does not vote
        ([None, None], None, 0.0),
    ],
)
def test_maj_chooses_the_answer_with_most_votes(
    answers: list[str | None], winner: str | None, part: float
) -> None:
    groups = group_answers(drawn(answers))
    group = choose("maj", groups)
    assert (group.answer, share("maj", group, groups)) == (winner, pytest.approx(part))


def test_rm_chooses_the_answer_of_the_response_with_the_highest_reward() -> None:
    responses = drawn(["7", "8", "7"], [1.0, 3.0, 2.0])
    assert (chosen("maj", responses), chosen("rm", responses)) == ("7", "8")
    assert chosen("rm", drawn(["7", "8"], [1.0, 1.0])) == "7"


def test_weighted_chooses_by_the_sum_of_sigmoids() -> None:
    responses = drawn(["3", "3.0", "4"], [-2.0, -1.0, 2.0])
    groups = group_answers(responses)
    weights = [sigmoid(reward) for reward in (-2.0, -1.0, 2.0)]
    assert (chosen("maj", responses), chosen("weighted", responses)) == ("3", "4")
    assert share("weighted", groups[1], groups) == pytest.approx(weights[2] / sum(weights))
    assert chosen("weighted", drawn(["3", "3", "4"], [0.5, 0.4, 1.0])) == "3"
    assert chosen("rm", drawn(["3", "3", "4"], [0.5, 0.4, 1.0])) == "4"


@pytest.mark.parametrize("strategy", ["rm", "weighted"])
def test_no_answer_and_no_finite_reward_are_chosen_only_where_there_is_nothing_else(strategy: str) -> None:
    assert chosen(strategy, drawn([None, "7"], [9.0, -9.0])) == "7"
    assert chosen(strategy, drawn(["8", "7", "9"], [math.nan, -9.0, math.inf])) == "7"
    assert chosen(strategy, drawn(["8", "7"], [None, math.nan])) == "8"
    assert chosen(strategy, drawn([None, None], [1.0, 2.0])) is None
    assert choose(strategy, group_answers(drawn([None, None], [1.0, 2.0]))).best.sample == 1


def test_weights_that_vanish_are_no_share() -> None:
    groups = group_answers(drawn(["7", "8"], [-4000.0, -4000.0]))
    assert share("weighted", groups[0], groups) == 0


@given(DRAWN)
def test_choices_against_slow_definitions(responses: list[Response]) -> None:
    value = {"7": 7.0, "07": 7.0, "14/2": 7.0, "8": 8.0, "1/2": 0.5, "0.5": 0.5}
    votes: dict[float, int] = {}
    best: dict[float, float] = {}
    for one in responses:
        if one.answer is not None:
            of = value[one.answer]
            votes[of] = votes.get(of, 0) + 1
            finite = one.reward is not None and math.isfinite(one.reward)
            best[of] = max(
                best.get(of, -math.inf), one.reward if finite and one.reward is not None else -math.inf
            )
    expected = {"maj": votes, "rm": best}
    for strategy, ranks in expected.items():
        answer = chosen(strategy, responses)
        if not ranks:
            assert answer is None
        else:
            first = next(of for of in ranks if ranks[of] == max(ranks.values()))
            assert answer is not None
            assert value[answer] == first


def test_strategies_that_a_server_has_depend_on_its_reward_model() -> None:
    assert strategies(has_reward_model=True) == ["greedy", "maj", "rm", "weighted"]
    assert strategies(has_reward_model=False) == ["greedy", "maj"]


ONE_MORE = """
import json
from mathloop.voting import STRATEGIES, Strategy

STRATEGIES["longest"] = Strategy("the longest answer", "samples", lambda group: len(group.answer or ""))

from mathloop.evaluation import print_table, score_table
from mathloop.evaluation.config import GateConfig
from mathloop.records import Problem, Response
from mathloop.serving.config import SolverConfig
from mathloop.serving.questions import read_question, strategies
from pipelines.cli import app
from typer.testing import CliRunner

drawn = [Response("p", i, "cot", "", a, a == "123", model="base") for i, a in enumerate(["7", "7", "123"])]
table = score_table([Problem("p", "?", "123")], drawn)
body = {"messages": [{"role": "user", "content": "?"}], "strategy": "longest"}
question = read_question(json.dumps(body).encode(), SolverConfig(), has_reward_model=False)
help_text = CliRunner().invoke(app, ["ask", "--help"]).output
print(json.dumps({
    "scores": {name: table.get("base", "cot", name).value for name in ("maj", "longest")},
    "shown": "longest@3" in print_table(table),
    "gate": GateConfig(metric="longest").metric,
    "served": strategies(has_reward_model=False),
    "asked": question.strategy,
    "help": "longest" in help_text,
}))
"""


def test_a_strategy_is_one_entry_of_the_table() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", ONE_MORE], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(shown) == {
        "scores": {"maj": 0.0, "longest": 1.0},
        "shown": True,
        "gate": "longest",
        "served": ["greedy", "maj", "longest"],
        "asked": "longest",
        "help": True,
    }


def test_the_gate_takes_a_strategy_by_name_and_refuses_others() -> None:
    from pydantic import ValidationError

    from mathloop.evaluation.config import GateConfig

    for name in STRATEGIES:
        assert GateConfig(metric=name).metric == name
    with pytest.raises(ValidationError, match="'greedy', 'mean', 'maj', 'rm', 'weighted' or 'pass'"):
        GateConfig(metric="best")
