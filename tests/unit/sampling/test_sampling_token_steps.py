"""Steps through plain layers against the model itself, and against what a trainer computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mathloop.models.linear import plain_layers, speed_up
from mathloop.models.packing import Sample, pack
from mathloop.sampling import operators, token_steps
from mathloop.sampling.decoding import Decoded, decode_batch
from mathloop.sampling.token_steps import TokenSteps, has_plain_layers
from mathloop.training.logprobs import model_logprobs

PROMPTS = [[5, 9, 2], [7, 1, 30, 12], [11, 3, 8, 22, 4, 4, 19, 33, 6]]


def make_model(family: str, **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 40,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        "sliding_window": None,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **(sizes | settings))).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2)
    return model


def decode(model: Any, **given: Any) -> list[Decoded]:
    settings = {"samples": 4, "max_tokens": 16, "temperature": 1.0, "top_p": 1.0}
    settings["end_tokens"] = frozenset(range(0, 40, 9))
    return decode_batch(model, PROMPTS, generator=torch.Generator().manual_seed(0), **settings | given)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("qwen2", {}),
        ("qwen2", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 12}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0}}),
        ("mistral", {"num_key_value_heads": 6}),
    ],
)
@pytest.mark.parametrize("packed_from", [1, 1 << 40], ids=["packed", "not packed"])
def test_tokens_and_logprobs_are_the_models_own(
    monkeypatch: pytest.MonkeyPatch, family: str, settings: dict[str, Any], packed_from: int
) -> None:
    monkeypatch.setattr(token_steps, "PACKED_FROM", packed_from)
    model = make_model(family, **settings)
    assert has_plain_layers(model)
    found = decode(model)
    monkeypatch.setattr(token_steps, "FAMILIES", frozenset())
    expected = decode(model)
    assert len({len(one.tokens) for one in expected}) > 2  # sequences leave the batch at different steps
    for one, two in zip(found, expected, strict=True):
        assert one.tokens == two.tokens
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


def test_a_policy_in_bfloat16_draws_as_its_trainer_computes() -> None:
    model = make_model("qwen2")
    speed_up(model)
    with plain_layers(model), torch.autocast("cpu", torch.bfloat16):  # as GRPO draws
        drawn = decode(model, samples=64)
    rows = [(PROMPTS[one.prompt], one.tokens) for one in drawn]
    samples = [
        Sample(prompt + tokens, [0.0] * len(prompt) + [1.0] * len(tokens), len(prompt))
        for prompt, tokens in rows
    ]
    with torch.no_grad():
        packed = pack(samples, share_prompts=True)
        exact = model_logprobs(model, packed)
        with torch.autocast("cpu", torch.bfloat16):
            trained = model_logprobs(model, packed)
    found = torch.tensor([logprob for one in drawn for logprob in one.logprobs])
    assert float((trained - found).exp().mean()) == pytest.approx(1, abs=2e-3)
    # Nearer to the trainer's than these are to float32's: it is the same rounding.
    assert float((trained - found).abs().mean()) < float((trained - exact).abs().mean())


def test_models_with_anything_of_their_own_are_decoded_by_their_modules() -> None:
    class Doubling(nn.Linear):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(states)

    assert not has_plain_layers(make_model("qwen3"))
    assert not has_plain_layers(make_model("mistral", sliding_window=8))
    assert not has_plain_layers(make_model("llama", hidden_act="gelu"))
    assert not has_plain_layers(make_model("llama").to(torch.bfloat16))
    model = make_model("llama")
    assert has_plain_layers(model)
    with operators.decoding_operators(model, 4):
        assert not has_plain_layers(model)
    model.model.layers[1].mlp.up_proj.__class__ = Doubling
    assert not has_plain_layers(model)


def test_a_hooked_model_is_decoded_by_its_modules_and_one_without_a_head_is_not_plain() -> None:
    model = make_model("llama")
    layer = model.model.layers[1].mlp
    for register in (layer.register_forward_hook, layer.register_forward_pre_hook):
        hook = register(lambda *given: None)
        assert not has_plain_layers(model)
        hook.remove()
    assert has_plain_layers(model)
    assert not has_plain_layers(model.model)


def test_a_model_with_too_many_weights_to_copy_is_decoded_by_its_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model("llama")
    size = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    monkeypatch.setattr(token_steps, "PACKED_BYTES", 4 * size - 1)
    assert not has_plain_layers(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert has_plain_layers(model)


def test_a_prompt_is_in_memory_once_for_all_of_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[TokenSteps] = []

    class Kept(TokenSteps):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            kept.append(self)

    monkeypatch.setattr("mathloop.sampling.decoding.TokenSteps", Kept)
    decode(make_model("qwen2"), samples=8)
    (steps,) = kept
    for layer in steps._layers:
        assert layer._prompt_keys.shape[0] == layer._prompt_values.shape[0] == len(PROMPTS)
        assert layer._keys.shape[1:] == (2, 16, 8)  # of a sequence's own tokens alone


def test_a_sliding_window_does_not_slide_over_padding() -> None:
    """Prompts of different lengths that begin alike, in a model that sees the last six tokens."""
    model = make_model("mistral", sliding_window=6)
    beginning = [(7 * at + at * at) % 40 for at in range(35)]
    prompts = [[*beginning, 1], [*beginning, 2, 3, 4], [*beginning, *[9] * 7]]
    found = decode_batch(
        model,
        prompts,
        samples=1,
        max_tokens=1,
        temperature=0,
        top_p=1,
        end_tokens=frozenset(),
        generator=torch.Generator(),
    )
    for one, prompt in zip(found, prompts, strict=True):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1).max()
        assert one.logprobs == pytest.approx([float(expected)], abs=1e-4)
