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

from mathloop.errors import BadModel
from mathloop.models.dtypes import working_dtype
from mathloop.models.folders import check_folder
from mathloop.models.loading import check_model, load_policy, new_reward_model, one_line
from mathloop.models.reward_model import RewardModel
from mathloop.models.saving import save_model
from mathloop.models.shapes import read_shape
from mathloop.models.text_part import language_model, read_config
from mathloop.models.tokenizers import load_tokenizer
from mathloop.training.config import EngineConfig, LoRAConfig
from mathloop.training.fingerprint import SAMPLE, sample
from mathloop.training.ranks import Ranks
from mathloop.training.zero import begin_deepspeed, settings_of


def load_trainable(
    folder: Path, config: EngineConfig, ranks: Ranks, lora: LoRAConfig | None = None
) -> tuple[Any, Any]:
    """(model, tokenizer) of a policy to train: whole and in float32, or with ZeRO-3 this process's shard.

    Every rank calls this. A policy for adapters is loaded whole, and one of an architecture that `shapes`
    does not know, whose buffers cannot be made anew, or of a part. Raises BadModel as `load_policy`.
    """
    if lora is not None or not _in_shards(folder, config, ranks):
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
    if not _in_shards(folder, config, ranks):
        return new_reward_model(folder)
    net, tokenizer = load_trainable(folder, config, ranks)
    model = RewardModel(net.base_model, net.config.hidden_size)
    for parameter in model.head.parameters():
        setattr(parameter, SAMPLE, sample(parameter))  # before it is rounded: the same without ZeRO-3
    model.head.to(working_dtype(config.dtype))  # DeepSpeed asks for one dtype
    return model, tokenizer


def save_untrained(folder: Path, policy: Path, model: Any, tokenizer: Any, ranks: Ranks) -> None:
    """Saves the `policy` that `load_trainable` made `model` of, in float32, into `folder`.

    Weights in shards may have been rounded, so they are read from `policy` again. Every rank calls this; the
    first one writes.
    """
    if ranks.first:
        if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
            places = _places(model, check_folder(policy, "policy").files)
            weights = {name: _read(*place).float() for name, place in places.items()}
        else:
            weights = whole_weights(model, ranks)
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


def _in_shards(folder: Path, config: EngineConfig, ranks: Ranks) -> bool:
    if config.zero < 3 or ranks.world == 1:
        return False
    try:
        read_shape(folder)
    except BadModel:
        return False
    found = language_model(folder, read_config(folder))
    return not found.part and found.quantization is None


@torch.no_grad()
def _fill(model: nn.Module, files: list[Path], ranks: Ranks) -> None:
    places = _places(model, files)
    for name, parameter in model.named_parameters():  # a tied weight once
        with _gathered(parameter, 0):
            if ranks.first:
                tensor = _read(*places[name])
                setattr(parameter, SAMPLE, sample(tensor))
                parameter.copy_(tensor)
                del tensor


def _places(model: nn.Module, files: list[Path]) -> dict[str, tuple[Path, str]]:
    """Name of a parameter → the file that holds it, and its name there, which may lack the prefix."""
    there: dict[str, Path] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            there |= dict.fromkeys(tensors.keys(), file)
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    places = {}
    for name, _ in model.named_parameters():
        found = name if name in there else name.removeprefix(prefix)
        places[name] = there[found], found
    return places


def _read(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as tensors:
        tensor: Tensor = tensors.get_tensor(name)
    return tensor


def _gathered(parameter: nn.Parameter, source: int | None) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=source)
