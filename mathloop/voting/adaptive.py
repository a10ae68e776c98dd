"""When a vote may stop before all responses are drawn.

After k of n responses, with `left` = n − k still to come, the leader keeps its place with a probability
that is stated here; drawing stops where it reaches a threshold. For a rank that is a sum (votes; weights
σ(reward), of which each is at most 1), let a and b be the ranks of the leader and of the runner-up. As in
Adaptive-Consistency (Aggarwal et al. 2023, arXiv 2305.11860), the runner-up's share of the two has the
posterior Beta(b + 1, a + 1). That paper asks whether the leader would win without end; n is known here: the
number X of the remaining responses that the runner-up gets is beta-binomial, and the leader stays if
a + left − X is above b + X. All remaining responses are taken to go to one of these two, with the weight 1.
The probability is 1 where the vote cannot change.

For a rank that is a maximum (rm) the n rewards are exchangeable: the highest of all is among the remaining
ones with the probability left / n, and then belongs to another answer with these answers' expected share by
weight, (W − a + 1) / (W + 2), where W is the sum of all weights and a the leader's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mathloop.chances import beta_binomial
from mathloop.voting.grouping import AnyVoter, Group
from mathloop.voting.strategies import STRATEGIES, choose

THRESHOLD = 0.95
"""Drawing stops once the leader keeps its place with this probability."""
FIRST = 3
"""Responses before the first look."""
BATCH = 2
"""Responses between two looks."""
OPEN = 0.6
"""Below this probability the vote is open, and the rest is drawn at once: faster than in small batches."""


def next_count(drawn: int, most: int, stays: float = 1.0) -> int:
    """Responses to draw after `drawn` of at most `most`; `stays` is the probability at the last look."""
    left = most - drawn
    return left if drawn and stays < OPEN else min(BATCH if drawn else FIRST, left)


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
    others = [group for group in groups if group is not leader and group.answer is not None]
    if grows == "maximum":
        if not leader.rewards:
            return 0.0
        total, drawn = math.fsum(group.weight for group in groups), sum(len(one.responses) for one in groups)
        share = (total - leader.weight + 1) / (total + 2)
        return 1 - left / (drawn + left) * share
    runner_up = max(others, key=rank, default=None)
    ahead = rank(leader), 0.0 if runner_up is None else rank(runner_up)
    # Ties go to the answer that was drawn first; one that is not there yet comes last.
    first = runner_up is None or groups.index(leader) < groups.index(runner_up)
    return math.fsum(
        beta_binomial(x, left, ahead[1] + 1, ahead[0] + 1)
        for x in range(left + 1)
        if (margin := ahead[0] + left - x - (ahead[1] + x)) > 0 or (margin == 0 and first)
    )
