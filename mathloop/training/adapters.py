"""LoRA by peft: adapters in a model, and its weights with the adapters merged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.errors import BadConfig
from mathloop.models.loading import outline_policy
from mathloop.training.config import LoRAConfig

_NAME = "default"
LORA = ".lora_"
"""Part of the names of adapter weights, and of no others."""


def add_adapters(policy: Any, config: LoRAConfig | None) -> Any:
    """Puts adapters into the layers of `policy` in place and freezes the rest; does nothing without `config`.

    Raises BadConfig where peft is missing, and as `check_targets`.
    """
    if config is None:
        return policy
    _check_layers(policy, config)
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise BadConfig("lora needs peft, which is not installed; pip install 'mathloop[train]'") from None
    peft_config = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=list(config.targets) or "all-linear",
        exclude_modules=None if config.targets else ["lm_head"],
        task_type="CAUSAL_LM",
    )
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    return inject_adapter_in_model(peft_config, policy, adapter_name=_NAME)


def check_targets(folder: Path, config: LoRAConfig | None) -> None:
    """Checks the adapters' layers by the model's config alone, before its weights are loaded.

    Raises BadConfig where a target is no linear layer of the model, or shares its weights with the embedding;
    BadModel as `outline_policy`.
    """
    if config is not None and config.targets:
        _check_layers(outline_policy(folder), config)


def _check_layers(policy: Any, config: LoRAConfig) -> None:
    layers = dict(policy.named_modules())
    linear = {name for name, layer in layers.items() if isinstance(layer, nn.Linear)}
    shared = {id(layer.weight) for layer in layers.values() if isinstance(layer, nn.Embedding)}
    for target in config.targets:
        chosen = [name for name in layers if f".{name}".endswith(f".{target}")]
        if not linear.issuperset(chosen) or not chosen:
            kind = f" ({type(layers[chosen[0]]).__name__})" if chosen else ""
            fault = f"{target!r} is not a linear layer{kind}" if chosen else f"no such layer as {target!r}"
            names = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise BadConfig(
                f"lora.targets={list(config.targets)}: {fault}; of linear layers the model has {names}"
            )
        if any(id(layers[name].weight) in shared for name in chosen):
            raise BadConfig(
                f"lora.targets={list(config.targets)}: {target!r} shares its weights with the embedding in "
                "this model, so an adapter on it alone could not be saved; leave it out"
            )


@contextmanager
def without_adapters(policy: Any) -> Iterator[None]:
    """Inside, the policy computes without its adapters: the reference for the KL needs no second model."""
    layers = [module for module in policy.modules() if hasattr(module, "lora_A")]
    for layer in layers:  # peft's own method would also freeze the adapters, which ZeRO-3 does not allow
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


@torch.no_grad()
def merged_weights(policy: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields (name, weight) as in a model without adapters, each adapter merged into its weight."""
    layers = dict(policy.named_modules())
    for name, weight in policy.named_parameters():
        if LORA in name:
            continue
        if ".base_layer." not in name:
            yield name, weight.detach()
            continue
        layer = layers[name.rpartition(".base_layer.")[0]]
        change = 0.0
        if name.endswith(".weight"):
            change = layer.scaling[_NAME] * (layer.lora_B[_NAME].weight @ layer.lora_A[_NAME].weight)
        yield name.replace(".base_layer.", "."), weight.detach() + change
