"""Where the samplers and reward models of a stage come from: as a rule from the folders of the models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mathloop.sampling.config import SamplingConfig
    from mathloop.sampling.rewarding import Scorer
    from mathloop.sampling.sampler import Sampler


class Source(Protocol):
    """Takes the place of loading a model in `load_sampler` and `load_scorer`."""

    def sampler(self, folder: Path, config: SamplingConfig) -> Sampler:
        """A sampler of the policy in `folder`."""
        ...

    def scorer(self, folder: Path, dtype: str) -> Scorer:
        """The rewards of the reward model in `folder`."""
        ...


_source: ContextVar[Source | None] = ContextVar("source", default=None)


def current_source() -> Source | None:
    """The source of `sampling_from`, in this thread; None: models are loaded."""
    return _source.get()


@contextmanager
def sampling_from(source: Source) -> Iterator[None]:
    """Inside, in this thread, samplers and reward models come from `source`."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def sampling_seconds(here: float) -> float:
    """Seconds that sampling took: those of the slowest pod where pods did it, else those that passed here."""
    seconds: float = getattr(_source.get(), "seconds", here)
    return max(seconds, 1e-9)
