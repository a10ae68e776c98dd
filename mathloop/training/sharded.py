"""Creates a policy in shards for ZeRO-3: no process ever holds the whole model.

Each layer is sharded as it is built, without values; then the first process reads the weights from their
files, one tensor at a time, and every process keeps its shard of each.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mathloop.models.dtypes import working_dtype
from mathloop.models.folders import check_folder
from mathloop.models.loading import check_model, load_policy, new_reward_model, one_line
from mathloop.models.reward_model import RewardModel
from mathloop.models.saving import save_model
from mathloop.models.tokenizers import load_tokenizer
from mathloop.training.config import EngineConfig, LoRAConfig
from mathloop.training.fingerprint import SAMPLE, sample
from mathloop.training.ranks import Ranks
from mathloop.training.zero import begin_deepspeed, settings_of


def load_trainable(
    folder: Path, config: EngineConfig, ranks: Ranks, lora: LoRAConfig | None = None
) -> tuple[Any, Any]:
    """(model, tokenizer) of a policy to train: whole and in float32, or with ZeRO-3 this process's shard.

    Every rank calls this. A policy for adapters is loaded whole. Raises BadModel as `load_policy`.
    """
    if config.zero < 3 or ranks.world == 1 or lora is not None:
        return load_policy(folder)
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
    from transformers.initialization import no_init_weights

    deepspeed = begin_deepspeed(ranks)
    check_model(folder, "policy")  # reads shapes, no weights
    with one_line(folder):
        given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        dtype = working_dtype(config.dtype)
        # Its dtype is that of the settings: DeepSpeed 0.19 takes another one as float16 or bfloat16 only.
        sharding = deepspeed.zero.Init(config_dict_or_path=settings_of(config))
        with no_init_weights(), sharding:
            described = AutoConfig.from_pretrained(folder, **given)
            model = AutoModelForCausalLM.from_config(described, dtype=dtype, trust_remote_code=False)
        model.tie_weights()
        _restore_buffers(model)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        _fill(model, check_folder(folder, "policy").files, ranks)
    return model, load_tokenizer(folder)


def new_trainable_reward_model(folder: Path, config: EngineConfig, ranks: Ranks) -> tuple[RewardModel, Any]:
    """`new_reward_model`, with ZeRO-3 this process's shard of its backbone. Every rank calls this."""
    if config.zero < 3 or ranks.world == 1:
        return new_reward_model(folder)
    net, tokenizer = load_trainable(folder, config, ranks)
    model = RewardModel(net.base_model, net.config.hidden_size)
    model.head.to(working_dtype(config.dtype))  # DeepSpeed asks for one dtype
    return model, tokenizer


def save_untrained(folder: Path, model: Any, tokenizer: Any, ranks: Ranks) -> None:
    """Saves a policy as it was loaded, whole or in shards. Every rank calls this; rank 0 writes."""
    weights = whole_weights(model, ranks)
    if ranks.first:
        save_model(folder, model, tokenizer, weights)
    ranks.barrier()


@torch.no_grad()
def whole_weights(model: nn.Module, ranks: Ranks) -> dict[str, Tensor]:
    """Name → full weight, in the first process's memory; nothing in the others, which must call this too."""
    weights: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        with _gathered(parameter, None):
            if ranks.first:
                weights[name] = parameter.detach().to("cpu", copy=True)
    return weights


def _restore_buffers(model: nn.Module) -> None:
    """Rotary frequencies in float32: DeepSpeed rounds every number to the weights' dtype."""
    for module in model.modules():
        if buffers := dict(module.named_buffers(recurse=False)):
            fresh = type(module)(config=module.config)
            for name, buffer in fresh.named_buffers(recurse=False):
                setattr(module, name, buffer.to(buffers[name].device))


@torch.no_grad()
def _fill(model: nn.Module, files: list[Path], ranks: Ranks) -> None:
    places: dict[str, Path] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            places |= dict.fromkeys(tensors.keys(), file)
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for name, parameter in model.named_parameters():  # a tied weight once
        found = name if name in places else name.removeprefix(prefix)
        with _gathered(parameter, 0):
            if ranks.first:
                with safe_open(places[found], framework="pt") as tensors:
                    tensor = tensors.get_tensor(found)
                setattr(parameter, SAMPLE, sample(tensor))
                parameter.copy_(tensor)
                del tensor


def _gathered(parameter: nn.Parameter, source: int | None) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=source)
