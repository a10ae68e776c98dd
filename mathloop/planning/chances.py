"""The beta-binomial distribution."""

from __future__ import annotations

from math import exp, lgamma


def beta_binomial(successes: int, of: int, alpha: float, beta: float) -> float:
    """Probability of so many successes, whose chance has the distribution Beta(alpha, beta).

    In logarithms: the binomial coefficient alone is above the largest float from 1,030 trials on.
    """
    ways = lgamma(of + 1) - lgamma(successes + 1) - lgamma(of - successes + 1)
    return exp(ways + _log_beta(successes + alpha, of - successes + beta) - _log_beta(alpha, beta))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
