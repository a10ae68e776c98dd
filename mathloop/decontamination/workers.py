"""Sifts shards in several processes, of which this one is the first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from mathloop.decontamination.shards import Job, Shard, Tally, sift
from mathloop.errors import MathloopError

_AHEAD = 2
"""Shards a worker that are handed out before the first is done."""


def sift_all(job: Job, shards: Iterator[Shard], workers: int) -> Iterator[tuple[Shard, Tally]]:
    """Each shard with what it gave, in order. Raises MathloopError where a worker was killed."""
    if workers < 2:
        yield from ((shard, sift(job, shard)) for shard in shards)
        return
    # Not forked: this process may have threads, whose locks a fork would inherit.
    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn")) as pool:
        try:
            yield from _in_order(job, shards, pool, (workers - 1) * _AHEAD)
        except BrokenProcessPool:
            message = "a worker process was killed, for want of memory perhaps; run again: it goes on"
            raise MathloopError(message) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    job: Job, shards: Iterator[Shard], pool: ProcessPoolExecutor, ahead: int
) -> Iterator[tuple[Shard, Tally]]:
    """Shards are planned and handed out as they are needed; one that is not is sifted here meanwhile."""
    waiting: deque[tuple[Shard, Future[Tally] | Tally]] = deque()
    while True:
        running = sum(isinstance(told, Future) and not told.done() for _, told in waiting)
        while running < ahead and (shard := next(shards, None)) is not None:
            waiting.append((shard, pool.submit(sift, job, shard)))
            running += 1
        if waiting and (not isinstance(waiting[0][1], Future) or waiting[0][1].done()):
            shard, told = waiting.popleft()
            yield shard, told.result() if isinstance(told, Future) else told
        elif (shard := next(shards, None)) is not None:
            waiting.append((shard, sift(job, shard)))
        elif waiting:
            shard, told = waiting.popleft()
            yield shard, told.result() if isinstance(told, Future) else told
        else:
            return
