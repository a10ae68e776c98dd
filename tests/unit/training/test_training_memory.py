"""Memory by arithmetic: hand-computed bytes, and what a real forward pass keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from mathloop.models.shapes import SHAPES, shape_of
from mathloop.training import logprobs, memory
from mathloop.training.adapters import add_adapters
from mathloop.training.config import EngineConfig, GRPOConfig, LoRAConfig
from mathloop.training.gpus import GPUS, peak_tflops
from mathloop.training.memory import activations, gathered, grpo_models, logits, states, trained_parameters

SEVEN = SHAPES["Qwen2.5-Math-7B"]


@pytest.mark.parametrize(
    ("zero", "dtype", "world", "per_parameter"),
    [
        (0, "float32", 8, 4 + 4 + 8),
        (0, "bfloat16", 8, 4 + 4 + 8 + 2),  # and the copy that autocast keeps
        (1, "bfloat16", 8, 2 + 4 + 2 + 12 / 8),  # gradients of the pass in bfloat16, their sum in float32
        (2, "bfloat16", 8, 2 + 4 / 8 + 12 / 8),
        (3, "bfloat16", 8, (2 + 4 + 12) / 8),
        (3, "bfloat16", 64, (2 + 4 + 12) / 64),
        (2, "float32", 8, 4 + 4 / 8 + 12 / 8),
        (3, "float32", 8, (4 + 4 + 8) / 8),  # the weights that are stepped are those that compute
    ],
)
def test_bytes_per_parameter(zero: Any, dtype: Any, world: int, per_parameter: float) -> None:
    parts = states(1e9, 1e9, EngineConfig(zero=zero, dtype=dtype), world)
    if zero > 1:  # the bucket of gradients in flight: half a billion at most
        assert parts.pop("gradients in flight") == (2 if dtype == "bfloat16" else 4) * 5e8
    if (zero, dtype) == (1, "float32"):
        parts.pop("gradients in flight")
    assert sum(parts.values()) == pytest.approx(per_parameter * 1e9)


def test_qwen_7b_on_eight_gpus_by_hand() -> None:
    parts = states(SEVEN.parameters, SEVEN.parameters, EngineConfig(zero=3, dtype="bfloat16"), 8)
    assert parts["weights"] == pytest.approx(1.904e9, rel=1e-3)  # 7.616e9 · 2 / 8
    assert parts["optimizer"] == pytest.approx(11.42e9, rel=1e-3)  # 7.616e9 · 12 / 8
    assert parts["gradients"] == pytest.approx(3.808e9, rel=1e-3)  # 7.616e9 · 4 / 8


def test_frozen_weights_need_no_gradients() -> None:
    parts = states(100.0, 1.0, EngineConfig(), 1)
    assert (parts["weights"], parts["gradients"], parts["optimizer"]) == (400, 4, 8)


def test_autocast_keeps_casts_of_frozen_weights_only_for_backward() -> None:
    copies = {
        again: states(100.0, 1.0, EngineConfig(dtype="bfloat16", activation_checkpointing=again), 1)
        for again in (False, True)
    }
    assert copies[False]["bfloat16 copy of the weights"] == 2 * 100
    assert copies[True]["bfloat16 copy of the weights"] == 2 * 1


def test_gathered_weights() -> None:
    engine = EngineConfig(zero=3, dtype="bfloat16")
    assert gathered(SEVEN, engine, 1) == gathered(SEVEN, EngineConfig(), 8) == 0
    assert gathered(SEVEN, engine, 8, whole=True) == 2 * SEVEN.parameters * 7 / 8
    assert gathered(SEVEN, engine, 8) == 2 * memory.LIVE * 7 / 8  # DeepSpeed's limit


def test_logits_are_bounded_as_logprobs_cuts_them() -> None:
    assert memory.LOGITS == logprobs.CHUNK
    assert logits(SEVEN, 100) == 3 * 4 * 100 * 152_064
    assert logits(SEVEN, 1e6) == 3 * 4 * 2**26


def test_grpo_keeps_a_reference_unless_it_needs_none() -> None:
    both = grpo_models(SEVEN, GRPOConfig(engine=EngineConfig(dtype="bfloat16", zero=3)))
    assert both["reference"] == 2 * SEVEN.parameters
    assert "reference" not in grpo_models(SEVEN, GRPOConfig(beta=0.0))
    assert "reference" not in grpo_models(SEVEN, GRPOConfig(lora=LoRAConfig()))


@pytest.mark.parametrize("targets", [(), ("q_proj", "v_proj"), ("mlp.down_proj",)])
def test_adapters_are_counted_as_peft_makes_them(targets: tuple[str, ...]) -> None:
    config = Qwen2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    lora = LoRAConfig(rank=5, targets=targets)
    net = add_adapters(Qwen2ForCausalLM(config), lora)
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert trained_parameters(shape_of(config.to_dict()), lora) == trained
    assert trained_parameters(SEVEN, None) == SEVEN.parameters


def kept_bytes(net: Any, tokens: int, *, autocast: bool) -> float:
    """Bytes of all tensors that the backbone's forward keeps for backward, weights and their casts apart."""
    from mathloop.models.attention import hidden_states, use_attention
    from mathloop.models.packing import Sample, pack

    use_attention(net, "packed")
    row = pack([Sample([1] * tokens, [1.0] * tokens, 0)], torch.device("cpu"))
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights and tokens in tensor.shape:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        hidden_states(net, row)
    return float(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))


@pytest.mark.parametrize("way", ["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize("sizes", [(64, 160, 2, 4, 2), (64, 320, 3, 4, 2), (128, 128, 2, 2, 1)])
def test_activations_are_what_a_forward_pass_keeps(sizes: tuple[int, ...], way: str) -> None:
    hidden, intermediate, layers, heads, kv_heads = sizes
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    net = Qwen2ForCausalLM(config)
    if way == "bfloat16":
        net = net.bfloat16()
    dtype: Any = "float32" if way == "float32" else "bfloat16"
    engine = EngineConfig(dtype=dtype, zero=1 if way == "bfloat16" else 0)
    predicted = activations(shape_of(config.to_dict()), 512, engine)
    measured = kept_bytes(net, 512, autocast=way == "autocast")
    assert predicted == pytest.approx(measured, rel=0.25)


def test_recomputed_activations_are_the_layers_inputs_and_one_layer() -> None:
    whole = activations(SEVEN, 1000, EngineConfig(dtype="bfloat16", zero=3))
    less = activations(SEVEN, 1000, EngineConfig(dtype="bfloat16", zero=3, activation_checkpointing=True))
    assert less == pytest.approx(whole / 28 + 1000 * 28 * 3584 * 2)


def test_a_driver_s_name_finds_its_kind() -> None:
    assert peak_tflops("NVIDIA L40S") == GPUS["L40S"].tflops
    assert peak_tflops("NVIDIA L4") == GPUS["L4"].tflops
    assert peak_tflops("NVIDIA H200") == GPUS["H200"].tflops
    assert peak_tflops("NVIDIA H20") == GPUS["H20"].tflops
    assert peak_tflops("NVIDIA A100-SXM4-40GB") == 312
    assert peak_tflops("AMD Instinct MI300X") is None
