"""Votes on cases done by hand."""

from __future__ import annotations

import math

import pytest

from mathloop.records import Response
from mathloop.sampling.voting import vote


def answers(*given: str | None, rewards: tuple[float | None, ...] = ()) -> list[Response]:
    padded = [*rewards, *[None] * (len(given) - len(rewards))]
    return [Response("p", i, "cot", "", a, reward=padded[i]) for i, a in enumerate(given)]


@pytest.mark.parametrize(
    ("given", "winner", "share"),
    [
        (["3", "4", "4"], "4", 2 / 3),
        (["0.5", "7", "\\frac{1}{2}", "1/2"], "0.5", 3 / 4),  # other forms of one number
        (["7", "1/2", "7.0", "0.5", "0.50"], "1/2", 3 / 5),
        (["4", "3", "3", "4"], "4", 1 / 2),  # a tie: the first
        (["3", "4"], "3", 1 / 2),
        ([None, None, "9"], "9", 1.0),  # who does not answer does not vote
    ],
)
def test_the_most_frequent_answer_wins(given: list[str | None], winner: str, share: float) -> None:
    assert vote(answers(*given)) == (winner, pytest.approx(share))


@pytest.mark.parametrize("weighted", [False, True])
def test_nobody_answered(weighted: bool) -> None:
    assert vote(answers(None, None), weighted=weighted) == (None, 0.0)
    assert vote([], weighted=weighted) == (None, 0.0)


def test_a_vote_weighs_what_the_reward_model_gives() -> None:
    responses = answers("3", "3.0", "4", rewards=(-2.0, -1.0, 2.0))
    sigmoid = [1 / (1 + math.exp(-r)) for r in (-2.0, -1.0, 2.0)]
    assert vote(responses, weighted=True) == ("4", pytest.approx(sigmoid[2] / sum(sigmoid)))
    assert vote(responses) == ("3", pytest.approx(2 / 3))


def test_a_response_without_reward_weighs_one_half() -> None:
    responses = answers("3", "4", "4", rewards=(1.0, None, None))
    assert vote(responses, weighted=True) == ("4", pytest.approx(1 / (1 + 1 / (1 + math.exp(-1.0)))))
