"""How a champion answered best in its own evaluation: what its solver does unless it is told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ServingDefaults:
    """The strategy with the best score on one half of the evaluation's problems, measured on the other."""

    strategy: str
    """A voting strategy of `mathloop.voting`."""
    samples: int
    """Responses per problem that it chose among; 1 for greedy."""
    temperature: float
    """At which they were sampled."""
    score: float
    """On the problems that did not choose the strategy, 0 to 1."""
    greedy: float
    """Of greedy decoding, on the same problems."""
    problems: int
    """How many these are."""

    @classmethod
    def parse(cls, value: Any) -> ServingDefaults:
        """Of JSON; raises ValueError for anything else than its fields."""
        if not isinstance(value, dict) or set(value) != set(cls.__dataclass_fields__):
            raise ValueError(f"expected serving defaults: {', '.join(cls.__dataclass_fields__)}")
        numbers = [value[name] for name in ("temperature", "score", "greedy")]
        counts = [value[name] for name in ("samples", "problems")]
        if not (
            isinstance(value["strategy"], str)
            and all(type(one) in (int, float) and 0 <= one < 100 for one in numbers)
            and all(type(one) is int and one > 0 for one in counts)
        ):
            raise ValueError("expected serving defaults that are a name and numbers from 0 up")
        return cls(**value)

    def __str__(self) -> str:
        """In a line, for reports and logs."""
        drawn = "" if self.strategy == "greedy" else f" of {self.samples} at temperature {self.temperature:g}"
        return (
            f"{self.strategy}{drawn}: {100 * self.score:.1f} % of the {self.problems} problems of its "
            f"evaluation that did not choose it (greedy {100 * self.greedy:.1f} %)"
        )
