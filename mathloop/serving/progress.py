"""Progress of a question: events for the client that streams it, from wherever the work is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from mathloop.records import Response

TEXT = "text"
"""Stage of the events that are pieces of the response itself."""
_CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


class Progress:
    """The events of one question that its stream has not sent yet."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._any = asyncio.Event()
        self._stages: tuple[str, ...] = ()

    def listen(self) -> None:
        """From now on, tasks that this one begins report to it."""
        _CURRENT.set(self)

    def only(self, *stages: str) -> None:
        """Events of other stages than these are left out."""
        self._stages = stages

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        self._any.clear()
        return events

    async def wait(self) -> None:
        """Returns once there is an event."""
        await self._any.wait()

    def add(self, event: dict[str, Any]) -> None:
        """Adds an event, on the event loop."""
        if self._stages and event["stage"] not in self._stages:
            return
        self._events.append(event)
        self._any.set()


def is_listening() -> bool:
    """Whether the current question's client asked for progress."""
    return _CURRENT.get() is not None


def text_sender() -> Callable[[str], None]:
    """Tells the current question's client a piece of its response; to be called on the event loop."""
    progress = _CURRENT.get()

    def send(text: str) -> None:
        if progress is not None:
            progress.add({"stage": TEXT, "text": text})

    return send


def report(stage: str, **fields: Any) -> None:
    """Tells the client of the current question, if it asked for progress."""
    progress = _CURRENT.get()
    if progress is not None:
        progress.add({"stage": stage, **fields})


def report_responses(responses: Sequence[Response], begin: int) -> None:
    """One event per response; they are numbered from `begin` on."""
    for number, response in enumerate(responses, begin):
        report(
            "response",
            number=number,
            answer=response.answer,
            finish_reason=response.finish_reason,
            tokens=response.tokens,
            text=response.text,
        )


def report_rewards(responses: Sequence[Response], begin: int) -> None:
    """The rewards of the responses from number `begin` on, if they have some."""
    rewards = [response.reward for response in responses]
    if any(reward is not None for reward in rewards):
        report("rewards", begin=begin, rewards=rewards)
