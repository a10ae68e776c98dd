"""A process with one engine, which draws the shards that `ParallelSampler` sends: a line each way per shard.

python -m mathloop.sampling.engine_process FOLDER CONFIG
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mathloop.errors import MathloopError
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import ENGINES
from mathloop.sampling.shards import Shard, write_rollouts


def main(folder: str, config: str) -> None:
    """Answers every line with an empty object when the shard's file is written, or with its error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no reply
    sampling = SamplingConfig.model_validate_json(config)
    reply: dict[str, object]
    sampler = None
    for line in sys.stdin:
        try:
            if sampler is None:
                sampler = ENGINES[sampling.engine].load(Path(folder), sampling)
            shard = Shard.from_json(line)
            sampler.config = shard.config
            drawn = sampler.stream(
                shard.problems,
                mode=shard.mode,
                samples=shard.samples,
                temperature=shard.temperature,
                seed=shard.seed,
                first=shard.first,
            )
            write_rollouts(shard.out, [rollout for group in drawn for rollout in group])
            reply = {}
        except MathloopError as error:
            reply = error.to_row()
        print(json.dumps(reply), file=replies, flush=True)
    if sampler is not None:
        sampler.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
