"""Folders as they are published and as trainers write them: loaded rightly, or refused by what they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mathloop.errors import BadModel
from mathloop.models.folders import check_folder
from mathloop.models.loading import check_model, load_policy, load_reward_model, new_reward_model
from mathloop.models.quantized import from_blocks
from mathloop.models.saving import save_model
from mathloop.models.sources import find_source
from mathloop.sampling.scoring import score
from mathloop.training.tokenizer import train_tokenizer
from tests.model_faults import TEXTS

SIZES: dict[str, Any] = {
    "vocab_size": 400, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "pad_token_id": 0,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "head_dim": 16,
}  # fmt: skip
LATENT: dict[str, Any] = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "num_key_value_heads": 4,
    "moe_intermediate_size": 32, "first_k_dense_replace": 1, "head_dim": 8,
}  # fmt: skip


def change(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def make(folder: Path, family: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **(SIZES | settings))
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    train_tokenizer(TEXTS, 400).save_pretrained(folder)
    return model


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=torch.arange(3, 26)[None]).logits  # type: ignore[no-any-return]


def check_loaded(folder: Path, expected: torch.Tensor) -> None:
    """Loads, saves and loads again what was quantized."""
    check_model(folder, "policy")
    policy, tokenizer = load_policy(folder)
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    assert torch.equal(logits(policy), expected)
    assert policy.generation_config.max_length == 77
    save_model(folder / "saved", policy, tokenizer)
    assert "quantization_config" not in json.loads((folder / "saved" / "config.json").read_text())
    again, info = type(policy).from_pretrained(folder / "saved", output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(logits(again), expected)


@pytest.mark.parametrize(("family", "settings"), [("qwen3", {}), ("deepseek_v3", LATENT)])
def test_weights_in_fp8_are_loaded_in_full_size(tmp_path: Path, family: str, settings: Any) -> None:
    """As DeepSeek V3's: kv_a_proj_with_mqa has 24 rows here, one block of 16 and half of another."""
    make(tmp_path, family, **settings)
    full, quantized = {}, {}
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        full[name] = quantized[name] = weight
        if weight.dim() == 2 and "proj" in name:
            rows, columns = (math.ceil(size / 16) for size in weight.shape)
            scales = torch.rand(rows, columns) * 0.01 + 0.001
            numbers = torch.empty_like(weight, dtype=torch.float8_e4m3fn)
            full[name] = weight.clone()
            for row in range(weight.shape[0]):
                for column in range(0, weight.shape[1], 16):
                    scale, place = scales[row // 16, column // 16], (row, slice(column, column + 16))
                    numbers[place] = (weight[place] / scale).to(numbers.dtype)
                    full[name][place] = numbers[place].float() * scale
            quantized[name], quantized[f"{name}_scale_inv"] = numbers, scales
    save_file(full, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change(tmp_path, "generation_config.json", max_length=77)
    expected = logits(load_policy(tmp_path)[0])
    save_file(quantized, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change(tmp_path, quantization_config={"quant_method": "fp8", "weight_block_size": [16, 16]})
    check_loaded(tmp_path, expected)


def test_weights_in_mxfp4_are_loaded_in_full_size(tmp_path: Path) -> None:
    make(tmp_path, "gpt_oss", num_local_experts=4, sliding_window=8)
    signs = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    values = torch.tensor(signs + [-value for value in signs])
    full, quantized = {}, {}
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            full[name] = quantized[name] = weight
            continue
        experts, inner, outer = weight.shape
        halves = torch.randint(0, 16, (experts, outer, inner))
        exponents = torch.randint(118, 124, (experts, outer, inner // 32))
        numbers = values[halves] * (2.0 ** (exponents - 127)).repeat_interleave(32, -1)
        full[name] = numbers.transpose(1, 2).contiguous()
        pairs = halves.view(experts, outer, inner // 32, 16, 2)
        quantized[f"{name}_blocks"] = (pairs[..., 0] + 16 * pairs[..., 1]).to(torch.uint8)
        quantized[f"{name}_scales"] = exponents.to(torch.uint8)
    save_file(full, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change(tmp_path, "generation_config.json", max_length=77)
    expected = logits(load_policy(tmp_path)[0])
    save_file(quantized, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change(tmp_path, quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    check_loaded(tmp_path, expected)


def test_fp8_without_blocks_has_one_scale_for_all_or_for_each_row() -> None:
    numbers = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).to(torch.float8_e4m3fn)
    assert from_blocks(numbers, torch.tensor(2.0), ()).tolist() == [[2, 4], [8, 16]]
    assert from_blocks(numbers, torch.tensor([2.0, 3.0]), ()).tolist() == [[2, 4], [12, 24]]


def empty(*names: str) -> Callable[[Path], None]:
    """Only these files, with nothing in them."""

    def write(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")

    return write


def quantized(**given: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, **given)


def without_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


FORMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "FSDP": (
        empty(".metadata", "__0_0.distcp"),
        "as FSDP writes them (__0_0.distcp); merge it with `accelerate",
    ),
    "accelerate's FSDP": (empty("pytorch_model_fsdp_0/__0_0.distcp"), "as FSDP writes them (pytorch_model"),
    "DeepSpeed": (
        empty("latest", "global_step9/mp_rank_00_model_states.pt"),
        "a checkpoint of DeepSpeed (glob",
    ),
    "Megatron": (
        empty("iter_9/mp_rank_00/model_optim_rng.pt"),
        "a checkpoint of Megatron (iter_9/mp_rank_00)",
    ),
    "Mistral": (empty("params.json", "consolidated.safetensors", "tekken.json"), "in its maker's own form"),
    "GGUF": (
        empty("qwen2.5-math-7b-q4_k_m.gguf"),
        "in llama.cpp's form (GGUF) (qwen2.5-math-7b-q4_k_m.gguf)",
    ),
    "a trainer's": (empty("checkpoint-500/config.json"), "several checkpoints (checkpoint-500/config.json)"),
    "no index": (without_index, "several files without model.safetensors.index.json"),
    "GPTQ": (quantized(quantization_config={"quant_method": "gptq", "bits": 4}), "quantized weights (gptq)"),
    "AWQ": (quantized(quantization_config={"quant_method": "awq"}), "quantized weights (awq)"),
    "bitsandbytes": (quantized(quantization_config={"load_in_4bit": True}), "weights (bitsandbytes), which"),
    "of the text part": (
        quantized(text_config={"quantization_config": {"quant_method": "compressed-tensors"}}),
        "quantized weights (compressed-tensors), which cannot be trained; give the model that they were made",
    ),
    "MLX": (quantized(quantization={"group_size": 64, "bits": 4}), "quantized weights (mlx)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_another_form_is_refused_by_what_it_is(policy: Path, form: str) -> None:
    write, phrase = FORMS[form]
    write(policy)
    with pytest.raises(BadModel) as caught:
        check_folder(policy, "policy")
    assert phrase in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_adapters_are_refused_with_the_name_of_their_base(policy: Path) -> None:
    (policy / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen2.5-Math-7B"}')
    with pytest.raises(BadModel, match=r"merge them into their base model Qwen/Qwen2\.5-Math-7B with peft"):
        check_folder(policy, "policy")


def test_a_file_is_no_folder(policy: Path) -> None:
    with pytest.raises(BadModel, match="this is a file; expected nano"):
        find_source(str(policy / "config.json"))


def test_a_model_with_code_is_loaded_as_transformers_has_it(policy: Path) -> None:
    before = logits(load_policy(policy)[0])
    change(policy, auto_map={"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"})
    check_model(policy, "policy")
    assert torch.equal(logits(load_policy(policy)[0]), before)
    weights = load_file(policy / "model.safetensors")
    weights["model.layers.0.self_attn.q_norm.weight"] = torch.ones(8)
    save_file(weights, policy / "model.safetensors", metadata={"format": "pt"})
    for attempt in (load_policy, lambda folder: check_model(folder, "policy")):
        with pytest.raises(BadModel, match=r"'qwen2' there is no place for model\.layers\.0\.self_attn\.q_n"):
            attempt(policy)


def test_a_published_reward_model_scores_as_one_of_ours(policy: Path, tmp_path: Path) -> None:
    """As Qwen2.5-Math-RM-72B, whose config.json names code; Qwen2.5-Math-PRM-7B scores steps."""
    model, tokenizer = new_reward_model(policy)
    folder = tmp_path / "published"
    folder.mkdir()
    model.to(torch.bfloat16).save(folder, tokenizer)
    change(folder, auto_map={"AutoModel": "modeling_qwen2_rm.Qwen2ForRewardModel"}, torch_dtype="bfloat16")
    check_model(folder, "reward model")
    loaded, _ = load_reward_model(folder)
    dialogues: Any = [("Mia has 3.", "cot", "So 7.")]
    expected = score(model.float().eval(), tokenizer, dialogues)
    assert score(loaded, tokenizer, dialogues) == pytest.approx(expected, abs=1e-5)
    weights = load_file(folder / "model.safetensors")
    weights |= {"score.2.weight": weights["score.2.weight"].repeat(2, 1), "score.2.bias": torch.zeros(2)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change(folder, architectures=["Qwen2ForProcessRewardModel"])
    with pytest.raises(BadModel, match=r"score\.2\.weight is \[2, 16\], expected \[1, 16\]; give a reward"):
        load_reward_model(folder)


def test_a_chat_template_in_the_processors_file_is_read(policy: Path) -> None:
    own = load_policy(policy)[1]
    template = (policy / "chat_template.jinja").read_text()
    (policy / "chat_template.jinja").unlink()
    (policy / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokenizer = load_policy(policy)[1]
    turn = [{"role": "user", "content": "3 + 4"}]
    assert tokenizer.apply_chat_template(turn) == own.apply_chat_template(turn)
    (policy / "chat_template.json").write_text("[]")
    with pytest.raises(BadModel, match="no chat template"):
        load_policy(policy)


def test_a_template_that_leaves_out_plain_text_is_refused(policy: Path) -> None:
    """As SmolVLM's, which goes through a list of texts and images: of a plain text it writes nothing."""
    (policy / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }}:{% for part in m.content %}{% if part.type == 'text' %}"
        "{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}assistant:"
    )
    with pytest.raises(BadModel, match=r"leaves out a message that is plain text.*chat_template\.jinja"):
        load_policy(policy)


@pytest.mark.parametrize("name", ["tokenizer.model", "tekken.json"])
def test_a_vocabulary_that_needs_another_package_is_refused(policy: Path, name: str) -> None:
    (policy / "tokenizer.json").unlink()
    (policy / name).write_bytes(b"{}")
    with pytest.raises(BadModel, match=rf"cannot be read from {name} \(.*\); add the tokenizer\.json"):
        load_policy(policy)
