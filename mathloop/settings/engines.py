"""Which stages sample with vLLM, and in which pool of a cluster."""

from __future__ import annotations

from mathloop.errors import BadConfig
from mathloop.settings.settings import Settings

SAMPLING = ("writing", "cot", "tir", "reward_data", "selection", "evaluation")
"""Stages with `sampling` that run in the sampler pool; grpo samples in the trainer pool."""


def check_engines(settings: Settings, place: str = "") -> None:
    """Raises BadConfig where a stage samples with vLLM and the pool that runs it has no GPUs.

    For runs on a cluster: on one machine its own GPUs count, which no setting says.

    Args:
        place: what the settings are, before the message, such as `overrides: `.
    """
    pools = dict.fromkeys(SAMPLING, "sampler") | {"grpo": "trainer"}
    if settings.tir.iterations > 1:
        pools["tir"] = "trainer"
    found: dict[str, list[str]] = {}
    for stage, pool in pools.items():
        used = stage != "writing" or settings.writing.templates
        vllm = getattr(settings, stage).sampling.engine == "vllm"
        if used and vllm and not getattr(settings.pools, pool).gpus:
            found.setdefault(pool, []).append(f"{stage}.sampling.engine")
    for pool, fields in found.items():
        raise BadConfig(
            f"{place}{', '.join(fields)}: vllm needs GPUs, and pools.{pool} has none: set "
            f"pools.{pool}.gpus and pools.{pool}.accelerator, or the engine to transformers"
        )
