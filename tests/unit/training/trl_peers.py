"""TRL's GRPOTrainer, made to compute its own loss and advantages from given numbers.

Where TRL's definitions differ from mathloop's, for every objective:

- TRL's default weights each token's KL by its ratio (`use_bias_correction_kl`, DeepSeek-V3.2); the recipe's
  paper does not, so the option is off here.
- TRL's loss takes the learned tokens as a mask and normalizes inside; mathloop's takes them as weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from mathloop.training.config import GRPOConfig
from mathloop.training.objectives.objective import BatchSize, Objective, Tokens
from tests.unit.training.objective_batches import MAX_TOKENS

CLIP, CLIP_HIGH, BETA = 0.2, 0.3, 0.04
GROUPS, SIZE = 2, 3
"""A trainer's batch: groups, and responses per group."""


def write_policy(folder: Path, tokenizer: Any) -> Path:
    """A tiny policy with tied embeddings, as the models of this recipe have them."""
    torch.manual_seed(0)
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
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def arguments(folder: Path) -> dict[str, Any]:
    """What every trainer's config needs for a small model in float32 on a CPU."""
    return {
        "output_dir": str(folder / "trl"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "model_init_kwargs": {"dtype": "float32"},
    }


def make_grpo_trainer(folder: Path, **options: Any) -> Any:
    """A GRPOTrainer of the policy in `folder`; `options` choose the objective."""
    import trl
    from datasets import Dataset

    trainer = trl.GRPOTrainer(
        model=str(folder),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=trl.GRPOConfig(
            **arguments(folder),
            beta=BETA,
            epsilon=CLIP,
            epsilon_high=CLIP_HIGH,
            use_bias_correction_kl=False,
            num_generations=SIZE,
            per_device_train_batch_size=GROUPS * SIZE,
            max_completion_length=MAX_TOKENS,
            **options,
        ),
        train_dataset=Dataset.from_list([{"prompt": "Mia has 3 apples."}] * GROUPS),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def assert_trl_agrees(objective: Objective, trainer: Any, lengths: list[int], seed: int) -> None:
    """Loss and gradient are TRL's to 1e-6 on random numbers; `lengths`: tokens of each response, or 0."""
    shape = (len(lengths), max(1, *lengths))
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    # Ratios from about 1/3 to 3: many are clipped, on both sides.
    new, old = normal(seed, *shape) - 2, normal(seed, *shape) - 2 + normal(seed + 1, *shape, scale=0.4)
    reference, importance = new + normal(seed + 2, *shape, scale=0.3), normal(seed + 3, *shape).abs()
    advantages = normal(seed + 4, len(lengths))
    theirs, ours = new.clone().requires_grad_(), new.clone().requires_grad_()
    peer = trl_loss(
        trainer,
        theirs,
        completion_mask=mask.long(),
        advantages=advantages,
        old_per_token_logps=old,
        ref_per_token_logps=reference,
        importance_sampling_ratio=importance,
        num_items_in_batch=mask.sum(),
    )
    size = BatchSize(len(lengths), sum(lengths), MAX_TOKENS)
    weights = torch.tensor([objective.token_weight(length, size) for length in lengths])
    response = torch.arange(len(lengths))[:, None].expand(shape)[mask]
    tokens = Tokens(
        logprobs=ours[mask],
        old_logprobs=old[mask],
        reference_logprobs=reference[mask],
        importance=importance[mask],
        advantages=advantages[response],
        weights=weights[response],
        response=response,
        responses=len(lengths),
    )
    loss, _ = objective.loss(tokens, GRPOConfig(clip=CLIP, clip_high=CLIP_HIGH, beta=BETA))
    torch.testing.assert_close(loss, peer, rtol=1e-6, atol=1e-6)
    (gradient,), (peer_gradient,) = torch.autograd.grad(loss, ours), torch.autograd.grad(peer, theirs)
    torch.testing.assert_close(gradient, peer_gradient, rtol=1e-6, atol=1e-6)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trl_loss(trainer: Any, logprobs: Tensor, **inputs: Tensor) -> Tensor:
    """The trainer's loss of given log-probabilities [responses, seq], instead of its model's."""
    ids, entropies = torch.zeros(logprobs.shape, dtype=torch.long), torch.zeros_like(logprobs)
    forward = trainer._get_per_token_logps_and_entropies
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs, entropies, None)
    trainer.use_vllm = True  # so that it applies the importance weights of a sampler
    try:
        loss: Tensor = trainer._compute_loss(
            trainer.model, {"prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids, **inputs}
        )
    finally:
        trainer._get_per_token_logps_and_entropies, trainer.use_vllm = forward, False
    return loss


def trl_advantages(trainer: Any, rewards: Tensor) -> Tensor:
    """The trainer's own advantages [groups · size] of given rewards [groups, size]."""
    tokens = [[5, 6]] * rewards.numel()
    generate, score = trainer._generate, trainer._calculate_rewards
    trainer._generate = lambda _: (tokens, tokens, None, ["x"] * len(tokens), None, {}, None, [])
    trainer._calculate_rewards = lambda *_: rewards.reshape(-1, 1)
    try:
        scored = trainer._generate_and_score_completions([{"prompt": "?"}] * len(tokens))
    finally:
        trainer._generate, trainer._calculate_rewards = generate, score
    advantages: Tensor = scored["advantages"]
    return advantages


def pad(rows: list[list[int]], width: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """(ids, mask), both [rows, width]."""
    ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for at, row in enumerate(rows):
        place = slice(width - len(row), None) if left else slice(len(row))
        ids[at, place], mask[at, place] = torch.tensor(row), 1
    return ids, mask


def assert_same_gradients(own: Any, peer: Any) -> None:
    """To 1e-5 of a tensor's largest: each is a sum over many tokens, taken in another order."""
    for (name, parameter), other in zip(own.named_parameters(), peer.parameters(), strict=True):
        assert parameter.grad is not None, name
        largest = float(other.grad.abs().max())
        assert largest > 0, name
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-5 * largest)
