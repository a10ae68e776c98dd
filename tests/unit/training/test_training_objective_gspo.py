"""GSPO against plain Python loops over floats, against TRL's, and as the recipe runs it.

TRL's is `importance_sampling_level="sequence"` with `loss_type="grpo"`. With `"dapo"`, TRL's default, or
`"dr_grpo"` it adds a response's gain once per token, so that long responses weigh more than in the paper, as
TRL itself warns. TRL corrects for a sampler's arithmetic per response by default
(`vllm_importance_sampling_mode`); mathloop does it per token for every objective, as TRL's
`"token_truncate"`.
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
from mathloop.training.config import GRPOConfig, OptimizerConfig
from mathloop.training.objectives.grpo import GRPO
from mathloop.training.objectives.gspo import GSPO
from mathloop.training.objectives.objective import Tokens
from tests.unit.training import trl_peers
from tests.unit.training.logged_rollouts import Steps, assert_gradient, response_logprobs, run
from tests.unit.training.objective_batches import (
    Response,
    RolloutBatch,
    gradient_of,
    kl_estimate,
    near_the_clip,
    rollout_batches,
    seeds,
)
from tests.unit.training.trl_peers import GROUPS, SIZE

EXACT = {"rel": 1e-6, "abs": 1e-6}


def sequence_ratio(response: Response) -> float:
    """The geometric mean of the tokens' ratios."""
    product = math.prod(math.exp(token.new - token.old) for token in response.tokens)
    return float(product ** (1 / len(response.tokens)))


def slow_loss(batch: RolloutBatch) -> tuple[float, float, list[float]]:
    """(loss, clipped share, the loss's gradient by every token's log-probability)."""
    loss, clipped, gradient = 0.0, 0, []
    for response in batch.responses:
        length = len(response.tokens)
        ratio = sequence_ratio(response)
        bound = min(max(ratio, 1 - batch.clip), 1 + batch.clip_high)
        gain, slope = ratio * response.advantage, ratio * response.advantage / length
        if bound * response.advantage < gain:
            gain, slope = bound * response.advantage, 0.0
            clipped += 1
        importance = sum(token.importance for token in response.tokens) / length
        estimates = [kl_estimate(token) if batch.beta else (0.0, 0.0) for token in response.tokens]
        loss -= importance * gain - batch.beta * sum(kl for kl, _ in estimates) / length
        gradient += [-(importance * slope - batch.beta * kl_slope / length) for _, kl_slope in estimates]
    count = len(batch.responses)
    return loss / count, clipped / count, [slope / count for slope in gradient]


@given(rollout_batches())
def test_the_loss_is_a_mean_over_responses_of_their_clipped_ratio(batch: RolloutBatch) -> None:
    assume(not any(near_the_clip(sequence_ratio(response), batch) for response in batch.responses))
    value, clipped, gradient = slow_loss(batch)
    tokens = batch.pack(GSPO)
    loss, metrics = GSPO.loss(tokens, batch.config)
    assert loss.item() == pytest.approx(value, **EXACT)
    assert metrics["clipped share"].item() == pytest.approx(clipped, **EXACT)
    assert gradient_of(loss, tokens) == pytest.approx(gradient, **EXACT)


def test_a_response_is_clipped_as_a_whole_and_by_its_own_ratio() -> None:
    # The first response's tokens are far from 1 and cancel out; the second's are all a little too likely.
    new = torch.tensor([0.5, -0.5, 0.15, 0.15, 0.15], requires_grad=True)
    response = torch.tensor([0, 0, 1, 1, 1])
    ones = torch.ones(5)
    weights = torch.tensor([1 / 2 / 2] * 2 + [1 / 3 / 2] * 3)
    tokens = Tokens(new, torch.zeros(5), None, ones, ones, weights, response, 2)
    loss, metrics = GSPO.loss(tokens, GRPOConfig(clip=0.1, beta=0.0))
    assert loss.item() == pytest.approx(-(1.0 + 1.1) / 2)
    assert metrics["clipped share"].item() == pytest.approx(0.5)
    assert gradient_of(loss, tokens) == pytest.approx([-0.25, -0.25, 0.0, 0.0, 0.0])


def test_advantages_and_token_weights_are_those_of_grpo() -> None:
    assert (GSPO.advantages, GSPO.token_weight) == (GRPO.advantages, GRPO.token_weight)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Any:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[benchmark]'")
    folder = trl_peers.write_policy(tmp_path_factory.mktemp("policy"), tokenizer)
    return trl_peers.make_grpo_trainer(folder, loss_type="grpo", importance_sampling_level="sequence")


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=GROUPS * SIZE, max_size=GROUPS * SIZE), seeds)
def test_the_loss_and_its_gradient_are_those_of_trl(trainer: Any, lengths: list[int], seed: int) -> None:
    trl_peers.assert_trl_agrees(GSPO, trainer, lengths, seed)


def test_the_recipe_takes_the_gradients_of_the_logged_rollouts(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    optimizer = OptimizerConfig(learning_rate=3e-3, final_learning_rate=3e-3, warmup=0.0)
    given: dict[str, Any] = {"objective": "gspo", "clip": 0.02, "beta": 0.0, "optimizer": optimizer}
    report, rows = run(trained, tmp_path, tir_share=1.0, mini_batches=2, epochs_per_batch=2, **given)
    start, _ = load_policy(trained / "policy")
    with torch.no_grad():
        old = list(response_logprobs(start, rows, letters, 1.0))
    shares = []
    for step, groups in enumerate([[0, 2], [1, 3], [0, 2], [1, 3]]):
        net = steps.policy(trained / "policy", step)
        new = list(response_logprobs(net, rows, letters, 1.0))
        loss, clipped, learned = torch.zeros(()), 0, 0
        for i, row in enumerate(rows):
            if i // 4 not in groups or row["advantage"] == 0:
                continue
            ratio = torch.exp((new[i] - old[i]).sum() / len(new[i]))
            bound = 1 + math.copysign(0.02, row["advantage"])
            is_clipped = (ratio.item() - bound) * row["advantage"] > 0
            loss = loss - (bound if is_clipped else ratio) * row["advantage"] / 8
            clipped, learned = clipped + is_clipped, learned + 1
        assert_gradient(net, loss, steps.gradients[step])
        assert report.curves["loss"][step][1] == pytest.approx(loss.item(), rel=1e-4, abs=1e-5)
        assert report.curves["clipped share"][step][1] == pytest.approx(clipped / learned, abs=1e-5)
        shares.append(clipped / learned)
    assert shares[0] == 0 < max(shares) < 1
