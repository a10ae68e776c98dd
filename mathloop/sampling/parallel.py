"""Several engines on one machine, each in a process with its own GPUs, that share the problems of a stage."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mathloop.errors import BadConfig, MathloopError
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.fitting import Fitting
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.sampling.shards import Shard, read_rollouts

ATTEMPTS = 3
"""Engine processes that may end during one shard before the sampling gives up."""


def engines_here(config: SamplingConfig) -> int:
    """Engines that `config` asks for on this machine. Raises BadConfig if there are too few GPUs for them."""
    gpus = torch.cuda.device_count()
    each = config.tensor_parallel
    if gpus < each * max(1, config.engines) and (gpus or each > 1):
        raise BadConfig(
            f"sampling.engines={config.engines} with sampling.tensor_parallel={each} needs "
            f"{each * max(1, config.engines)} GPUs, and this machine has {gpus}: lower one of them"
        )
    return config.engines or max(1, gpus // each)


class ParallelSampler(Sampler):
    """Draws each shard of problems with whichever engine is free; responses are those of one engine.

    A shard is as many problems as one engine decodes together. If an engine's process is killed, another one
    takes its place and only that shard is drawn again.
    """

    def __init__(self, folder: Path, config: SamplingConfig, engines: int, context: int | None) -> None:
        self.config = config
        self._fitting = Fitting(folder, config, context)
        self._scratch = TemporaryDirectory(prefix="mathloop-sampling-")
        self._engines = [_EngineProcess(folder, config, number, engines) for number in range(engines)]
        self._streams = 0
        self._work: _Work | None = None

    def close(self) -> None:
        """Ends the processes, and a stream that is still open."""
        self.sleep()
        self._scratch.cleanup()

    def fits(self, problem: Problem, mode: Mode) -> bool:
        """Whether the problem's prompt leaves room for a response in the model's context."""
        return self._fitting.fits(problem, mode, self.config)

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Raises MathloopError: a trainer has an engine in each of its own processes instead."""
        raise MathloopError("several engine processes take no weights; use begin_sampler")

    def sleep(self) -> None:
        """Ends the processes, which frees their GPUs; the next stream starts them again.

        A stream that is still open raises MathloopError at its first shard that is not drawn.
        """
        if self._work is not None:
            self._work.abandon()
        for engine in self._engines:
            engine.stop()

    def wake(self) -> None:
        """Nothing to take ahead of need."""

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        """Yields the rollouts of each shard, in the order of `problems`.

        `first`: index of the first one among problems that several machines share.

        Raises:
            MathloopError: what an engine raised, or its processes ended ATTEMPTS times in one shard.
        """
        self._streams += 1
        folder = Path(self._scratch.name) / str(self._streams)
        folder.mkdir()
        size = max(1, self.config.batch_size // samples)
        if self.config.engine == "vllm":  # a shard's last responses decode alone; any cut draws the same
            size = max(1, min(4 * size, -(-len(problems) // len(self._engines))))
        shards = [
            Shard(
                self.config,
                list(problems[start : start + size]),
                first + start,
                mode,
                samples,
                temperature,
                seed,
                folder / f"{start}.parquet",
            )
            for start in range(0, len(problems), size)
        ]
        if self._work is not None and not self._work.is_done():
            self.sleep()  # an engine draws for one stream at a time
        work = self._work = _Work(shards)
        for engine in self._engines:
            engine.allow()
        threads = [threading.Thread(target=work.serve, args=(engine,)) for engine in self._engines]
        for thread in threads:
            thread.start()
        try:
            for shard in shards:
                work.wait_for(shard)
                yield read_rollouts(shard.out)
                shard.out.unlink(missing_ok=True)  # `close` removes it too
        finally:
            if not work.is_done():  # whoever reads this stream stopped early, or an engine failed
                work.abandon()
                if self._work is work:
                    self.sleep()
            for thread in threads:
                thread.join()


class _Work:
    """Which shards are left to draw; used by a thread per engine and by the reader."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._changed = threading.Condition()
        self._left = list(shards)
        self._ended = dict.fromkeys((shard.first for shard in shards), 0)
        self._done: set[int] = set()
        self._total = len(shards)
        self._error: BaseException | None = None

    def serve(self, engine: _EngineProcess) -> None:
        """Draws shards with `engine` until none is left."""
        while (shard := self._take()) is not None:
            try:
                alive = engine.draw(shard)
            except BaseException as error:
                self.abandon(error)
                return
            with self._changed:
                if alive:
                    self._done.add(shard.first)
                else:
                    self._ended[shard.first] += 1
                    self._left.insert(0, shard)
                    if self._ended[shard.first] == ATTEMPTS:
                        self._error = self._error or MathloopError(
                            f"an engine's process ended {ATTEMPTS} times in the same {len(shard.problems)} "
                            "problems, perhaps for want of memory: lower sampling.batch_size or "
                            "sampling.gpu_memory"
                        )
                self._changed.notify_all()

    def wait_for(self, shard: Shard) -> None:
        """Returns when the shard is done; raises the error of an engine."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or shard.first in self._done)
            if shard.first not in self._done and self._error is not None:
                raise self._error

    def is_done(self) -> bool:
        """Whether every shard is done."""
        with self._changed:
            return len(self._done) == self._total

    def abandon(self, error: BaseException | None = None) -> None:
        """Leaves the rest undone; `error` is raised by `wait_for`."""
        with self._changed:
            self._error = self._error or error or MathloopError("the sampling was stopped")
            self._changed.notify_all()

    def _take(self) -> Shard | None:
        """The next shard; None when all are done. Waits while the last ones are drawn: one may come back."""
        with self._changed:
            self._changed.wait_for(
                lambda: bool(self._left) or self._error is not None or len(self._done) == self._total
            )
            return self._left.pop(0) if self._left and self._error is None else None


class _EngineProcess:
    """A process with one engine, started when it is first needed and after it ended, unless stopped."""

    def __init__(self, folder: Path, config: SamplingConfig, number: int, engines: int) -> None:
        self._command = [sys.executable, "-m", "mathloop.sampling.engine_process", str(folder)]
        self._command.append(config.model_dump_json())
        self._variables = _variables(config.tensor_parallel, number, engines)
        self._process: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()
        self._allowed = True

    def draw(self, shard: Shard) -> bool:
        """Whether the shard was drawn; False if the process ended. Raises the error of its engine."""
        process = self._running()
        if process is None:
            return False
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(shard.to_json() + "\n")
            process.stdin.flush()
            # A child of a killed process may hold its end of the pipe open.
            while not select.select([process.stdout], [], [], 1.0)[0]:
                if process.poll() is not None:
                    return shard.out.exists()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            process.kill()
            process.wait()
            return shard.out.exists()
        reply: dict[str, Any] = json.loads(line)
        if reply:
            raise MathloopError.from_row(reply)
        return True

    def allow(self) -> None:
        """Lets `draw` start the process again after `stop`."""
        with self._starting:
            self._allowed = True

    def stop(self) -> None:
        """Ends the process; `draw` starts none until `allow`."""
        with self._starting:
            self._allowed = False
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError, ValueError):  # a line that the process did not read
                        pipe.close()

    def _running(self) -> subprocess.Popen[str] | None:
        """The process, started if need be; None once it is stopped, also by another thread."""
        with self._starting:
            if not self._allowed:
                return None
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    env={**os.environ, **self._variables},
                )
            return self._process


def _variables(each: int, number: int, engines: int) -> dict[str, str]:
    """Environment of engine `number`: its own `each` GPUs, and its part of the processor."""
    threads = max(1, len(os.sched_getaffinity(0)) // engines)
    variables = {"OMP_NUM_THREADS": str(threads)}
    if gpus := torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) >= gpus and visible[0] else [str(gpu) for gpu in range(gpus)]
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(names[number * each : (number + 1) * each])
    return variables
