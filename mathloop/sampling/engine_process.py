"""A process with one engine, which draws the shards that `ParallelSampler` sends: a line each way per shard.

python -m mathloop.sampling.engine_process FOLDER CONFIG
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mathloop.errors import MathloopError
from mathloop.models.memory import ran_out
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import engine
from mathloop.sampling.shards import Shard, write_rollouts


def main(folder: str, config: str) -> None:
    """Answers every line with an empty object when the shard's file is written, or with its error.

    Ends at once when its input does, also while it draws: whoever asked is gone.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no reply
    sampling = SamplingConfig.model_validate_json(config)
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=read_lines, args=(0, lines), daemon=True).start()
    sampler: Any = None

    def draw(line: str) -> None:
        nonlocal sampler
        if sampler is None:
            sampler = engine(sampling.engine).load(Path(folder), sampling)
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

    while True:
        line = lines.get()
        print(json.dumps(reply_to(partial(draw, line))), file=replies, flush=True)


def reply_to(draw: Callable[[], None]) -> dict[str, object]:
    """An empty object, or the error of `draw` as a row.

    Raises what says that memory ran out: the process ends with it, and the next one may find enough.
    """
    try:
        draw()
    except MathloopError as error:
        return error.to_row()
    except Exception as error:
        if ran_out(error):
            raise
        traceback.print_exc()
        first = next(iter(str(error).splitlines()), "")
        return MathloopError(f"an engine failed with {type(error).__name__}: {first}").to_row()
    return {}


def read_lines(source: int, lines: SimpleQueue[str]) -> None:
    """Puts the lines of a file descriptor into `lines`, and ends this process after the last one."""
    with open(source, encoding="utf-8", closefd=False) as file:
        for line in file:
            lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
