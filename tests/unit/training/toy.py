"""A policy of a few thousand weights, problems and responses: enough for a recipe to run in a second."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.training.tokenizer import train_tokenizer


def write_toy(folder: Path, problems: int = 12, responses: int = 4) -> None:
    """Writes problems.jsonl, responses.jsonl (half of them right) and policy/ into `folder`."""
    chance = random.Random(0)
    asked = [Problem(str(i), f"{chance.randrange(10)} + {i}?", answer="7") for i in range(problems)]
    written = [
        Response(
            asked[i].id,
            k,
            "cot",
            f"So the answer is \\boxed{{{7 if k % 2 else chance.randrange(20)}}}.",
            correct=bool(k % 2),
        )
        for i in range(problems)
        for k in range(responses)
    ]
    write_problems(folder / "problems.jsonl", asked)
    write_responses(folder / "responses.jsonl", written)
    tokenizer = train_tokenizer([*(p.problem for p in asked), *(r.text for r in written)], 400)
    torch.manual_seed(0)
    policy = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    policy.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
