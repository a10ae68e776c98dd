"""The queue before the engine: bounded, and fair among clients, each of which is a key or an address.

Clients take turns, however many questions each has sent. If the queue is full, the newest question of the
client with the most waiting ones gives way to a client with fewer.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import OrderedDict, deque

from mathloop.serving import metrics
from mathloop.serving.refusals import Refused

LONGEST_RETRY = 60.0
"""Seconds after which a refused client is told to ask again, at most; before jitter."""


class Queue:
    """Admits questions of the weight `parallel` to the engine, and lets `length` more wait."""

    def __init__(self, parallel: int, length: int) -> None:
        self._parallel, self._length = parallel, length
        self._lines: OrderedDict[str, deque[Place]] = OrderedDict()
        """Client → its places that wait; the first client is the next."""
        self.running = 0
        self._weight = 0.0
        """Of those that are running."""
        self._recent: deque[float] = deque(maxlen=16)
        """Seconds that the latest questions took at the engine."""

    @property
    def waiting(self) -> int:
        return sum(map(len, self._lines.values()))

    @property
    def inside(self) -> int:
        """Questions that wait or are at the engine."""
        return self.running + self.waiting

    @property
    def busy(self) -> bool:
        """Whether there are other questions than one."""
        return self.inside > 1

    def enter(self, client: str, weight: float = 1.0) -> Place:
        """A place, which must be left again. Raises Refused (429, with Retry-After) if the queue is full.

        `weight` is above 0 and at most 1: one sample takes less of the engine than eight.
        """
        if self.waiting >= self._length and (self._lines or not self._has_room(weight)):
            self._make_way(client)
        place = Place(self, client, self.inside, weight)
        self._lines.setdefault(client, deque()).append(place)
        self._advance()
        return place

    def ahead_of(self, place: Place) -> int:
        """Questions that have their turn before this one, if nobody comes or leaves; 0 if it has had it."""
        line = self._lines.get(place.client, ())
        if place not in line:
            return 0
        index, before, ahead = line.index(place), True, self.running
        for client, others in self._lines.items():
            before = before and client != place.client
            ahead += min(len(others), index + before)
        return ahead

    def leave(self, place: Place) -> None:
        """Only `Place` calls it."""
        if place.began is None:
            line = self._lines.get(place.client)
            if line is not None and place in line:
                line.remove(place)
                if not line:
                    del self._lines[place.client]
        else:
            self.running -= 1
            self._weight = self._weight - place.weight if self.running else 0.0
            self._recent.append(time.monotonic() - place.began)
        self._advance()

    def _advance(self) -> None:
        """Gives turns, to one client after the other."""
        while self._lines:
            client, line = next(iter(self._lines.items()))
            place = line[0]
            if not self._has_room(place.weight):
                break  # nobody overtakes the next one, however little they ask for
            del self._lines[client]
            line.popleft()
            if line:
                self._lines[client] = line  # at the end
            self.running += 1
            self._weight += place.weight
            place.begin()
        metrics.QUEUE.set(self.waiting)

    def _has_room(self, weight: float) -> bool:
        return self._weight + weight <= self._parallel + 1e-9  # a sum of eighths may be rounded

    def _make_way(self, client: str) -> None:
        """Refuses the newest question of the client with the most, or raises for this client's own."""
        longest = max(self._lines.values(), key=len, default=deque[Place]())
        own = len(self._lines.get(client, ()))
        if len(longest) <= own + 1:
            raise self._full()
        longest[-1].refuse(self._full())
        self.leave(longest[-1])

    def _full(self) -> Refused:
        usual = sum(self._recent) / len(self._recent) if self._recent else 1.0
        wait = min(max(usual * self.inside / max(self.running, 1), 1.0), LONGEST_RETRY)
        # Jitter: clients that were refused together do not come back together.
        seconds = math.ceil(wait * random.uniform(1.0, 2.0))
        message = f"the queue is full ({self.inside} questions); ask again later"
        return Refused(429, message, code="queue_full", retry_after=seconds)


class Place:
    """One question's place in a queue."""

    def __init__(self, queue: Queue, client: str, ahead: int, weight: float) -> None:
        self._queue, self.client, self.weight = queue, client, weight
        self.ahead = ahead
        """Questions inside when it came."""
        self.began: float | None = None
        self._turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = False

    async def turn(self) -> None:
        """Returns when the question may go to the engine. Raises Refused if it had to give way."""
        await asyncio.shield(self._turn)

    def begin(self) -> None:
        """Its turn has come."""
        self.began = time.monotonic()
        if not self._turn.done():
            self._turn.set_result(None)

    def refuse(self, refused: Refused) -> None:
        """It has to give way."""
        self._turn.set_exception(refused)
        self._turn.exception()  # seen, also if nobody waits any more

    def leave(self) -> None:
        """Frees the place; a second call does nothing."""
        if not self._left:
            self._left = True
            self._queue.leave(self)
