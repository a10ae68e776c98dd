"""The peer of `mathloop benchmark train`: TRL's trainers on the same tokens, set for speed.

No gradient checkpointing, no saving, no reports; AdamW is fused, as in mathloop. TRL's options against
padding are separate variants.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from mathloop.records import Response, read_problems, read_responses
from mathloop.sampling.prompts import render_prompt
from mathloop.training.samples import encode
from pipelines.benchmarks.training_inputs import BETA, CLIP, LEARNING_RATE, Inputs, Sizes, Work

GROUPED = {"train_sampling_strategy": "group_by_length", "remove_unused_columns": False}
"""The sampler needs the column `length`, which the trainer would otherwise remove."""
CHOICE = 8
"""Repetitions of the rows, so that the sampler finds rows of similar lengths."""


def train_sft(
    inputs: Inputs, sizes: Sizes, seed: int, *, grouped: bool = False, packed: bool = False
) -> Work:
    """SFTTrainer with the loss on the responses only."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.policy)
    statements = {p.id: p.problem for p in read_problems(inputs.problems)}
    samples = [
        encode(tokenizer, statements[r.problem_id], r.mode, r.text) for r in read_responses(inputs.solutions)
    ]
    rows: list[dict[str, Any]] = [
        {
            "input_ids": sample.tokens,
            "labels": [t if w else -100 for t, w in zip(sample.tokens, sample.weights, strict=True)],
            "length": len(sample.tokens),
        }
        for sample in samples
    ]
    batch, tokens = sizes.sft_batch, sum(row["length"] for row in rows)
    if packed:  # the same number of tokens per step
        batch = max(1, round(tokens / sizes.sft_steps / sizes.packed))
    trainer = SFTTrainer(
        model=str(inputs.policy),
        args=SFTConfig(
            **_settings(inputs, sizes, seed, batch, sizes.sft_steps),
            **(GROUPED if grouped else {}),
            packing=packed,
            max_length=sizes.packed if packed else None,
        ),
        train_dataset=Dataset.from_list(rows * (CHOICE if grouped else 1)),
        processing_class=tokenizer,
    )
    return Work(_train(trainer))


def train_reward_model(inputs: Inputs, sizes: Sizes, seed: int) -> Work:
    """RewardTrainer on all pairs of a correct and an incorrect response, in batches of similar lengths."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.scorer)
    statements = {p.id: p.problem for p in read_problems(inputs.problems)}
    groups: dict[str, list[Response]] = {}
    for response in read_responses(inputs.labeled):
        groups.setdefault(response.problem_id, []).append(response)
    groups.popitem()  # mathloop holds one problem out
    pairs: list[dict[str, Any]] = []
    for name, group in groups.items():
        tokens = [encode(tokenizer, statements[name], r.mode, r.text).tokens for r in group]
        right = [t for t, r in zip(tokens, group, strict=True) if r.correct]
        wrong = [t for t, r in zip(tokens, group, strict=True) if not r.correct]
        pairs += [
            {"chosen_ids": chosen, "rejected_ids": rejected, "length": max(len(chosen), len(rejected))}
            for chosen, rejected in product(right, wrong)
        ]
    trainer = RewardTrainer(
        model=str(inputs.scorer),
        args=RewardConfig(
            # The same number of problems per step, with all of their pairs.
            **_settings(inputs, sizes, seed, -(-len(pairs) // sizes.reward_steps), sizes.reward_steps),
            **GROUPED,
            max_length=None,
        ),
        train_dataset=Dataset.from_list(pairs * CHOICE),
        processing_class=tokenizer,
    )
    total = sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in pairs)
    # Convert tokens to responses: each step's share of all pairs' tokens.
    return Work([len(groups) * sizes.responses * each / total for each in _train(trainer)])


def train_grpo(inputs: Inputs, sizes: Sizes, seed: int) -> Work:
    """GRPOTrainer with a reward model of the policy's size, as in mathloop."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.policy)
    prompts = [render_prompt(tokenizer, p.problem, "cot") for p in read_problems(inputs.problems)]
    trainer = GRPOTrainer(
        model=str(inputs.policy),
        reward_funcs=str(inputs.scorer),
        args=GRPOConfig(
            **_settings(inputs, sizes, seed, sizes.grpo_batch * sizes.group, sizes.grpo_steps),
            num_generations=sizes.group,
            max_completion_length=sizes.completion,
            temperature=1.0,
            loss_type="grpo",
            beta=BETA,
            epsilon=CLIP,
            use_bias_correction_kl=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=tokenizer,
    )
    _train(trainer)
    (logged,) = (row for row in trainer.state.log_history if "completions/mean_length" in row)
    return Work([sizes.grpo_batch] * sizes.grpo_steps, logged["completions/mean_length"])


RECIPES: dict[str, Callable[[Inputs, Sizes, int], Work]] = {
    "sft": train_sft,
    "sft, grouped by length": partial(train_sft, grouped=True),
    "sft, packed": partial(train_sft, packed=True),
    "reward_model": train_reward_model,
    "grpo": train_grpo,
}


def _settings(inputs: Inputs, sizes: Sizes, seed: int, batch: int, steps: int) -> dict[str, Any]:
    """Settings of all three trainers."""
    return {
        "output_dir": str(inputs.work),
        "per_device_train_batch_size": batch,
        "max_steps": steps,
        "seed": seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": sizes.dtype == "bfloat16",
        "model_init_kwargs": {"dtype": "float32"},
        "gradient_checkpointing": False,
        "optim": "adamw_torch_fused",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "adam_beta2": 0.95,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "logging_steps": steps,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


class _Tokens(TrainerCallback):  # type: ignore[misc]
    """Tokens per step, without padding."""

    def __init__(self, trainer: Any) -> None:
        self._trainer, self._total = trainer, 0.0
        self.steps: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        total = float(self._trainer._total_train_tokens)
        self.steps.append(total - self._total)
        self._total = total


def _train(trainer: Any) -> list[float]:
    """Trains; returns the tokens per step."""
    counter = _Tokens(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(counter)
    trainer.train()
    return counter.steps
