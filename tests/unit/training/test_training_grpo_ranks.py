"""GRPO on two processes: every objective is normalized over the rollouts of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.models.loading import load_policy
from mathloop.training.config import GRPOConfig
from mathloop.training.objectives import OBJECTIVES
from mathloop.training.objectives.objective import BatchSize, Tokens, load_objective
from tests.unit.training import two_ranks
from tests.unit.training.logged_rollouts import assert_gradient, read_rollouts, response_logprobs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logged rollouts and gradients of both processes, for every objective."""
    folder = tmp_path_factory.mktemp("reinforced")
    (folder / "trained").symlink_to(trained)
    two_ranks.run(folder, "reinforced")
    return folder


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradients_of_two_ranks_add_up_to_that_of_all_rollouts(
    trained: Path, letters: Any, folder: Path, name: str
) -> None:
    objective, rows = load_objective(name), read_rollouts(folder, name)
    net, _ = load_policy(trained / "policy")
    logprobs = list(response_logprobs(net, rows, letters, 1.0))
    lengths = [len(own) for own in logprobs]
    assert len(rows) == 16
    assert sum(lengths[:8]) != sum(lengths[8:])  # or a mean of the ranks' means would be the same
    size = BatchSize(len(rows), sum(lengths), max_tokens=60)
    weights = torch.tensor([objective.token_weight(length, size) for length in lengths])
    advantages = torch.tensor([row["advantage"] for row in rows])
    response = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(lengths))
    new = torch.cat(logprobs)
    tokens = Tokens(
        logprobs=new,
        old_logprobs=new.detach(),
        reference_logprobs=new.detach(),
        importance=torch.ones_like(new),
        advantages=advantages[response],
        weights=weights[response],
        response=response,
        responses=len(rows),
    )
    loss, _ = objective.loss(tokens, GRPOConfig())
    parts = [torch.load(folder / f"{name}-gradient-{rank}.pt") for rank in (0, 1)]
    assert_gradient(net, loss, {key: parts[0][key] + parts[1][key] for key in parts[0]})
