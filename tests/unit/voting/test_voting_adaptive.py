"""When a vote may stop: the stated probability, against counting all ways in which the vote can go on."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.evaluation.sample_scores import Outcome
from mathloop.voting import choose, group_answers
from mathloop.voting.adaptive import leader_stays, next_count

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


@given(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4))
def test_a_majoritys_chance_is_that_of_polyas_urn(first: int, second: int, left: int) -> None:
    """The beta-binomial is Pólya's urn that begins with one ball of each answer more than was drawn."""
    if first < second or first == 0:
        return
    stays = 0.0
    for more in product((True, False), repeat=left):
        ahead, behind, chance = first, second, 1.0
        for hit in more:
            chance *= ((behind if hit else ahead) + 1) / (ahead + behind + 2)
            ahead, behind = ahead + (not hit), behind + hit
        stays += chance * (ahead >= behind)  # the leader was drawn first
    groups = group_answers(outcomes(*["7"] * first, *["8"] * second))
    assert leader_stays("maj", groups, left) == pytest.approx(stays, abs=1e-12)


def test_rewards_decide_how_sure_a_weighted_vote_is() -> None:
    good, bad = (group_answers(outcomes("7", "7", "7", reward=reward)) for reward in (6.0, -6.0))
    assert leader_stays("weighted", good, 5) > 0.95
    assert leader_stays("weighted", bad, 5) < 0.6
    assert leader_stays("weighted", good, 2) == pytest.approx(1.0)  # two more weigh at most 2


def test_the_highest_reward_may_always_come_last() -> None:
    groups = group_answers(outcomes(*["7"] * 6, reward=9.0))
    assert leader_stays("rm", groups, 2) == pytest.approx(1 - 2 / 8 * 1 / 8, abs=1e-3)
    assert leader_stays("rm", groups, 0) == 1


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


def test_thousands_of_responses_have_a_chance_too() -> None:
    groups = group_answers(outcomes("7", "7", "8"))
    few, many = (leader_stays("maj", groups, left) for left in (1_000, 5_000))
    # In the limit, the leader's chance is that of a share below one half under Beta(2, 3): 11/16.
    assert few == pytest.approx(11 / 16, abs=2e-3)
    assert many == pytest.approx(11 / 16, abs=4e-4)
