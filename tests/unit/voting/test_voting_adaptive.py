"""When a vote may stop: the stated probability, against counting all ways in which the vote can go on."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.evaluation.sample_scores import Outcome
from mathloop.voting import choose, group_answers
from mathloop.voting.adaptive import THRESHOLD, leader_stays, next_count

ANSWERS = st.lists(st.sampled_from(["7", "8", "9", None]), min_size=1, max_size=6)


def outcomes(*answers: str | None, reward: float = 0.0) -> list[Outcome]:
    return [Outcome(answer, False, reward) for answer in answers]


@given(ANSWERS, st.integers(1, 4))
def test_a_majority_is_certain_exactly_where_no_further_responses_change_it(
    answers: list[str | None], left: int
) -> None:
    drawn = outcomes(*answers)
    groups = group_answers(drawn)
    leader = choose("maj", groups).answer
    changed = any(
        choose("maj", group_answers([*drawn, *outcomes(*more)])).answer != leader
        for more in product(["7", "8", "9", None], repeat=left)
    )
    if leader is not None:
        assert (leader_stays("maj", groups, left) > 1 - 1e-12) == (not changed)


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 3), st.integers(1, 4))
def test_a_majoritys_chance_is_that_of_polyas_urn(first: int, second: int, none: int, left: int) -> None:
    """The Dirichlet-multinomial is Pólya's urn: it begins with the responses and the priors ½, ½ and 2."""
    if first < second:
        return
    stays = 0.0
    for more in product(range(3), repeat=left):
        urn, chance = [first + 0.5, second + 0.5, none + 2.0], 1.0
        for color in more:
            chance *= urn[color] / sum(urn)
            urn[color] += 1
        stays += chance * (urn[0] >= urn[1])  # the leader was drawn first
    groups = group_answers(outcomes(*["7"] * first, *["8"] * second, *[None] * none))
    assert leader_stays("maj", groups, left) == pytest.approx(stays, abs=1e-12)


def test_rewards_decide_how_sure_a_weighted_vote_is() -> None:
    good, bad = (group_answers(outcomes("7", "7", reward=reward)) for reward in (6.0, -6.0))
    assert leader_stays("weighted", good, 6) > THRESHOLD
    assert leader_stays("weighted", bad, 6) < leader_stays("weighted", good, 6)
    assert leader_stays("weighted", good, 1) == pytest.approx(1.0)  # one more weighs at most 1


def test_only_a_reward_that_was_not_seen_yet_can_be_higher() -> None:
    same = group_answers(outcomes(*["7"] * 6, reward=9.0))
    new = 2 * 0.5 / 7  # no reward came once
    assert leader_stays("rm", same, 2) == pytest.approx(1 - new / (1 + new) / 8, abs=1e-3)
    different = group_answers([Outcome("7", False, 9.0 + number) for number in range(6)])
    new = 2 * 6.5 / 7  # all came once
    assert leader_stays("rm", different, 2) == pytest.approx(1 - new / (6 + new) / 8, abs=1e-3)
    assert leader_stays("rm", same, 0) == 1


def test_without_an_answer_or_a_rule_drawing_goes_on() -> None:
    assert leader_stays("maj", group_answers(outcomes(None, None)), 1) == 0
    assert leader_stays("greedy", group_answers(outcomes("7")), 1) == 0


@given(st.integers(1, 64))
def test_batches_never_draw_more_than_asked(most: int) -> None:
    drawn = 0
    while count := next_count(drawn, most):
        assert count > 0
        drawn += count
    assert drawn == most


def test_a_thousand_responses_have_a_chance_too() -> None:
    groups = group_answers(outcomes("7", "7", "8"))
    # In the limit, the leader's chance is that of a share below one half under Beta(3/2, 5/2).
    assert leader_stays("maj", groups, 1_000) == pytest.approx(1 / 2 + 2 / (3 * math.pi), abs=2e-3)
