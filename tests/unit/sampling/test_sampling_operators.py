"""The operators of decoding against the model's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from mathloop.sampling import operators
from mathloop.sampling.operators import decoding_operators

TOKENS = torch.arange(42).view(3, 14) % 17
MASK = torch.tensor([[0] * 5 + [1] * 9, [1] * 14, [0] * 2 + [1] * 12])


@pytest.fixture(autouse=True)
def small_weights_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "PACKED_FROM", 1)


def make_model(family: str, key_heads: int, dtype: torch.dtype) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config, model = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}[
        family
    ]
    torch.manual_seed(0)
    settings = config(
        vocab_size=40,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=key_heads,
        initializer_range=0.3,
    )
    return model(settings).eval().to(dtype)


@torch.inference_mode()
def read(model: Any) -> torch.Tensor:
    """Logits [batch, 2, vocabulary]: of a prompt's last token, and of one token behind it."""
    cache = DynamicCache()
    place = (MASK.cumsum(1) - 1).clamp(min=0)
    first = model(
        TOKENS[:, :-1], attention_mask=MASK[:, :-1], position_ids=place[:, :-1], past_key_values=cache
    )
    seen = MASK.bool()[:, None, None]
    then = model(TOKENS[:, -1:], attention_mask=seen, position_ids=place[:, -1:], past_key_values=cache)
    return torch.cat([first.logits[:, -1:], then.logits], 1).float()


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-4), (torch.bfloat16, 0.3)])
def test_logits_are_the_models_own(family: str, key_heads: int, dtype: torch.dtype, near: float) -> None:
    model = make_model(family, key_heads, dtype)
    expected = read(model)
    with decoding_operators(model, rows=3):
        found = read(model)
    assert float((found - expected).abs().max()) < near
    assert torch.equal(read(model), expected)


def test_the_model_is_as_it_was_even_after_a_failure() -> None:
    model = make_model("qwen2", 2, torch.float32)

    def fail() -> None:
        with decoding_operators(model, rows=3):
            assert any("forward" in layer.__dict__ for layer in model.modules())
            assert model.config._attn_implementation == operators.GROUPED
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any("forward" in layer.__dict__ for layer in model.modules())
    assert model.config._attn_implementation == "sdpa"


def test_weights_that_change_between_batches_are_read_anew() -> None:
    model = make_model("llama", 2, torch.float32)
    with decoding_operators(model, rows=3):
        before = read(model)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    with decoding_operators(model, rows=3):
        assert torch.allclose(read(model), 2 * before, atol=1e-3)


def test_layers_that_do_something_of_their_own_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubling(nn.Linear):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(states)

    model = make_model("llama", 2, torch.float32)
    doubling = Doubling(48, 40, bias=False)
    doubling.weight = model.lm_head.weight
    model.lm_head = doubling
    expected = read(model)
    with decoding_operators(model, rows=3):
        assert torch.allclose(read(model), expected, atol=1e-4)
    monkeypatch.setattr(operators, "PACKED_BYTES", 1000)
    with decoding_operators(model, rows=3):
        assert not any("forward" in layer.__dict__ for layer in model.modules())
    with torch.autocast("cpu", torch.bfloat16), decoding_operators(model, rows=3):
        assert not any("forward" in layer.__dict__ for layer in model.modules())


def test_small_layers_keep_their_own_operator_and_large_ones_are_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call of the packed one costs more than a small product."""
    model = make_model("qwen2", 2, torch.float32)
    head = (
        model.lm_head.weight.numel()
    )  # 40 x 48; the attention's are 48 x 48 and 16 x 48, the others 48 x 64
    monkeypatch.setattr(operators, "PACKED_FROM", head + 1)
    with decoding_operators(model, rows=3):
        packed = {name for name, layer in model.named_modules() if "forward" in layer.__dict__}
        sizes = {
            name: layer.weight.numel() for name, layer in model.named_modules() if type(layer) is nn.Linear
        }
        assert packed == {name for name, size in sizes.items() if size > head}
        assert "lm_head" not in packed
        assert packed
    if operators.fast_bfloat16("cpu"):
        half = make_model("qwen2", 2, torch.bfloat16)
        with decoding_operators(half, rows=3):
            assert "forward" in half.lm_head.__dict__
