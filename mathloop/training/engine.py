"""The optimizer loop of all recipes: schedule, checkpoints, curves, several ranks, a clean stop.

A recipe derives each batch from the step number alone, splits it into micro-batches, calls `forward` and
`backward` for each of them, and then `update`:

    with Engine(module, config, steps, work, ...) as engine:
        while engine.step < steps:
            for micro, weight in engine.deal(micro_batches):
                loss = ... engine.forward(micro) ...
                engine.backward(loss * weight)
            engine.update(loss=...)

A loss is summed over micro-batches and ranks, so a recipe divides it by the size of the global batch.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mathloop.curves import Point
from mathloop.errors import BadConfig, Interrupted, TrainingDiverged
from mathloop.models.attention import use_attention
from mathloop.models.dtypes import working_dtype
from mathloop.models.linear import speed_up
from mathloop.models.memory import keep_freed
from mathloop.storage import open_store
from mathloop.training.capacity import Utilization, check_memory, out_of_memory
from mathloop.training.checkpoint import Checkpoint, Checkpoints
from mathloop.training.checkpoint_writing import Stored, save_together
from mathloop.training.config import CHECKPOINTS_VARIABLE, EngineConfig, OptimizerConfig
from mathloop.training.fingerprint import HOW, fingerprint
from mathloop.training.metrics_log import MetricsLog
from mathloop.training.ranks import join_ranks
from mathloop.training.schedule import learning_rate
from mathloop.training.updates import PlainUpdates

GRACE_SECONDS = 20.0
"""How long a stopped training waits for the upload of its last checkpoint; Kubernetes allows 30."""

Micro = TypeVar("Micro")


class RecipeConfig(Protocol):
    """The parts of a recipe's config that the engine reads."""

    @property
    def optimizer(self) -> OptimizerConfig: ...

    @property
    def engine(self) -> EngineConfig: ...

    def model_dump_json(self, *, exclude: dict[str, Any]) -> str: ...


class Engine:
    """Trains `module` for `steps` optimizer steps, resuming from the newest checkpoint of this training."""

    def __init__(
        self,
        module: nn.Module,
        config: RecipeConfig,
        steps: int,
        work: Path,
        *,
        recipe: str,
        seed: int,
        data: str = "",
    ) -> None:
        """`data`: hash of the training data; with recipe, config, seed and weights it identifies a training.

        Raises:
            BadConfig: the model does not fit this machine, or it cannot satisfy an engine setting.
        """
        self.ranks = join_ranks()
        self.module, self.steps, self.work = module, steps, work
        self.config, self.optimizer = config.engine, config.optimizer
        self._seed, self._seeded = seed, -1
        check_memory(module, self.config, self.ranks)
        settings = config.model_dump_json(exclude=HOW)
        identity = fingerprint(module, recipe, settings, seed, steps, data)
        use_attention(module, self.config.attention)
        if self.config.activation_checkpointing:
            _checkpoint_activations(module)
        speed_up(module)
        if self.ranks.device.type == "cpu":
            keep_freed()
        self._updates = self._begin_updates()
        self.step = self._saved = 0
        self.curves: dict[str, list[Point]] = {}
        self.counts: Counter[str] = Counter()
        """Counters of the recipe (tokens, groups) over all ranks; saved in checkpoints, as `curves` are."""
        self.notes: list[str] = []
        self._started, self._before = time.monotonic(), 0.0
        self._utilization = Utilization(module, self.config, self.ranks)
        self._stopping = threading.Event()
        self._handler: Any = None
        self._log = MetricsLog(work, self.config.tensorboard) if self.ranks.first else None
        self._checkpoints: Checkpoints | None = None
        if self.ranks.first:
            url = os.environ.get(CHECKPOINTS_VARIABLE)
            self._checkpoints = Checkpoints(
                work / "checkpoints",
                keep=self.config.keep,
                fingerprint=identity,
                store=open_store(url) if url else None,
                prefix=f"checkpoints/{recipe}-{identity[:16]}",
            )
        self._resume(recipe)

    def __enter__(self) -> Engine:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, lambda *_: self._stopping.set())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        if self._checkpoints is not None:
            self._checkpoints.close(GRACE_SECONDS if isinstance(error, Interrupted) else 0.0)
            if error is None:  # the trained model is saved
                self._checkpoints.remove_stored()
        if self._log is not None:
            self._log.close()
        if error is not None and (advice := out_of_memory(error, self.config)):
            raise BadConfig(f"step {self.step}: {advice}") from None

    @property
    def seconds(self) -> float:
        """Seconds spent on the steps so far, including killed attempts up to their checkpoint."""
        return self._before + time.monotonic() - self._started

    def deal(self, micro_batches: Sequence[Micro], *, own: bool = False) -> Iterator[tuple[Micro, float]]:
        """Yields this rank's (micro-batch, weight), from the global batch or, with `own`, from its own.

        ZeRO needs equally many on every rank: real ones have weight 1, and fillers have weight 0.
        """
        mine = list(micro_batches) if own else list(micro_batches[self.ranks.rank :: self.ranks.world])
        rounds = -(-len(micro_batches) // self.ranks.world)
        if own and self.ranks.world > 1:
            rounds = max(self.ranks.gather(len(mine)))
        for place in range(rounds):
            yield (mine[place], 1.0) if place < len(mine) else (micro_batches[0], 0.0)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The module's forward, with the configured precision and ZeRO stage."""
        if self._seeded != self.step:  # dropout is a function of seed, step and rank, also after a resume
            torch.manual_seed(hash((self._seed, self.step, self.ranks.rank)) % 2**63)
            self._seeded = self.step
        return self._updates.forward(*inputs, **named)

    def backward(self, loss: Tensor) -> None:
        """Accumulates a micro-batch's gradient; fillers have a loss of weight 0."""
        self._updates.backward(loss)

    def update(self, *, tokens: int = 0, checkpoint: bool = True, **parts: float) -> dict[str, float]:
        """Clips, steps, and records `parts`, each summed over the ranks, and the gradient norm at this step.

        A checkpoint that is due, or requested by SIGTERM, waits for an update with `checkpoint`, where a
        recipe can resume. `tokens` are those of this rank.

        Raises:
            TrainingDiverged: one of them is not finite; the last checkpoint is kept.
            Interrupted: SIGTERM was received, and a checkpoint was written.
            StorageRefused: the checkpoint cannot be written; earlier ones are kept.
        """
        sums = self.ranks.total(float(self._stopping.is_set()), float(tokens), *parts.values())
        stop, self.counts["tokens"] = sums[0] > 0, self.counts["tokens"] + round(sums[1])
        values = dict(zip(parts, sums[2:], strict=True))
        self._check_finite(values)
        rate = learning_rate(self.optimizer, self.step, self.steps)
        norm = self._updates.step(rate)
        if norm is not None:
            values["gradient norm"] = norm
            self._check_finite({"gradient norm": norm})
        values["learning rate"] = rate
        values |= self._utilization.measure(round(sums[1]))
        for name, value in values.items():
            self.curves.setdefault(name, []).append((float(self.step), float(value)))
        if self._log is not None:
            self._log.write(self.step, values)
        self.step += 1
        every = self.optimizer.checkpoint_steps
        due = self.step // every > self._saved // every or stop or self.step == self.steps
        if checkpoint and due:
            self.save()
        if stop and checkpoint:
            raise Interrupted(
                f"stopped by SIGTERM after step {self.step} of {self.steps}, which is saved; "
                "start again to resume"
            )
        return values

    def save(self) -> None:
        """Writes a checkpoint; every rank calls this."""
        keys_by_name = {name: self._updates.keys(name) for name in self._updates.named}
        state = {"curves": self.curves, "counts": self.counts, "seconds": self.seconds, "keys": keys_by_name}
        tensors = [
            Stored(f"{name}:{key}", self._shape(name).numel(), partial(self._updates.read, name, key))
            for name, keys in keys_by_name.items()
            for key in keys
        ]
        save_together(self._checkpoints, self.ranks, self.step, tensors, state)
        self._saved = self.step

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, full trained weight) on every rank; every rank must consume all of them."""
        for name in self._updates.named:
            yield name, self._updates.read(name, "weight")

    def summary(self) -> dict[str, float]:
        """Scalars for the stage's report: tokens, tokens per second, utilization if the peak is known."""
        values = {"tokens": float(self.counts["tokens"])}
        values["tokens_per_second"] = self.counts["tokens"] / max(self.seconds, 1e-9)
        if used := self.curves.get("utilization"):
            values["utilization"] = sum(value for _, value in used) / len(used)
        return values

    def full_weights(self) -> Any:
        """A context in which every rank's module has the full weights, for decoding with it."""
        return self._updates.gathered() if self.config.zero == 3 else nullcontext()

    def _shape(self, name: str) -> torch.Size:
        """The shape of a trained parameter, which ZeRO-3 may have sharded."""
        parameter = self._updates.named[name]
        shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
        return shape

    def _begin_updates(self) -> Any:
        self.module.to(self.ranks.device).train()
        if self.config.zero:
            from mathloop.training.zero import ZeroUpdates

            return ZeroUpdates(self.module, self.optimizer, self.config, self.ranks)
        autocast = working_dtype(self.config.dtype) == torch.bfloat16
        return PlainUpdates(self.module, self.optimizer, self.ranks, autocast)

    def _resume(self, recipe: str) -> None:
        checkpoint: Checkpoint | None = None
        if self._checkpoints is not None:
            checkpoint = self._checkpoints.newest()
            self.notes += self._checkpoints.notes
        step, state = self.ranks.broadcast((checkpoint.step, checkpoint.state) if checkpoint else (0, {}))
        if not state:
            return
        for name in self._updates.named:
            shape = self._shape(name)
            for key in state["keys"][name]:
                tensor = checkpoint.read(f"{name}:{key}") if checkpoint else None
                self._updates.write(name, key, self.ranks.broadcast_tensor(tensor, shape, torch.float32))
        self._updates.resume_at(step)
        self.step = self._saved = step
        self.curves = {name: [(x, y) for x, y in curve] for name, curve in state["curves"].items()}
        self.counts = Counter(state["counts"])
        self._started, self._before = time.monotonic(), state["seconds"]
        if self._log is not None:
            self._log.restore(self.curves)
            rest = "all its steps are done" if step == self.steps else "resuming"
            line = f"{recipe}: step {step} of {self.steps} from a checkpoint; {rest}"
            print(line, file=sys.stderr, flush=True)

    def _check_finite(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name} is {value} at step {self.step}; lower the learning rate"
                    ", and check the data and the reward model"
                )


def _checkpoint_activations(module: nn.Module) -> None:
    for part in module.modules():
        enable: Any = getattr(part, "gradient_checkpointing_enable", None)
        if enable is not None:
            enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            return
    raise BadConfig(
        f"engine.activation_checkpointing: not supported by {type(module).__name__}; set it to false"
    )
