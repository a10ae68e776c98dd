"""Filters shards in several processes, including this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from mathloop.decontamination.shards import Job, Shard, Tally, filter_shard
from mathloop.errors import MathloopError

_AHEAD = 2
"""Shards per worker that are submitted ahead."""


def filter_shards(job: Job, shards: Iterator[Shard], workers: int) -> Iterator[tuple[Shard, Tally]]:
    """Each shard with its result, in order. Raises MathloopError if a worker was killed."""
    if workers < 2:
        yield from ((shard, filter_shard(job, shard)) for shard in shards)
        return
    # Not forked: this process may have threads, whose locks a fork would inherit.
    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn")) as pool:
        try:
            yield from _in_order(job, shards, pool, (workers - 1) * _AHEAD)
        except BrokenProcessPool:
            message = "a worker process was killed (out of memory?); run the same command again to resume"
            raise MathloopError(message) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    job: Job, shards: Iterator[Shard], pool: ProcessPoolExecutor, ahead: int
) -> Iterator[tuple[Shard, Tally]]:
    """Submits shards as workers become free; filters further ones here while it waits for the next result."""
    waiting: deque[tuple[Shard, Future[Tally]]] = deque()
    while True:
        running = sum(not future.done() for _, future in waiting)
        while running < ahead and (shard := next(shards, None)) is not None:
            waiting.append((shard, pool.submit(filter_shard, job, shard)))
            running += 1
        if waiting and not waiting[0][1].done() and (shard := next(shards, None)) is not None:
            waiting.append((shard, _filter_here(job, shard)))
        elif waiting:
            shard, future = waiting.popleft()
            yield shard, future.result()
        else:
            return


def _filter_here(job: Job, shard: Shard) -> Future[Tally]:
    """The shard's result or error as a future, so that an error is raised in the order of the shards."""
    future: Future[Tally] = Future()
    try:
        future.set_result(filter_shard(job, shard))
    except Exception as error:
        future.set_exception(error)
    return future
