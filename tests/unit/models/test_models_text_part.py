"""Models that also see: their text part computes what they do on text, and is saved as a model of text."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mathloop.errors import BadModel
from mathloop.models.loading import (
    check_model,
    context_length,
    load_policy,
    load_reward_model,
    new_reward_model,
    outline_policy,
)
from mathloop.models.packing import Sample, pack
from mathloop.models.saving import save_model
from mathloop.models.shapes import read_shape
from mathloop.sampling.decoding import decode_batch
from mathloop.training.logprobs import model_logprobs
from tests.model_faults import TEXTS

ROWS = 270
TEXT: dict[str, Any] = {
    "vocab_size": ROWS, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "head_dim": 8,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0,
}  # fmt: skip
EYE: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
QWEN_EYE: dict[str, Any] = {
    "depth": 1, "hidden_size": 16, "embed_dim": 16, "intermediate_size": 32, "num_heads": 2,
    "out_hidden_size": 32, "patch_size": 14, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    "fullatt_block_indexes": [0],
}  # fmt: skip


def turning(section: list[int], share: float = 1.0) -> dict[str, Any]:
    """Positions in three dimensions."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": section}
    return {"rope_parameters": rope | ({} if share == 1.0 else {"partial_rotary_factor": share})}


WINDOW: dict[str, Any] = {"sliding_window": 8}
QWEN: dict[str, Any] = {"text_config": TEXT | turning([1, 1, 2]), "vision_config": QWEN_EYE}
GLM_TEXT: dict[str, Any] = TEXT | {"hidden_size": 64, "head_dim": 16} | turning([2, 1, 1], 0.5)
GLM_EYE: dict[str, Any] = QWEN_EYE | {"out_hidden_size": 64}
EXPERTS: dict[str, Any] = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": TEXT | WINDOW | {"query_pre_attn_scalar": 8}, "vision_config": EYE}
    | {"mm_tokens_per_image": 4, "image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7},
    "gemma4": {
        "text_config": TEXT
        | WINDOW
        | {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": ROWS, "global_head_dim": 8}
        | {"num_kv_shared_layers": 0, "final_logit_softcapping": 2.0},
        "vision_config": EYE | {"head_dim": 8, "position_embedding_size": 64},
    },
    "qwen3_5": {
        "text_config": TEXT
        | {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
        | {"linear_key_head_dim": 8, "linear_value_head_dim": 8},
        "vision_config": QWEN_EYE,
    },
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
    "glm4v": {"text_config": GLM_TEXT, "vision_config": GLM_EYE},
    "glm4v_moe": {"text_config": GLM_TEXT | EXPERTS, "vision_config": GLM_EYE},
    "mistral3": {
        "text_config": TEXT | {"model_type": "mistral"},
        "vision_config": EYE | {"head_dim": 8},
        "tie_word_embeddings": False,
    },
    "llama4": {
        "text_config": TEXT
        | {"num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 64}
        | {"attention_chunk_size": 8},
        "vision_config": EYE
        | {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
    },
    "smolvlm": {"text_config": TEXT | {"model_type": "llama"}, "vision_config": EYE, "image_token_id": 5},
    "internvl": {
        "text_config": TEXT | {"model_type": "qwen2"},
        "vision_config": EYE | {"image_size": [28, 28], "patch_size": [14, 14]},
    },
    "lfm2_vl": {
        "text_config": TEXT | {"model_type": "lfm2", "full_attn_idxs": [1, 3]},
        "vision_config": EYE | {"model_type": "siglip2_vision_model", "num_patches": 4},
    },
}
CLASSES = {
    "gemma3": "Gemma3ForCausalLM", "gemma4": "Gemma4ForCausalLM", "qwen3_5": "Qwen3_5ForCausalLM",
    "qwen2_vl": "Qwen2ForCausalLM", "qwen2_5_vl": "Qwen2ForCausalLM", "qwen3_vl": "Qwen3ForCausalLM",
    "glm4v": "Glm4ForCausalLM", "glm4v_moe": "Glm4MoeForCausalLM", "mistral3": "MistralForCausalLM",
    "llama4": "Llama4ForCausalLM", "smolvlm": "LlamaForCausalLM", "internvl": "Qwen2ForCausalLM",
    "lfm2_vl": "Lfm2ForCausalLM",
}  # fmt: skip
"""Class that the text part is saved as."""


@cache
def tokenizer() -> Any:
    from mathloop.training.tokenizer import train_tokenizer

    return train_tokenizer(TEXTS, ROWS)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wholes")


@cache
def whole(kind: str, folder: Path) -> Any:
    """The whole model, written to `folder` as transformers saves it."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SETTINGS[kind])
    model = transformers.AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return model.eval()


def texts(*lengths: int) -> list[list[int]]:
    numbers = torch.Generator().manual_seed(1)
    return [torch.randint(8, ROWS, (length,), generator=numbers).tolist() for length in lengths]


@torch.no_grad()
def logits(model: Any, tokens: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([tokens])).logits[0].float()  # type: ignore[no-any-return]


@torch.no_grad()
def logprobs(model: Any, prompt: list[int], tokens: list[int]) -> list[float]:
    found = logits(model, prompt + tokens)[len(prompt) - 1 : -1].log_softmax(-1)
    return found.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_text_part_is_sampled_trained_and_saved(places: Path, tmp_path: Path, kind: str) -> None:
    folder = places / kind
    model = whole(kind, folder)
    check_model(folder, "policy")
    assert context_length(folder) == 256
    policy, vocabulary = load_policy(folder)
    assert {name for name, _ in outline_policy(folder).named_parameters()} == set(
        dict(policy.named_parameters())
    )
    (text,) = texts(23)
    assert torch.equal(logits(policy, text), logits(model, text))
    prompts = texts(13, 5)
    drawn = decode_batch(
        policy,
        prompts,
        samples=2,
        max_tokens=6,
        temperature=1.0,
        top_p=1.0,
        end_tokens=frozenset({ROWS}),
        generator=torch.Generator().manual_seed(0),
    )
    for at, one in enumerate(drawn):
        assert one.logprobs == pytest.approx(logprobs(model, prompts[at // 2], one.tokens), abs=1e-4)
    learned = pack([Sample(text, [0.0] * 5 + [1.0] * 18, 5)])
    found = model_logprobs(policy.train(), learned)
    assert found.tolist() == pytest.approx(logprobs(model, text[:5], text[5:]), abs=1e-4)
    (-found.mean()).backward()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    save_model(tmp_path / "saved", policy.eval(), vocabulary)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["architectures"] == [CLASSES[kind]]
    assert "vision_config" not in config
    again, info = getattr(transformers, CLASSES[kind]).from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not any(info.values())
    assert torch.equal(logits(again, text), logits(policy, text))
    assert not torch.equal(logits(again, text), logits(model, text))
    with safe_open(tmp_path / "saved" / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {name.split(".")[0] for name in names} <= {"model", "lm_head"}  # as vLLM reads this class
    assert config["tie_word_embeddings"] != ("lm_head.weight" in names)
    check_model(tmp_path / "saved", "policy")


def test_a_reward_model_of_a_text_part(places: Path, tmp_path: Path) -> None:
    whole("llama4", places / "llama4")
    model, vocabulary = new_reward_model(places / "llama4")
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved", vocabulary)
    check_model(tmp_path / "saved", "reward model")
    loaded, _ = load_reward_model(tmp_path / "saved")
    one = pack([Sample(texts(9)[0], [0.0] * 9, 9)])
    assert torch.equal(loaded(one), model.eval()(one))


def test_gemma_3n_as_published(tmp_path: Path) -> None:
    """Its eyes need timm; the text part does not."""
    settings = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": ROWS, "laurel_rank": 4}
    layers = ["sliding_attention"] * 2 + ["full_attention"] * 2
    text = TEXT | WINDOW | settings | {"layer_types": layers, "activation_sparsity_pattern": None}
    text |= {"num_kv_shared_layers": 1, "final_logit_softcapping": 2.0}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model("gemma3n_text", **text)
    ).eval()
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    named = {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in weights.items()}
    named["model.vision_tower.stem.weight"] = torch.zeros(3)
    save_file(named, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "gemma3n", "architectures": ["Gemma3nForConditionalGeneration"]}
    config["text_config"] = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_model(tmp_path, "policy")
    policy, vocabulary = load_policy(tmp_path)
    prompt = texts(11)[0]
    assert torch.equal(logits(policy, prompt), logits(model, prompt))
    drawn = decode_batch(
        policy, [prompt], samples=2, max_tokens=6, temperature=1.0, top_p=1.0, end_tokens=frozenset({ROWS}),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for one in drawn:
        assert one.logprobs == pytest.approx(logprobs(model, prompt, one.tokens), abs=1e-4)
    save_model(tmp_path / "saved", policy, vocabulary)
    with safe_open(tmp_path / "saved" / "model.safetensors", framework="pt") as file:
        assert {name for name in file.keys() if not name.startswith("model.")} == set()  # noqa: SIM118
        assert not any("language_model" in name for name in file.keys())  # noqa: SIM118


def test_a_head_of_its_own_is_said_to_be_one(places: Path, tmp_path: Path) -> None:
    """Mistral Small 3.1's config.json says nothing, and the class's default is that there is none."""
    model = whole("mistral3", places / "mistral3")
    for path in (places / "mistral3").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    del config["tie_word_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    policy, vocabulary = load_policy(tmp_path)
    (text,) = texts(9)
    assert torch.equal(logits(policy, text), logits(model, text))
    save_model(tmp_path / "saved", policy, vocabulary)
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["tie_word_embeddings"] is False


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "mistral3", "smolvlm", "internvl"])
def test_the_plan_counts_the_text_part(places: Path, kind: str) -> None:
    whole(kind, places / kind)
    policy = outline_policy(places / kind)
    norms = sum(p.numel() for name, p in policy.named_parameters() if "q_norm" in name or "k_norm" in name)
    assert read_shape(places / kind).parameters == sum(p.numel() for p in policy.parameters()) - norms


def test_the_plan_reads_the_first_qwen_vls(tmp_path: Path) -> None:
    """Their config.json has the fields of both parts side by side."""
    text = {name: value for name, value in TEXT.items() if name != "head_dim"}
    config = text | {"model_type": "qwen2_5_vl", "tie_word_embeddings": True, "vision_config": QWEN_EYE}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = read_shape(tmp_path)
    assert (shape.hidden, shape.layers, shape.biased, shape.tied) == (32, 4, True, True)


def test_no_plan_for_a_text_part_of_another_architecture(places: Path) -> None:
    whole("gemma3", places / "gemma3")
    with pytest.raises(BadModel, match="model_type 'gemma3_text' has another architecture than is planned"):
        read_shape(places / "gemma3")


def test_a_part_without_a_class_of_text_is_refused(tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model("mllama", text_config=TEXT | {"cross_attention_layers": [1]})
    config.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    for attempt in (load_policy, lambda folder: check_model(folder, "policy")):
        with pytest.raises(BadModel, match="no causal language model of text for model_type 'mllama'"):
            attempt(tmp_path)
