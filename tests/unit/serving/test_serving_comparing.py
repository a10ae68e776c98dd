"""Answers are compared in processes that can be killed: in bounded time, whatever they are."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from mathloop.serving import solver
from mathloop.serving.comparing import SAME, Comparer
from mathloop.serving.config import SolverConfig
from mathloop.serving.freed_memory import return_memory
from mathloop.serving.questions import Question
from mathloop.voting import Group, group_answers
from tests.unit.serving.standins import ScriptedEngine, response
from tests.unit.serving.test_serving_routes import Served


def answers(groups: list[Group]) -> list[list[str | None]]:  # type: ignore[type-arg]
    return [[one.answer for one in group.responses] for group in groups]


def test_groups_are_those_of_the_vote_and_what_takes_too_long_is_grouped_as_written() -> None:
    voters = [response(text) for text in ("1/2", None, "0.5", *SAME, "x = 1/2", None)]
    plain = [response(text) for text in ("7", "8", None, " 7 ")]

    async def run() -> None:
        comparer = Comparer(60)
        try:
            assert answers((await comparer.group(plain))[0]) == [["7", " 7 "], ["8"], [None]]
            assert not comparer._workers  # integers need no process
            groups, missing = await comparer.group(voters)
            assert (answers(groups), missing) == (answers(group_answers(voters)), ())
            busy = set(comparer._workers)
            comparer.seconds = 1e-6
            groups, missing = await comparer.group(voters)
            assert answers(groups) == [
                ["1/2"],
                [None, None],
                ["0.5"],
                *([text] for text in SAME),
                ["x = 1/2"],
            ]
            assert missing == ("the answers could not be compared within 1e-06 s: grouped as written",)
            comparer.seconds = 60
            for worker in busy:  # as the kernel does where memory runs out
                if worker.returncode is None:
                    worker.kill()
            await comparer.group(voters)
            await comparer.group(voters)
            assert (await comparer.group(voters))[1] == ()
        finally:
            await comparer.close()

    asyncio.run(run())


def test_while_one_worker_starts_the_other_ones_death_is_made_good() -> None:
    """Else a question could wait its whole bound for a worker that nobody starts."""

    async def run() -> None:
        comparer = Comparer(60)
        try:
            comparer._start_missing()
            first = await comparer._idle.get()  # one of the two may still be starting
            second = set(comparer._starting)
            comparer._kill(first)
            comparer._start_missing()
            assert len(comparer._starting - second) == 1  # in the place of the killed one
            assert len(comparer._ending) == 1
        finally:
            await comparer.close()
        assert not comparer._ending  # all are waited for: a pipe that outlives its event loop is an error

    asyncio.run(run())


def test_a_comparison_that_nobody_waits_for_is_killed_and_the_loop_is_free() -> None:
    awkward = [response(f"{{{{{n}}}^{{{n}}}}}^{{x_{n}}}+\\sqrt[{n}]{{x+{n}}}") for n in range(2, 66)]

    async def run() -> None:
        comparer = Comparer(60)
        try:
            await comparer.start()
            before = set(comparer._workers)
            task = asyncio.create_task(comparer.group([*awkward, response(SAME[0])]))
            while comparer._idle.qsize() == 2:
                await asyncio.sleep(0)  # the event loop runs meanwhile
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert len(before & comparer._workers) == 1
            last = asyncio.create_task(comparer.group([*awkward, response(SAME[0])]))
            while comparer._idle.qsize() == 1:
                await asyncio.sleep(0)
        finally:
            await comparer.close()
        # Its pipes are closed, and no other worker begins: both would outlive the event loop.
        assert all(worker._transport.is_closing() for worker in before)
        assert (await last)[1]
        assert not comparer._workers | comparer._starting

    asyncio.run(run())


def test_draws_after_a_comparison_that_took_too_long_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(solver, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    monkeypatch.setattr(solver, "leader_stays", lambda *_: 0.8)

    async def roughly(voters: list[Any], seconds: float) -> tuple[list[Any], tuple[str, ...]]:
        return group_answers(voters), ("grouped as written",)

    async def run() -> dict[str, float]:
        engine = ScriptedEngine(["7", "8"])
        one = solver.Solver(engine, SolverConfig())
        monkeypatch.setattr(one._comparer, "group", roughly)
        await one.prepare()
        answer = await one.ask(Question("3+4?", "maj", 8, "cot", 1.0, 1.0, 7, 64, adaptive=True))
        assert engine.counts == [2, 1, 1, 1, 1, 1, 1]
        return answer.seconds

    seconds = asyncio.run(run())
    assert (seconds["draw"], seconds["reward"]) == (7.0, 7.0)  # one tick each


def test_freed_memory_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = threading.Event()
    monkeypatch.setattr(solver, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(solver, "return_memory", given_back.set)

    async def run() -> None:
        one = solver.Solver(ScriptedEngine(["7"]), SolverConfig(check_seconds=0.01))
        watching = asyncio.create_task(one.watch())
        assert await asyncio.to_thread(given_back.wait, 60)
        watching.cancel()
        await one.close()

    asyncio.run(run())
    return_memory()  # whatever the C library


def test_no_pipe_of_a_worker_outlives_its_servers_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(ScriptedEngine(["\\frac{7}{2}", "\\sqrt{2}", "3.5"]), SolverConfig(compare_seconds=60))
    votes = served.ask(samples=3, strategy="maj").json()["mathloop"]["candidates"][0]["votes"]
    served.close()
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: raised.append(error.exc_value))
    del served
    gc.collect()
    assert (votes, raised) == (2, [])
