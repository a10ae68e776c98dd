"""Properties of every objective in the table, and how settings choose one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mathloop.sampling.config import SamplingConfig
from mathloop.training.config import GRPOConfig
from mathloop.training.objectives import OBJECTIVES
from mathloop.training.objectives.objective import load_objective
from tests.unit.training.objective_batches import RolloutBatch, gradient_of, rollout_batches, seeds

every_objective = pytest.mark.parametrize("name", OBJECTIVES)


@every_objective
@given(batch=rollout_batches(), data=st.data())
def test_the_loss_does_not_depend_on_how_responses_are_cut_and_ordered(
    name: str, batch: RolloutBatch, data: st.DataObject
) -> None:
    objective = load_objective(name)
    responses = data.draw(st.permutations(range(len(batch.responses))))
    end = data.draw(st.integers(1, len(responses)))
    parts = [part for part in (responses[:end], responses[end:]) if part]
    whole, whole_metrics = objective.loss(batch.pack(objective), batch.config)
    losses = [objective.loss(batch.pack(objective, part), batch.config) for part in parts]
    assert sum(loss.item() for loss, _ in losses) == pytest.approx(whole.item(), rel=1e-5, abs=1e-6)
    for metric, value in whole_metrics.items():
        assert sum(float(metrics[metric]) for _, metrics in losses) == pytest.approx(float(value), abs=1e-6)


@every_objective
@given(batch=rollout_batches())
def test_only_the_loss_has_a_gradient_and_weights_of_zero_make_it_zero(
    name: str, batch: RolloutBatch
) -> None:
    objective = load_objective(name)
    tokens = batch.pack(objective)
    loss, metrics = objective.loss(tokens, batch.config)
    assert loss.requires_grad
    assert not any(value.requires_grad for value in metrics.values())
    assert "KL" in metrics
    tokens.weights.zero_()
    loss, _ = objective.loss(tokens, batch.config)
    assert not any(gradient_of(loss, tokens))


@every_objective
@given(st.floats(-1, 1, width=32), st.integers(2, 9), seeds)
def test_a_zero_variance_group_gets_zeros_and_another_a_mean_of_zero(
    name: str, reward: float, size: int, seed: int
) -> None:
    varied = torch.randperm(size, generator=torch.Generator().manual_seed(seed)) / size
    advantages = load_objective(name).advantages(torch.stack([torch.full((size,), reward), varied]))
    assert not advantages[0].any()
    assert advantages[1].any()
    assert float(advantages[1].sum()) == pytest.approx(0, abs=1e-5)


def test_settings_take_the_names_of_the_table_without_torch() -> None:
    for name in OBJECTIVES:
        assert GRPOConfig(objective=name).objective == name
    with pytest.raises(ValidationError, match=r"'ppo' is not an objective; choose from grpo"):
        GRPOConfig(objective="ppo")
    program = "import sys, mathloop.training.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_sampler_whose_logprobs_are_those_of_its_nucleus_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"sampling\.top_p \(0\.9\) below 1 .* set sampling\.top_p to 1"
    ):
        GRPOConfig(sampling=SamplingConfig(engine="vllm", top_p=0.9))
    GRPOConfig(sampling=SamplingConfig(engine="vllm"))
    GRPOConfig(sampling=SamplingConfig(engine="transformers", top_p=0.9))  # its logprobs are of all tokens
