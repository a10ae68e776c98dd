"""From a question to its answer: queue, responses, rewards and the vote, within a deadline."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from dataclasses import replace

from mathloop.errors import MathloopError
from mathloop.records import Response
from mathloop.serving import metrics, tracing
from mathloop.serving.answer import Answer, Work
from mathloop.serving.clients import current_client
from mathloop.serving.comparing import Comparer
from mathloop.serving.config import SolverConfig
from mathloop.serving.engines import Engine
from mathloop.serving.freed_memory import return_memory
from mathloop.serving.progress import is_listening, report, report_responses, report_rewards
from mathloop.serving.questions import Question
from mathloop.serving.queueing import Place, Queue
from mathloop.serving.refusals import Refused
from mathloop.serving.request_ids import log_fields
from mathloop.voting import STRATEGIES, choose
from mathloop.voting.adaptive import THRESHOLD, leader_stays, next_count

MOST_CHECK_SECONDS = 20.0
USUAL_SAMPLES = 8
"""A question with fewer takes less than one of the engine's places: so many greedy ones take one together."""
TRIM_SECONDS = 60.0
"""Pause between two times that freed memory is given back."""
QUEUE_SECONDS = 1.0
"""Pause between two looks at the place in the queue."""
PAUSE_SECONDS = 10.0
"""For so long after a failure the reward model is not asked: questions do not wait for it one by one."""
LOG = logging.getLogger("mathloop.serving")


class Solver:
    """Answers questions with one engine."""

    def __init__(self, engine: Engine, config: SolverConfig) -> None:
        self.engine, self.config = engine, config
        self.prepared = False
        """Whether the models are loaded, and questions are taken."""
        self._comparer = Comparer(config.compare_seconds)
        self._fault: Refused | None = None
        self._no_rewards_before = -math.inf
        """Until then, the reward model that has just failed is not asked."""
        self._queue = Queue(engine.parallel, config.queue)

    async def prepare(self) -> None:
        """Raises Refused while the engine cannot answer."""
        await self.engine.prepare()
        self.prepared = True

    @property
    def ready(self) -> bool:
        """Whether all parts answered when they were last checked."""
        return self.prepared and self._fault is None

    @property
    def fault(self) -> str | None:
        """Why it is not ready, for clients."""
        return self._fault.message if self._fault else None if self.prepared else "the models are loading"

    async def watch(self) -> None:
        """Checks the engine's parts again and again: the solver is ready only while all answer."""
        await self._comparer.start()
        trimmed = time.monotonic()
        while True:
            await self.check()
            if time.monotonic() > trimmed + TRIM_SECONDS:
                await asyncio.to_thread(return_memory)
                trimmed = time.monotonic()
            await asyncio.sleep(self.config.check_seconds)

    async def close(self) -> None:
        """Frees what it and the engine hold."""
        await self._comparer.close()
        await self.engine.close()

    async def check(self) -> None:
        """Checks the engine's parts once."""
        before, self._fault = self._fault, await self._find_fault()
        if self._fault is not None and before is None:
            LOG.warning("not ready: %s", self._fault.detail)
        elif self._fault is None and before is not None:
            LOG.warning("ready again")

    async def _find_fault(self) -> Refused | None:
        try:
            async with asyncio.timeout(MOST_CHECK_SECONDS):
                await self.engine.check()
        except Refused as refused:
            return refused
        except TimeoutError:
            return Refused(503, f"a part does not answer within {MOST_CHECK_SECONDS:g} seconds")
        except Exception as error:
            LOG.exception("the check of the engine failed")
            return Refused(503, "a part fails", detail=str(error))
        return None

    def ask(self, question: Question) -> asyncio.Task[Answer]:
        """A task that works on the answer; cancelling it stops the work. The task raises only Refused.

        Raises Refused at once if the queue is full or the engine is not ready.
        """
        if not self.prepared:
            raise Refused(
                503, "the models are still loading; ask again later", code="not_ready", retry_after=5
            )
        weight = min(1.0, question.samples / USUAL_SAMPLES)
        place = self._queue.enter(current_client().name, weight)
        task = asyncio.create_task(self._observe(question, place))
        task.add_done_callback(lambda _: place.leave())  # also if the task was cancelled before it began
        return task

    async def _observe(self, question: Question, place: Place) -> Answer:
        started, status = time.monotonic(), "cancelled"
        try:
            with tracing.question_span(
                strategy=question.strategy, mode=question.mode, samples=question.samples
            ):
                answer = await self._answer(question, place)
            status = "ok"
            return answer
        except Refused as refused:
            status = str(refused.status)
            if refused.status >= 500:
                LOG.warning("%s", refused.detail)
            raise
        except MathloopError as error:
            status = "500"
            LOG.error("a question failed: %s", error)
            raise Refused(500, "answering failed; see the server's log", code="internal_error") from None
        except Exception:
            status = "500"
            LOG.exception("a question failed")
            raise Refused(500, "answering failed; see the server's log", code="internal_error") from None
        finally:
            seconds = time.monotonic() - started
            metrics.SECONDS.labels(question.strategy, question.mode, status).observe(seconds)
            key = {} if (name := current_client().key) is None else {"key": name}
            fields = {
                **key,
                "strategy": question.strategy,
                "mode": question.mode,
                "samples": question.samples,
            }
            LOG.info(json.dumps({**fields, **log_fields(), "status": status, "seconds": round(seconds, 3)}))

    async def _answer(self, question: Question, place: Place) -> Answer:
        started = time.monotonic()
        work = Work(question)
        try:
            async with asyncio.timeout(self.config.deadline):
                with tracing.span("queue"):
                    await self._turn(place)
                report("draw")
                work.seconds["queue"] = time.monotonic() - started
                metrics.QUEUE_SECONDS.observe(work.seconds["queue"])
                await self._vote(work, place, started)
        except TimeoutError:
            message = f"no answer within {self.config.deadline:g} seconds; ask for fewer samples or tokens"
            raise Refused(504, message, code="deadline_exceeded") from None
        metrics.TOKENS.inc(work.generation.completion_tokens)
        metrics.CANDIDATES.inc(len(work.responses))
        metrics.SAVED.inc(question.samples - len(work.responses))
        chosen = choose(work.strategy, work.candidates)
        rank = STRATEGIES[work.strategy].rank
        ordered = sorted(work.candidates, key=lambda one: (one is not chosen, -rank(one)))
        work.seconds["total"] = time.monotonic() - started
        reasons = (*work.lost, *work.rough)
        return Answer(question, chosen, ordered, work.generation, work.strategy, reasons, work.seconds)

    async def _turn(self, place: Place) -> None:
        """Waits for the turn, and tells the place in the queue meanwhile. Raises Refused."""
        report("queue", ahead=place.ahead)
        if not is_listening():
            await place.turn()
            return
        turn = asyncio.ensure_future(place.turn())
        told = place.ahead
        try:
            while not (await asyncio.wait({turn}, timeout=QUEUE_SECONDS))[0]:
                if (ahead := self._queue.ahead_of(place)) != told:
                    report("queue", ahead=ahead)
                    told = ahead
            turn.result()
        finally:
            turn.cancel()

    async def _vote(self, work: Work, place: Place, started: float) -> None:
        """Draws, scores and groups responses: all at once, or in small batches until the vote is settled."""
        question = work.question
        adaptive = question.adaptive if question.adaptive is not None else self._queue.busy
        comparing = self.config.compare_seconds
        while (left := question.samples - len(work.responses)) > 0:
            marks = [time.monotonic()]
            count = next_count(len(work.responses), question.samples) if adaptive else left
            count = max(count, question.choices - len(work.responses))
            with tracing.span("sampling", samples=count):
                work.add(await self.engine.draw(question, len(work.responses), count))
            report_responses(work.responses[-count:], len(work.responses) - count)
            marks.append(time.monotonic())
            last = count == left
            if last and self.engine.scores_apart:
                place.leave()
            fresh = work.responses[-count:]
            scored, lost = ([], work.lost) if work.lost else await self._score(question, fresh, started)
            work.responses[-count:] = scored or fresh
            report_rewards(scored, len(work.responses) - count)
            work.lost = lost
            marks.append(time.monotonic())
            for part, start, end in zip(("draw", "reward"), marks, marks[1:], strict=False):
                work.seconds[part] += end - start
            if last:
                place.leave()
            elif work.rough:
                continue  # comparing has had its time: the last look decides
            with tracing.span("comparing"):
                work.candidates, work.rough = await self._comparer.group(work.responses, max(comparing, 0.0))
            comparing -= time.monotonic() - marks[-1]
            if leader_stays(work.strategy, work.candidates, left - count) >= THRESHOLD:
                return

    async def _score(
        self, question: Question, responses: list[Response], started: float
    ) -> tuple[list[Response], tuple[str, ...]]:
        """The responses with their rewards; as they are, with the reason, if the reward model fails."""
        if STRATEGIES[question.strategy].needs != "rewards":
            return responses, ()
        now = time.monotonic()
        left = started + self.config.deadline - now
        reason = "the reward model is unavailable"
        if now < self._no_rewards_before:
            return responses, self._degraded(question, reason)
        seconds = min(self.config.reward_seconds, left - min(1.0, 0.1 * self.config.deadline))
        try:
            async with asyncio.timeout(seconds) as limit:
                with tracing.span("scoring", responses=len(responses)):
                    rewards = await self.engine.rewards(question, responses)
        except TimeoutError:
            if not limit.expired():
                raise
            reason = f"the reward model did not answer within {max(seconds, 0):.0f} seconds"
            detail = reason
        except Refused as refused:
            detail = refused.detail
            if refused.status < 500:  # it dislikes this question alone
                LOG.warning("%s", detail)
                return responses, self._degraded(question, "the reward model refuses the responses")
        except MathloopError as error:
            detail = str(error)
        else:
            pairs = zip(responses, rewards, strict=True)
            return [replace(response, reward=reward) for response, reward in pairs], ()
        LOG.warning("%s", detail)
        self._no_rewards_before = time.monotonic() + PAUSE_SECONDS
        return responses, self._degraded(question, reason)

    def _degraded(self, question: Question, reason: str) -> tuple[str, ...]:
        metrics.DEGRADED.inc()
        return (f"{reason}: maj instead of {question.strategy}",)
