"""One turn of one side of `mathloop benchmark train` in its own process: seconds per step, and memory.

The same hook, which torch calls after every step of any optimizer, times both sides.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from pipelines.benchmarks.memory import memory
from pipelines.benchmarks.training_inputs import Inputs, Sizes, Turn

MIB = 1 << 20


def main(side: str, recipe: str, folder: str, seed: str) -> None:
    """Trains; writes a Turn to the inputs' folder."""
    inputs = Inputs(Path(folder))
    sizes = Sizes(**json.loads(inputs.sizes.read_text(encoding="utf-8")))
    recipes: Any = import_module(f"pipelines.benchmarks.training_{side}")
    with Clock() as clock:
        work = recipes.RECIPES[recipe](inputs, sizes, int(seed))
    steps = len(work.units)
    turn = Turn(
        clock.seconds(steps), work.units[1:], work.length, clock.start, clock.peak, clock.cpu_seconds(steps)
    )
    inputs.turn.write_text(json.dumps(turn), encoding="utf-8")


class Clock:
    """Records the times of optimizer steps, in seconds and CPU seconds, and the peak memory."""

    def __init__(self) -> None:
        self.start = self.peak = _peak()
        self._times: list[float] = []
        self._cpu: list[float] = []

    def __enter__(self) -> Clock:
        self._hook = register_optimizer_step_post_hook(self._tick)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _tick(self, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._times.append(time.perf_counter())
        self._cpu.append(time.process_time())
        self.peak = _peak()

    def seconds(self, steps: int) -> list[float]:
        """Seconds per step without the first; a step may consist of steps of several optimizers."""
        each = len(self._times) // steps
        ends = self._times[each - 1 :: each]
        return [after - before for before, after in pairwise(ends)]

    def cpu_seconds(self, steps: int) -> float:
        """CPU seconds of all steps but the first."""
        each = len(self._cpu) // steps
        return self._cpu[each * steps - 1] - self._cpu[each - 1]


def _peak() -> float:
    """Peak memory in MiB: of the GPU's tensors or, without a GPU, of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    return memory("VmHWM")


if __name__ == "__main__":
    main(*sys.argv[1:])
