"""What one stage has to do, in samples, tokens and steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mathloop.sampling.config import SamplingConfig
from mathloop.training.config import EngineConfig, LoRAConfig


@dataclass(frozen=True)
class Work:
    """One stage's work. Tokens are sums over all samples and epochs."""

    stage: str
    pool: Literal["sampler", "trainer"]
    problems: float
    samples: float = 0.0
    """Responses that it samples."""
    prompted: float = 0.0
    """Prompt tokens to read: once per problem, whose samples share them."""
    written: float = 0.0
    """Tokens of the sampled responses."""
    scored: float = 0.0
    """Tokens that a reward model scores."""
    forwarded: float = 0.0
    """Tokens through a forward pass of a policy without learning: reference, old policy."""
    trained: float = 0.0
    """Tokens through forward and backward passes."""
    reported: float = 0.0
    """The trained tokens as stages report them: a prompt that samples share counts as often as it is used."""
    steps: int = 0
    """Optimizer steps."""
    batches: int = 1
    """Times that sampling starts anew, and the longest response is waited for."""
    length: float = 0.0
    """Mean tokens of a trained sample, or of prompt and response of a sampled one."""
    sampling: SamplingConfig | None = None
    engine: EngineConfig | None = None
    lora: LoRAConfig | None = None
    longest: int = 0
    """Most tokens of a sample, prompt included."""

    @property
    def tokens(self) -> float:
        """All tokens that go through a model."""
        return self.prompted + self.written + self.scored + self.forwarded + self.trained
