"""Strategy, samples and temperature of requests that name none: as the champion was evaluated.

What the command line sets comes first, then what the evaluation found best, then the solver's own defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mathloop.registry import Champion
from mathloop.serving.config import SolverConfig
from mathloop.serving.questions import default_strategy, strategies
from mathloop.voting import STRATEGIES


def resolve(
    config: SolverConfig, champion: Champion | None, asked: Mapping[str, Any], *, has_reward_model: bool
) -> tuple[SolverConfig, str | None]:
    """The configuration to serve with, and a line about a champion's defaults; None if there is none to say.

    Args:
        champion: the served one; None for other models.
        asked: strategy, samples and temperature of the command line; None where they are not set.
    """
    chosen = {name: value for name, value in asked.items() if value is not None}
    if champion is None:
        return config.model_copy(update=chosen), None
    found = champion.serving
    if found is None:
        fault = f"champion {champion.number} was published without an evaluation"
    elif found.strategy not in strategies(has_reward_model):
        fault = f"champion {champion.number} was evaluated with {found.strategy}, which is not served here"
    else:
        evaluated: dict[str, Any] = {"strategy": found.strategy, "temperature": found.temperature}
        if STRATEGIES[found.strategy].needs != "greedy":
            evaluated["samples"] = min(found.samples, config.most_samples)
        if not chosen:
            return config.model_copy(update=evaluated), f"as evaluated: {found}"
        instead = ", ".join(f"{name} {value}" for name, value in chosen.items())
        return (
            config.model_copy(update={**evaluated, **chosen}),
            f"as evaluated, but for {instead}: {found}",
        )
    served = config.model_copy(update=chosen)
    strategy = served.strategy or default_strategy(has_reward_model)
    return served, f"{fault}: {strategy} of {served.samples} at temperature {served.temperature:g}"
