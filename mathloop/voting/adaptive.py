"""When a vote may stop before all responses are drawn.

After k of n responses, with `left` = n − k still to come, the leader keeps its place with a probability
that is stated here; drawing stops where it reaches a threshold. As in Adaptive-Consistency (Aggarwal et al.
2023, arXiv 2305.11860) the shares of the answers have a posterior; that paper asks whether the leader would
win without end, while n is known here.

For a rank that is a sum (votes; weights σ(reward), of which each is at most 1), let a and b be the ranks of
the leader and of the runner-up (0 where no other answer was seen). The next response is one of the
leader's, one of the runner-up's, or neither, with shares Dirichlet(a + ½, b + ½, k − a − b + 2): Jeffreys'
prior for the two, and 2 for all other answers, unseen ones included. The leader stays if a plus its part of
the remaining responses is above b plus the runner-up's, each response with the weight 1; their numbers are
Dirichlet-multinomial. The probability is 1 where the vote cannot change.

For a rank that is a maximum (rm) only a reward that was not seen yet can be higher: of s rewards that came
once, a further response has a new one with the probability ν = (s + ½) / (k + 1) (Good and Turing's
estimate). The d different rewards and the m = ν · left new ones are exchangeable: the highest is among the
new ones with the probability m / (d + m), and then belongs to another answer with these answers' expected
share by weight, (W − a + 1) / (W + 2), where W is the sum of all weights and a the leader's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mathloop.voting.grouping import AnyVoter, Group
from mathloop.voting.strategies import STRATEGIES, choose

THRESHOLD = 0.85
"""Drawing stops once the leader keeps its place with this probability."""
FIRST = 2
"""Responses before the first look."""
SEEN, OTHERS = 0.5, 2.0
"""Prior of the leader and of the runner-up, and of all other answers, in responses."""


def next_count(drawn: int, most: int) -> int:
    """Responses to draw after `drawn` of at most `most`: one at a time, later a fourth of those drawn."""
    return min(max(1, drawn // 4) if drawn else FIRST, most - drawn)


def leader_stays(strategy: str, groups: Sequence[Group[AnyVoter]], left: int) -> float:
    """Probability, 0 to 1, that the chosen group is still chosen after `left` more responses.

    `groups` holds at least one, as `group_answers` returns them. 0 where no response has an answer yet, and
    for a strategy whose rank is neither a sum nor a maximum.
    """
    if left <= 0:
        return 1.0
    leader = choose(strategy, groups)
    grows, rank = STRATEGIES[strategy].grows, STRATEGIES[strategy].rank
    if leader.answer is None or grows is None:
        return 0.0
    drawn = sum(len(one.responses) for one in groups)
    if grows == "maximum":
        return 1 - _exceeded(leader, groups, drawn, left) if leader.rewards else 0.0
    others = [group for group in groups if group is not leader and group.answer is not None]
    runner_up = max(others, key=rank, default=None)
    # Ties go to the answer that was drawn first; one that is not there yet comes last.
    first = runner_up is None or groups.index(leader) < groups.index(runner_up)
    return 1 - _overtaken(rank(leader), 0.0 if runner_up is None else rank(runner_up), drawn, left, first)


def _overtaken(ahead: float, behind: float, drawn: int, left: int, first: bool) -> float:
    """Probability that the runner-up passes the leader, or draws level if the leader is not `first`."""
    priors = ahead + SEEN, behind + SEEN, max(drawn - ahead - behind, 0.0) + OTHERS
    ways = [
        [
            math.lgamma(count + prior) - math.lgamma(prior) - math.lgamma(count + 1)
            for count in range(left + 1)
        ]
        for prior in priors
    ]
    total = sum(priors)
    scale = math.lgamma(left + 1) + math.lgamma(total) - math.lgamma(left + total)
    return math.fsum(
        math.exp(scale + ways[0][mine] + ways[1][other] + ways[2][left - mine - other])
        for other in range(left + 1)
        for mine in range(left + 1 - other)
        if (margin := behind + other - ahead - mine) > 0 or (margin == 0 and not first)
    )


def _exceeded(leader: Group[AnyVoter], groups: Sequence[Group[AnyVoter]], drawn: int, left: int) -> float:
    """Probability that a response with another answer gets a reward above the highest one."""
    rewards = Counter(reward for group in groups for reward in group.rewards)
    new = left * (sum(count == 1 for count in rewards.values()) + 0.5) / (drawn + 1)
    total = math.fsum(group.weight for group in groups)
    return new / (len(rewards) + new) * (total - leader.weight + 1) / (total + 2)
