"""Models small enough to be made in a test: two layers, random weights, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """Makes a Qwen2 of `vocabulary` tokens; its weights are wide enough for clear-cut next tokens."""

    def make(vocabulary: int, seed: int = 0) -> Any:
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        torch.manual_seed(seed)
        return Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                initializer_range=0.3,
            )
        ).eval()

    return make


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The nano tokenizer, fitted on a few texts."""
    from mathloop.training.tokenizer import train_tokenizer

    texts = ["Mia has 3 apples. Tom gives her 4 more.", "```python\nprint(3 + 4)\n```\n```output\n7\n```\n"]
    return train_tokenizer([*texts, "So the answer is \\boxed{7}.", "小明有3个苹果。"], 400)
