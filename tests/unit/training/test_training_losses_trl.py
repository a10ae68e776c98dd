"""SFT's and the reward model's losses beside TRL's own, on the same tensors; in float32 to 1e-6.

TRL's reward loss is a mean over the pairs that it is given; mathloop's is a mean over a problem's pairs, then
over problems. They are equal for problems with equally many pairs. RL objectives have tests of their own.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mathloop.models.packing import Sample, pack
from mathloop.training.logprobs import model_logprobs
from mathloop.training.losses import listwise_reward_loss
from tests.unit.training.trl_peers import arguments, assert_same_gradients, normal, pad, write_policy

pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[benchmark]'")

EXACT = {"rtol": 1e-6, "atol": 1e-6}
seeds = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return write_policy(tmp_path_factory.mktemp("policy"), tokenizer)


@pytest.fixture(scope="module")
def sft_trainer(folder: Path) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}]
    args = SFTConfig(**arguments(folder), max_length=None)
    trainer = SFTTrainer(model=str(folder), args=args, train_dataset=Dataset.from_list(rows))
    trainer.model.train()
    return trainer


@pytest.fixture(scope="module")
def reward_trainer() -> Any:
    from trl import RewardTrainer

    return RewardTrainer


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), seeds)
def test_listwise_reward_loss_and_its_gradient(
    reward_trainer: Any, right: int, wrong: int, problems: int, seed: int
) -> None:
    size = right + wrong
    scores = normal(seed, problems * size, scale=2.0)
    pairs = [
        (p * size + i, p * size + j)
        for p in range(problems)
        for i in range(right)
        for j in range(right, size)
    ]
    chosen, rejected = (torch.tensor(side) for side in zip(*pairs, strict=True))
    theirs, ours = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=None),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _total_train_tokens=0,
        _metrics={
            "eval": {name: [] for name in ("min_reward", "mean_reward", "max_reward", "accuracy", "margin")}
        },
    )
    logits = theirs[torch.cat([chosen, rejected])][:, None]
    peer = reward_trainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=logits), {})
    verdicts = torch.arange(problems * size) % size < right
    loss = listwise_reward_loss(ours, verdicts, torch.arange(problems * size) // size)
    torch.testing.assert_close(loss, peer, **EXACT)
    (gradient,), (peer_gradient,) = torch.autograd.grad(loss, ours), torch.autograd.grad(peer, theirs)
    torch.testing.assert_close(gradient, peer_gradient, **EXACT)


def test_the_sft_step_of_a_model(sft_trainer: Any, folder: Path) -> None:
    """From tokens to the gradient of every weight."""
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(10, 300, (n,), generator=generator).tolist() for n in (9, 4, 12)]
    prompts = [3, 2, 7]
    ids, mask = pad(rows, 12, left=False)
    labels = ids.masked_fill(mask == 0, -100)
    for at, prompt in enumerate(prompts):
        labels[at, :prompt] = -100
    model = sft_trainer.model
    model.zero_grad()
    peer = sft_trainer.compute_loss(model, {"input_ids": ids, "attention_mask": mask, "labels": labels})
    peer.backward()

    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    samples = [
        Sample(row, [0.0] * prompt + [1.0] * (len(row) - prompt), prompt)
        for row, prompt in zip(rows, prompts, strict=True)
    ]
    logprobs = model_logprobs(own, pack(samples))
    loss = -logprobs.mean()
    loss.backward()
    torch.testing.assert_close(loss, peer, **EXACT)
    assert_same_gradients(own, model)
