"""The losses beside TRL's own, which are called as they stand, on the same tensors; in float32 to 1e-6.

Where TRL's definitions are others:

- TRL divides the advantages by (std + 1e-4), mathloop by std and takes 0 where that is below 1e-6. Both take
  the standard deviation with Bessel's correction.
- TRL's default weighs each token's KL by its ratio (`use_bias_correction_kl`, DeepSeek-V3.2); the recipe's
  paper does not, and the option is off here.
- TRL's loss knows the tokens by a mask and averages inside itself; mathloop's takes them by weights, which
  `response_weights` makes of the same mask. A response without a token to learn counts in both means.
- TRL's reward loss is a mean over the pairs that it is given; mathloop's is a mean over a problem's pairs,
  then over problems. They are equal for problems with equally many pairs.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mathloop.training.logprobs import model_logprobs
from mathloop.training.losses import group_advantages, grpo_loss, listwise_reward_loss
from mathloop.training.packing import pack
from mathloop.training.samples import Sample
from tests.unit.training.toy import response_weights

pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[benchmark]'")

CLIP, BETA = 0.2, 0.04
GROUPS, SIZE = 2, 3
EXACT = {"rtol": 1e-6, "atol": 1e-6}
seeds = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A tiny policy with tied embeddings, as the models of this recipe have them."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("policy")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def settings_of(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trl"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "model_init_kwargs": {"dtype": "float32"},
    }


@pytest.fixture(scope="module")
def grpo_trainer(folder: Path) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=str(folder),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            **settings_of(folder),
            loss_type="grpo",
            beta=BETA,
            epsilon=CLIP,
            use_bias_correction_kl=False,
            num_generations=SIZE,
            per_device_train_batch_size=GROUPS * SIZE,
            max_completion_length=8,
        ),
        train_dataset=Dataset.from_list([{"prompt": "Mia has 3 apples."}] * GROUPS),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


@pytest.fixture(scope="module")
def sft_trainer(folder: Path) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}]
    args = SFTConfig(**settings_of(folder), max_length=None)
    trainer = SFTTrainer(model=str(folder), args=args, train_dataset=Dataset.from_list(rows))
    trainer.model.train()
    return trainer


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trl_grpo_loss(trainer: Any, logprobs: Tensor, **inputs: Tensor) -> Tensor:
    """GRPOTrainer's loss of given log-probabilities [responses, seq], not those of its model."""
    responses, width = logprobs.shape
    ids = torch.zeros(responses, width, dtype=torch.long)
    entropies = torch.zeros_like(logprobs)
    asked = trainer._get_per_token_logps_and_entropies
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs, entropies, None)
    try:
        return trainer._compute_loss(
            trainer.model, {"prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids, **inputs}
        )
    finally:
        trainer._get_per_token_logps_and_entropies = asked


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=GROUPS * SIZE, max_size=GROUPS * SIZE), seeds)
def test_grpo_loss_and_its_gradient(grpo_trainer: Any, lengths: list[int], seed: int) -> None:
    width = max(1, *lengths)
    shape = (len(lengths), width)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    # Ratios from about 1/3 to 3: many are clipped, on both sides.
    new, old = normal(seed, *shape) - 2, normal(seed, *shape) - 2 + normal(seed + 1, *shape, scale=0.4)
    reference, advantages = new + normal(seed + 2, *shape, scale=0.3), normal(seed + 3, len(lengths))
    theirs, ours = new.clone().requires_grad_(), new.clone().requires_grad_()
    peer = trl_grpo_loss(
        grpo_trainer,
        theirs,
        completion_mask=mask,
        advantages=advantages,
        old_per_token_logps=old,
        ref_per_token_logps=reference,
    )
    loss, _, _ = grpo_loss(
        ours,
        old,
        advantages[:, None].expand(shape),
        response_weights(mask.float(), len(lengths)),
        clip=CLIP,
        beta=BETA,
        reference_logprobs=reference,
    )
    torch.testing.assert_close(loss, peer, **EXACT)
    torch.testing.assert_close(*gradients((loss, ours), (peer, theirs)), **EXACT)


def gradients(*pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
    return [torch.autograd.grad(loss, by)[0] for loss, by in pairs]


def test_the_grpo_step_of_a_model(grpo_trainer: Any, folder: Path) -> None:
    """From tokens to the gradient of every weight, through TRL's own forward and through packed samples."""
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(3)
    prompts = [torch.randint(10, 300, (n,), generator=generator).tolist() for n in (7, 4)]
    answers = [torch.randint(10, 300, (n,), generator=generator).tolist() for n in (5, 1, 8, 3, 8, 2)]
    prompted = [(prompts[i // SIZE], answer) for i, answer in enumerate(answers)]
    advantages = normal(1, len(answers))
    width, most = max(map(len, prompts)), max(map(len, answers))
    reference = normal(2, len(answers), most, scale=0.3) - 5
    prompt_ids, prompt_mask = padded([p for p, _ in prompted], width, left=True)
    completion_ids, completion_mask = padded(answers, most, left=False)
    model = grpo_trainer.model
    model.zero_grad()
    peer = grpo_trainer._compute_loss(
        model,
        {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "advantages": advantages,
            "ref_per_token_logps": reference,
        },
    )
    peer.backward()

    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    samples = [Sample(p + a, [0.0] * len(p) + [1.0] * len(a), len(p)) for p, a in prompted]
    packed = pack(samples, share_prompts=True)
    logprobs = model_logprobs(own, packed)
    weights = response_weights(completion_mask.float(), len(answers))
    loss, _, _ = grpo_loss(
        logprobs,
        logprobs.detach(),
        advantages[packed.owner],
        torch.cat([row[: len(a)] for row, a in zip(weights, answers, strict=True)]),
        clip=CLIP,
        beta=BETA,
        reference_logprobs=torch.cat([row[: len(a)] for row, a in zip(reference, answers, strict=True)]),
    )
    loss.backward()
    torch.testing.assert_close(loss, peer, **EXACT)
    same_gradients(own, model)


def padded(rows: list[list[int]], width: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """(ids, mask), both [rows, width]."""
    ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for at, row in enumerate(rows):
        place = slice(width - len(row), None) if left else slice(len(row))
        ids[at, place], mask[at, place] = torch.tensor(row), 1
    return ids, mask


def same_gradients(own: Any, peer: Any) -> None:
    """To 1e-5 of a tensor's largest: each is a sum over many tokens, taken in another order."""
    for (name, parameter), other in zip(own.named_parameters(), peer.parameters(), strict=True):
        assert parameter.grad is not None, name
        largest = float(other.grad.abs().max())
        assert largest > 0, name
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-5 * largest)


@settings(max_examples=20)
@given(seeds)
def test_advantages(grpo_trainer: Any, seed: int) -> None:
    """TRL's own scoring of a batch, with given completions and rewards."""
    rewards = normal(seed, GROUPS, SIZE)
    tokens = [[5, 6]] * (GROUPS * SIZE)
    generate, score = grpo_trainer._generate, grpo_trainer._calculate_rewards
    grpo_trainer._generate = lambda _: (tokens, tokens, None, ["x"] * len(tokens), None, {}, None, [])
    grpo_trainer._calculate_rewards = lambda *_: rewards.reshape(-1, 1)
    try:
        scored = grpo_trainer._generate_and_score_completions([{"prompt": "?"}] * len(tokens))
    finally:
        grpo_trainer._generate, grpo_trainer._calculate_rewards = generate, score
    spread = rewards.std(dim=1, keepdim=True)
    expected = group_advantages(rewards) * spread / (spread + 1e-4)
    torch.testing.assert_close(scored["advantages"], expected.flatten(), rtol=1e-5, atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), seeds)
def test_listwise_reward_loss_and_its_gradient(right: int, wrong: int, problems: int, seed: int) -> None:
    from trl import RewardTrainer

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
    peer = RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=logits), {})
    verdicts = torch.arange(problems * size) % size < right
    loss = listwise_reward_loss(ours, verdicts, torch.arange(problems * size) // size)
    torch.testing.assert_close(loss, peer, **EXACT)
    torch.testing.assert_close(*gradients((loss, ours), (peer, theirs)), **EXACT)


def test_the_sft_step_of_a_model(sft_trainer: Any, folder: Path) -> None:
    """From tokens to the gradient of every weight."""
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(10, 300, (n,), generator=generator).tolist() for n in (9, 4, 12)]
    prompts = [3, 2, 7]
    ids, mask = padded(rows, 12, left=False)
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
    same_gradients(own, model)
