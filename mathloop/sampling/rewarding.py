"""The reward model of a stage that may have none: torch is imported only where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mathloop.records import Mode
from mathloop.sampling.sources import current_source

Scorer = Callable[[Sequence[tuple[str, Mode, str]]], list[float]]
"""Rewards (logits) of (problem, mode, response text), in order; raises BadConfig where one does not fit."""


def load_scorer(folder: Path | None, dtype: str) -> Scorer | None:
    """The scorer of a reward model's folder; None without a folder.

    Args:
        dtype: name of the dtype to compute in, where the processor multiplies it fast.

    Raises:
        BadModel: the folder is not a reward model's.
    """
    if folder is None:
        return None
    source = current_source()
    return read_scorer(folder, dtype) if source is None else source.scorer(folder, dtype)


def read_scorer(folder: Path, dtype: str) -> Scorer:
    """The same, whatever `sampling_from` says."""
    from mathloop.models.dtypes import working_dtype
    from mathloop.models.loading import load_reward_model
    from mathloop.sampling.scoring import score

    return partial(score, *load_reward_model(folder, working_dtype(dtype)))
