"""Answers are compared in processes that can be killed: in bounded time, whatever they are."""

from __future__ import annotations

import asyncio

from mathloop.serving.comparing import SAME, Comparer
from mathloop.voting import Group, group_answers
from tests.unit.serving.standins import response


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
        finally:
            await comparer.close()

    asyncio.run(run())
