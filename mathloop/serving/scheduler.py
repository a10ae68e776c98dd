"""The thread in which the local models work: decoding steps and batches of rewards, of all questions."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from mathloop.errors import BadConfig
from mathloop.models.memory import if_it_fits
from mathloop.models.packing import Sample, share_prompts
from mathloop.models.reward_model import RewardModel
from mathloop.sampling.continuous import ContinuousDecoder
from mathloop.sampling.draws import Draw
from mathloop.sampling.operators import decoding_operators
from mathloop.sampling.scoring import forward
from mathloop.sampling.shared_steps import PlainStep
from mathloop.sampling.token_steps import has_plain_layers

SCORED_TOKENS = 8_192
"""Tokens that the reward model reads between two decoding steps."""
USUAL_ROWS = 16
"""Sequences for which weights are packed."""
PATIENCE_SECONDS = 0.02
"""Pause before the next try where no sequence could go on."""
TOOL_THREADS = 16
"""Interpreters that may be waited for; the sandbox bounds how many run."""


@dataclass(eq=False)
class Scoring:
    """Dialogues to score; `done` is called once with their rewards or an error."""

    samples: Sequence[Sample]
    """With a common prompt."""
    done: Callable[[list[float] | Exception], None]
    stopped: Callable[[], bool]
    """Whether nobody waits for it: `done` is then not called."""
    rewards: list[float | None] = field(init=False)

    def __post_init__(self) -> None:
        self.rewards = [None] * len(self.samples)


class Scheduler:
    """Draws and scores, until it is closed; its thread starts with the first work."""

    def __init__(
        self, policy: Any, end_tokens: frozenset[int], reward_model: RewardModel | None, tokens_at_once: int
    ) -> None:
        self._policy, self._reward_model = policy, reward_model
        self._tools = ThreadPoolExecutor(TOOL_THREADS, thread_name_prefix="tools")
        self._plain = has_plain_layers(policy)
        self._decoder = ContinuousDecoder(
            policy,
            end_tokens,
            tokens_at_once=tokens_at_once,
            tools=self._tools,
            step=PlainStep(policy, USUAL_ROWS) if self._plain else None,
        )
        self._decoder.on_tool = self.wake
        self._scored_tokens = SCORED_TOKENS
        self._scorings: deque[Scoring] = deque()
        self._changed = threading.Condition()
        self._arrived: list[Draw | Scoring] = []
        self._closed = False
        self._thread: threading.Thread | None = None
        self._given_up: float | None = None

    def add(self, work: Draw | Scoring) -> None:
        """From any thread."""
        with self._changed:
            self._arrived.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
                self._thread.start()
            self._changed.notify()

    def wake(self) -> None:
        """Looks again at what there is to do."""
        with self._changed:
            self._changed.notify()

    def give_up(self) -> None:
        """Somebody's work has been stopped: it ends before the next step."""
        self._given_up = self._given_up or time.monotonic()
        self.wake()

    @property
    def stuck_seconds(self) -> float:
        """For so long, work that was stopped has not ended."""
        since = self._given_up
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Ends the thread; what it was working on fails."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._tools.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        # Plain steps have weights of their own; prompts are long enough for the model's.
        with nullcontext() if self._plain else decoding_operators(self._policy, USUAL_ROWS):
            while self._take():
                self._given_up = None
                if self._scorings:
                    self._score()
                if not self._decoder.empty and not self._decoder.step() and not self._scorings:
                    with self._changed:  # all wait for an interpreter, and there is no room for others
                        self._changed.wait(PATIENCE_SECONDS)
        error = RuntimeError("the engine is closed")
        self._decoder.fail(error)
        for scoring in self._scorings:
            scoring.done(error)

    def _take(self) -> bool:
        """Waits for work, and sorts in what has arrived; False once closed."""
        with self._changed:
            while not (self._closed or self._arrived or self._scorings or not self._decoder.idle):
                self._given_up = None
                self._changed.wait()
            arrived, self._arrived = self._arrived, []
        for work in arrived:
            if isinstance(work, Draw):
                self._decoder.add(work)
            else:
                self._scorings.append(work)
        return not self._closed

    def _score(self) -> None:
        """One packed row, with the dialogue that waits for longest."""
        self._scorings = deque(one for one in self._scorings if not one.stopped())
        places = [
            (one, at) for one in self._scorings for at, value in enumerate(one.rewards) if value is None
        ]
        if not places:
            return
        samples = [one.samples[at] for one, at in places]
        groups: dict[int, list[int]] = {}
        for index, (one, _) in enumerate(places):
            groups.setdefault(id(one), []).append(index)
        batches = share_prompts(list(groups.values()), samples, self._scored_tokens)
        chosen = next(batch for batch in batches if 0 in batch)
        model = self._reward_model
        assert model is not None
        try:
            values = if_it_fits(lambda: forward(model, [samples[index] for index in chosen]))
            if values is None and len(chosen) == 1:
                raise BadConfig("out of memory with one response to score: take a smaller reward model")
        except Exception as error:
            self._settle({id(places[index][0]) for index in chosen}, error)
            return
        if values is None:
            total = sum(len(samples[index].tokens) for index in chosen)
            self._scored_tokens = max(1, min(self._scored_tokens, total) // 2)
            return
        for index, value in zip(chosen, values, strict=True):
            one, at = places[index]
            one.rewards[at] = value
        self._settle({id(one) for one in self._scorings if None not in one.rewards}, None)

    def _settle(self, ended: set[int], error: Exception | None) -> None:
        """Takes scorings out, with this error or with their rewards."""
        gone = [one for one in self._scorings if id(one) in ended]
        self._scorings = deque(one for one in self._scorings if id(one) not in ended)
        for one in gone:
            one.done(error or [value for value in one.rewards if value is not None])
