"""Equal answers grouped in worker processes, within a bound of time that holds for any answers.

A worker can be killed while it computes; a thread cannot, and a long one holds the event loop's lock. Votes
over integers, and over one text, are grouped here at once. As a program, this file is the worker: a JSON list
of answers per line in, the number of each one's group out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mathloop.records import Response
from mathloop.voting import Group, group_answers, is_plain

WORKERS = 2
MEMORY_BYTES = 2 << 30
SAME = ["\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}"]
"""Two answers that take a proof to be known as equal: a worker compares them before it is ready."""
LOG = logging.getLogger("mathloop.serving")


class Comparer:
    """Groups the responses of a question. Its workers start when needed, and again after their death."""

    def __init__(self, seconds: float) -> None:
        """`seconds` bounds one comparison, the wait for a worker included."""
        self.seconds = seconds
        self._idle: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
        self._workers: set[asyncio.subprocess.Process] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Starts the workers; returns once they are ready."""
        self._start_missing()
        await asyncio.gather(*self._starting, return_exceptions=True)

    async def group(
        self, responses: Sequence[Response], seconds: float | None = None
    ) -> tuple[list[Group[Response]], tuple[str, ...]]:
        """The groups as `group_answers` returns them, and what is missing: equal ones may be apart.

        `seconds` is what is left of the bound, where some of it is used up.
        """
        texts = [(one.answer or "").strip() for one in responses]
        if is_plain(set(texts) - {""}):
            return group_answers(responses), ()
        try:
            async with asyncio.timeout(self.seconds if seconds is None else seconds):
                labels = await self._ask(texts)
        except (TimeoutError, OSError, EOFError, ValueError):
            reason = f"the answers could not be compared within {self.seconds:g} s: grouped as written"
            return _grouped(responses, texts), (reason,)
        return _grouped(responses, labels), ()

    async def close(self) -> None:
        """Ends the workers; no other ones start."""
        self._closed = True
        starting, workers = list(self._starting), list(self._workers)
        for task in starting:
            task.cancel()
        for worker in workers:
            self._kill(worker)
        await asyncio.gather(*starting, return_exceptions=True)
        await asyncio.gather(*self._ending, return_exceptions=True)  # of the killed ones, earlier too

    async def _ask(self, texts: list[str]) -> list[int]:
        if self._closed:
            raise EOFError("the workers have ended")
        self._start_missing()
        worker = await self._idle.get()
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            worker.stdin.write(json.dumps(texts).encode() + b"\n")
            line = await worker.stdout.readline()
            if not line:
                raise EOFError("the worker died")
            labels: list[int] = json.loads(line)
        except BaseException:  # also a question that nobody waits for any more
            self._kill(worker)
            self._start_missing()
            raise
        self._idle.put_nowait(worker)
        return labels

    def _start_missing(self) -> None:
        if self._closed:
            return
        starting = sum(not task.done() for task in self._starting)
        for _ in range(WORKERS - len(self._workers) - starting):
            task = asyncio.create_task(self._start_one())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start_one(self) -> None:
        search = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        try:
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mathloop.serving.comparing"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            LOG.warning("no process to compare answers: %s", error)
            return
        assert worker.stdout is not None
        try:
            if not await worker.stdout.readline():
                raise EOFError
        except BaseException as error:
            self._kill(worker)
            if isinstance(error, EOFError):
                LOG.warning("a process to compare answers does not start")
                return
            raise
        self._workers.add(worker)  # not before: one that starts would count twice, and a dead one be missed
        self._idle.put_nowait(worker)

    def _kill(self, worker: asyncio.subprocess.Process) -> None:
        self._workers.discard(worker)
        with suppress(ProcessLookupError):
            worker.kill()
        ending = asyncio.create_task(_ended(worker))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def _ended(worker: asyncio.subprocess.Process) -> None:
    """Returns once a killed worker's pipes are closed too: a pipe must not outlive its event loop."""
    assert worker.stdout is not None
    await worker.wait()
    with suppress(RuntimeError):  # the question that is reading sees the end itself, and waits for it
        await worker.stdout.read()


def _grouped(responses: Sequence[Response], labels: Sequence[str | int]) -> list[Group[Response]]:
    """Responses of one label together, in the order of their first ones; those without an answer apart."""
    members: dict[object, list[Response]] = {}
    for response, label in zip(responses, labels, strict=True):
        members.setdefault(label if (response.answer or "").strip() else None, []).append(response)
    return [
        Group(None if label is None else together[0].answer, tuple(together))
        for label, together in members.items()
    ]


@dataclass(frozen=True)
class _Answer:
    answer: str | None
    place: int
    reward: float | None = None


def _labels(texts: Sequence[str]) -> list[int]:
    labels = [0] * len(texts)
    answers = [_Answer(text or None, place) for place, text in enumerate(texts)]
    for number, group in enumerate(group_answers(answers)):
        for one in group.responses:
            labels[one.place] = number
    return labels


def main() -> None:
    """Compares until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _labels(SAME)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_labels(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
