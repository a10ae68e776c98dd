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
    waiting: deque[tuple[Shard, Future[Tally]]] = deque()
    while True:
        running = sum(not future.done() for _, future in waiting)
        while running < ahead and (shard := next(shards, None)) is not None:
            waiting.append((shard, pool.submit(sift, job, shard)))
            running += 1
        if waiting and not waiting[0][1].done() and (shard := next(shards, None)) is not None:
            waiting.append((shard, _sifted(job, shard)))
        elif waiting:
            shard, future = waiting.popleft()
            yield shard, future.result()
        else:
            return


def _sifted(job: Job, shard: Shard) -> Future[Tally]:
    """What a shard gave, or why it could not be read: told when it is its turn, as any other's."""
    future: Future[Tally] = Future()
    try:
        future.set_result(sift(job, shard))
    except Exception as error:
        future.set_exception(error)
    return future
