"""Votes and the choice among candidates, against the evaluation's own scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.evaluation.metrics import Outcome, majority
from mathloop.records import Response
from mathloop.serving.ballots import choose, tally
from tests.unit.serving.standins import response

RESPONSES = st.lists(
    st.builds(
        response,
        st.none() | st.sampled_from(["7", "8", "1/2", "0.5", "14/2"]),
        st.floats(-50, 50, allow_nan=False),
    ),
    min_size=1,
    max_size=12,
)


def test_equal_answers_are_one_candidate_whatever_their_writing() -> None:
    candidates = tally([response("1/2"), response("7"), response("0.5"), response(None), response(None)])
    assert [(c.answer, c.votes, len(c.responses)) for c in candidates] == [
        ("1/2", 2, 2),
        ("7", 1, 1),
        (None, 0, 2),
    ]


def test_a_candidates_weight_is_the_sum_of_its_sigmoids() -> None:
    rewards = [2.0, -1.0, 0.5]
    (candidate,) = tally([response("7", reward) for reward in rewards])
    assert candidate.weighted_votes == pytest.approx(sum(1 / (1 + math.exp(-reward)) for reward in rewards))
    (none,) = tally([response(None, 3.0)])
    assert none.weighted_votes == 0
    (unrated,) = tally([response("7")])
    assert unrated.weighted_votes is None


def test_the_reward_model_overrules_the_majority() -> None:
    drawn = [response("7", 1.0), response("8", 3.0), response("7", 2.0)]
    candidates = tally(drawn)
    assert choose(candidates, "maj").answer == "7"
    assert choose(candidates, "rm").answer == "8"
    assert choose(candidates, "maj").best.reward == 2.0


def test_a_response_without_an_answer_wins_only_among_its_like() -> None:
    assert choose(tally([response(None, 9.0), response("7", -9.0)]), "rm").answer == "7"
    assert choose(tally([response(None), response(None), response("7")]), "maj").answer == "7"
    only = choose(tally([response(None, 1.0, "first"), response(None, 2.0, "second")]), "rm")
    assert (only.answer, only.best.text) == (None, "second")


@given(RESPONSES)
def test_maj_is_the_majority_that_champions_are_measured_by(responses: list[Response]) -> None:
    winner = majority([Outcome(one.answer, False, one.reward) for one in responses])
    assert choose(tally(responses), "maj").answer == (winner.answer if winner else None)


@given(RESPONSES)
def test_rm_takes_the_highest_reward_among_answers(responses: list[Response]) -> None:
    answered = [one for one in responses if one.answer is not None] or responses
    best = max(answered, key=lambda one: one.reward or 0.0)
    chosen = choose(tally(responses), "rm").best
    assert (chosen.reward or 0.0) == (best.reward or 0.0)


@given(RESPONSES)
def test_no_response_is_lost_and_no_vote_is_counted_twice(responses: list[Response]) -> None:
    candidates = tally(responses)
    assert sum(len(candidate.responses) for candidate in candidates) == len(responses)
    assert sum(candidate.votes for candidate in candidates) == sum(
        one.answer is not None for one in responses
    )
