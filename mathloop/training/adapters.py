"""LoRA by peft: adapters in a model, and its weights with the adapters merged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.errors import BadConfig
from mathloop.training.config import LoRAConfig

_NAME = "default"
LORA = ".lora_"
"""Part of the names of adapter weights, and of no others."""


def add_adapters(policy: Any, config: LoRAConfig | None) -> Any:
    """Puts adapters into the layers of `policy` in place and freezes the rest; does nothing without `config`.

    Raises BadConfig where peft is missing, or no layer has the configured name.
    """
    if config is None:
        return policy
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
    try:
        return inject_adapter_in_model(peft_config, policy, adapter_name=_NAME)
    except ValueError as error:
        linear = (name for name, module in policy.named_modules() if isinstance(module, nn.Linear))
        names = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
        raise BadConfig(
            f"lora.targets={list(config.targets)}: no such layer in this model; it has {names}"
        ) from error


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
