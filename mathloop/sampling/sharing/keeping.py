"""A stage that samples alone keeps its shards beside its output, so that it goes on where it was killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mathloop.files import filled
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sharing.pod import Pod
from mathloop.sampling.sharing.shards import Shards
from mathloop.sampling.sources import sampling_from
from mathloop.stages import split_arguments
from mathloop.storage import open_store
from mathloop.work_folders import working

BATCHES = {"transformers": 8, "vllm": 32}
"""Batches in a shard, by engine: what a kill loses at most. vLLM's last responses of a shard decode alone."""


def run_keeping(stage: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """`stage(**arguments)`; killed and called again with the same arguments, it draws what is missing.

    The result is that of a stage that was never killed, to the byte.

    Args:
        stage: samples with `arguments["config"].sampling` and writes `arguments["out"]`.
    """
    sampling: SamplingConfig = arguments["config"].sampling
    inputs, settings = split_arguments(arguments)
    there = {name: path for name, path in inputs.items() if path.is_file() or filled(path)}
    identity = repr((list(there), settings))
    with working(stage.__name__, arguments["out"], list(there.values()), identity) as folder:
        shards = Shards(
            open_store(f"file://{folder}"),
            "kept",
            responses=sampling.batch_size * BATCHES[sampling.engine] * max(1, sampling.engines),
            pods=1,
            waits=True,
        )
        with sampling_from(Pod(shards, 0, say=lambda text: None)):
            return stage(**arguments)
