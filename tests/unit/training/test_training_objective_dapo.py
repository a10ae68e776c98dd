"""DAPO against plain Python loops over floats, against TRL's, and as the recipe runs it.

TRL's `loss_type="dapo"`, its default, divides by the tokens of the generation batch over all processes, as
mathloop does; for an optimizer step on a part of it, both multiply by the number of parts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mathloop.models.loading import load_policy
from mathloop.sampling.config import SamplingConfig
from mathloop.training.objectives.dapo import DAPO
from mathloop.training.objectives.grpo import GRPO
from tests.unit.training import trl_peers
from tests.unit.training.logged_rollouts import Steps, assert_gradient, response_logprobs, run
from tests.unit.training.objective_batches import (
    RolloutBatch,
    gradient_of,
    kl_estimate,
    near_the_clip,
    rollout_batches,
    seeds,
)
from tests.unit.training.trl_peers import GROUPS, SIZE

EXACT = {"rel": 1e-6, "abs": 1e-6}


def slow_loss(batch: RolloutBatch) -> tuple[float, list[float]]:
    """(loss, its gradient by every token's log-probability)."""
    loss, gradient = 0.0, []
    for response in batch.responses:
        for token in response.tokens:
            ratio = math.exp(token.new - token.old)
            bound = min(max(ratio, 1 - batch.clip), 1 + batch.clip_high)
            gain, slope = ratio * response.advantage, ratio * response.advantage
            if bound * response.advantage < gain:
                gain, slope = bound * response.advantage, 0.0
            divergence, divergence_slope = kl_estimate(token) if batch.beta else (0.0, 0.0)
            loss -= token.importance * gain - batch.beta * divergence
            gradient.append(-(token.importance * slope - batch.beta * divergence_slope))
    return loss / len(gradient), [slope / len(gradient) for slope in gradient]


@given(rollout_batches())
def test_the_loss_is_a_mean_over_all_tokens(batch: RolloutBatch) -> None:
    every = [token for response in batch.responses for token in response.tokens]
    assume(not any(near_the_clip(math.exp(token.new - token.old), batch) for token in every))
    value, gradient = slow_loss(batch)
    tokens = batch.pack(DAPO)
    loss, _ = DAPO.loss(tokens, batch.config)
    assert loss.item() == pytest.approx(value, **EXACT)
    assert gradient_of(loss, tokens) == pytest.approx(gradient, **EXACT)


def test_advantages_are_those_of_grpo() -> None:
    assert DAPO.advantages == GRPO.advantages


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Any:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[benchmark]'")
    folder = trl_peers.write_policy(tmp_path_factory.mktemp("policy"), tokenizer)
    return trl_peers.make_grpo_trainer(folder, loss_type="dapo")


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=GROUPS * SIZE, max_size=GROUPS * SIZE), seeds)
def test_the_loss_and_its_gradient_are_those_of_trl(trainer: Any, lengths: list[int], seed: int) -> None:
    trl_peers.assert_trl_agrees(DAPO, trainer, lengths, seed)


@pytest.mark.parametrize("overlong", ["keep", "mask"])
def test_the_recipe_takes_the_gradient_of_the_logged_rollouts(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlong: str
) -> None:
    steps = Steps(monkeypatch)
    given: dict[str, Any] = {"temperature": 1.5, "sampling": SamplingConfig(max_tokens=50)}
    _, rows = run(trained, tmp_path, objective="dapo", tir_share=1.0, overlong=overlong, **given)
    net, _ = load_policy(trained / "policy")
    new = list(response_logprobs(net, rows, letters, 1.5))
    # A masked response contributes neither to the sum nor to the number of tokens.
    counted = [i for i, row in enumerate(rows) if overlong == "keep" or row["finish_reason"] != "length"]
    assert 0 < len(counted) < 16 or overlong == "keep"
    loss = torch.zeros(())
    for i in counted:
        for logprob in new[i]:  # of the first step: the ratio is 1, and the KL's gradient is 0
            loss = loss - torch.exp(logprob - logprob.detach()) * rows[i]["advantage"]
    assert_gradient(net, loss / sum(len(new[i]) for i in counted), steps.gradients[0])
