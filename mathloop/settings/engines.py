"""Which stages sample with vLLM, and whether it can run where they do."""

from __future__ import annotations

from importlib.util import find_spec

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
    for stage in _with_vllm(settings):
        if not getattr(settings.pools, pools[stage]).gpus:
            found.setdefault(pools[stage], []).append(f"{stage}.sampling.engine")
    for pool, fields in found.items():
        raise BadConfig(
            f"{place}{', '.join(fields)}: vllm needs GPUs, and pools.{pool} has none: set "
            f"pools.{pool}.gpus and pools.{pool}.accelerator, or the engine to transformers"
        )


def check_installed(settings: Settings) -> None:
    """Raises BadConfig where a stage of a round on this machine samples with vLLM, which is not installed."""
    if (stages := _with_vllm(settings)) and find_spec("vllm") is None:
        raise BadConfig(
            f"{', '.join(f'{stage}.sampling.engine' for stage in stages)}: vllm is not installed; install it "
            "with `pip install 'mathloop[vllm]'`, or set the engine to transformers"
        )


def _with_vllm(settings: Settings) -> list[str]:
    used = [stage for stage in (*SAMPLING, "grpo") if stage != "writing" or settings.writing.templates]
    return [stage for stage in used if getattr(settings, stage).sampling.engine == "vllm"]
