"""The engine that runs the models in this process: questions are batched together, step by step."""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mathloop.errors import BadModel, SandboxError
from mathloop.models.loading import load_policy, load_reward_model
from mathloop.models.reward_model import RewardModel
from mathloop.models.tokenizers import end_tokens
from mathloop.records import Mode, Response
from mathloop.registry import Champion, Registry
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import Decoded
from mathloop.sampling.draws import Draw
from mathloop.sampling.interpreter import Interpreter
from mathloop.sampling.own_cache import shares_caches
from mathloop.sampling.stopping import stop_at
from mathloop.sandbox import Sandbox, SandboxConfig
from mathloop.serving import metrics, tracing
from mathloop.serving.config import SolverConfig
from mathloop.serving.engines import Generation
from mathloop.serving.local_texts import LocalTexts
from mathloop.serving.progress import text_sender
from mathloop.serving.questions import MODES, Question
from mathloop.serving.refusals import UNAVAILABLE, Refused
from mathloop.serving.sandbox_probe import SandboxProbe
from mathloop.serving.scheduler import Scheduler, Scoring
from mathloop.serving.token_logprobs import of_decoded
from mathloop.serving.token_stream import TokenStream
from mathloop.storage import open_store

Result = TypeVar("Result")

TEXT_THREADS = 2
SHORT = 2_000
"""Characters of a prompt that is read on the event loop; of responses, a fourth as many tokens. At the bound
either takes a millisecond of a slow core, and most are far shorter: no thread is woken and waited for."""
WORKERS = 2
"""Programs of responses that run at the same time."""
STUCK_SECONDS = 10.0
"""Work that goes on for longer after it was cancelled is stuck: the engine is not ready."""
LOG = logging.getLogger("mathloop.serving")


class LocalEngine:
    """A policy and an optional reward model in this process."""

    scores_apart = False

    def __init__(
        self,
        name: str,
        policy: tuple[Any, Any],
        reward_model: tuple[RewardModel, Any] | None,
        config: SolverConfig,
    ) -> None:
        self.name = name
        self.parallel = config.parallel
        self.modes: tuple[Mode, ...] = MODES
        self._model, self._tokenizer = policy
        if not shares_caches(self._model):
            kind = self._model.config.model_type
            raise BadModel(
                f"the layers of model_type {kind!r} keep a state, or another cache, which questions "
                "cannot share in one batch: serve it with vLLM, and name that server by --policy-url"
            )
        self._scorer = reward_model
        self._config = config
        self._language = LocalTexts(
            self._model, self._tokenizer, None if reward_model is None else reward_model[1]
        )
        self._ends = ends = end_tokens(self._tokenizer, getattr(self._model, "generation_config", None))
        scorer = None if reward_model is None else reward_model[0]
        self._scheduler = Scheduler(self._model.eval(), ends, scorer, config.tokens_at_once)
        self._texts = ThreadPoolExecutor(TEXT_THREADS, thread_name_prefix="texts")
        """Tokens of prompts and answers of responses, off the event loop and off the models' thread."""
        self._sandbox: Sandbox | None = None
        self._starting = threading.Lock()
        self._probe: SandboxProbe | None = None

    @classmethod
    def load(cls, policy: Path, reward_model: Path | None, config: SolverConfig, name: str) -> LocalEngine:
        """Loads model folders. Raises BadModel."""
        loaded_policy = load_policy(policy)
        loaded_reward_model = None if reward_model is None else load_reward_model(reward_model)
        return cls(name, loaded_policy, loaded_reward_model, config)

    @classmethod
    def load_champion(cls, store_url: str, config: SolverConfig) -> tuple[LocalEngine, Champion]:
        """Fetches a store's champion, verified by checksums, and loads it; keeps no copy on disk.

        Raises:
            BadModel: there is no champion, or one of its models is missing.
            Corrupt: a file differs from what was published.
            StorageRefused: the store cannot be read.
        """
        store = open_store(store_url)
        registry = Registry(store)
        champion = registry.current()
        if champion is None:
            raise BadModel(
                f"{store.url} has no champion yet; make one with `mathloop run`, or use another store"
            )
        registry.check_models(champion)
        with tempfile.TemporaryDirectory(prefix="mathloop-champion-") as folder:
            policy = Path(folder) / "policy"
            store.fetch(champion.policy, policy)
            reward_model = None
            if champion.reward_model is not None:
                reward_model = Path(folder) / "reward_model"
                store.fetch(champion.reward_model, reward_model)
            name = f"champion {champion.number} (round {champion.round_id})"
            return cls.load(policy, reward_model, config, name), champion

    @property
    def has_reward_model(self) -> bool:
        return self._scorer is not None

    async def prepare(self) -> None:
        """The models are loaded already; without a sandbox, questions are answered in CoT only."""
        try:
            self._probe = await asyncio.to_thread(SandboxProbe)
        except SandboxError as error:
            self.modes = ("cot",)
            LOG.warning("no tir: %s", error)

    async def check(self) -> None:
        if self._scheduler.stuck_seconds > STUCK_SECONDS:
            message = "the policy is unavailable; try again later"
            raise Refused(
                503, message, code=UNAVAILABLE, retry_after=5, detail="work that was cancelled does not end"
            )
        if self._probe is not None:
            await self._probe.check()

    async def draw(self, question: Question, begin: int, count: int) -> Generation:
        length = len(question.problem) + sum(len(turn.content) for turn in question.earlier)
        prompt, stop = await self._with_texts(
            lambda: (self._language.encode(question), stop_at(self._tokenizer, question.stop)),
            short=length <= SHORT and not question.stop,
        )
        limit = self._language.limit(question, len(prompt))
        settings = SamplingConfig(max_tokens=limit, top_p=question.top_p, stop=question.stop)
        interpreter, tool = None, None
        if question.mode == "tir":
            interpreter = Interpreter(self._tokenizer, await self._with_texts(self._started_sandbox))
            tool = await self._with_texts(lambda: interpreter.tool(settings))
            tool = replace(tool, run=tracing.traced("sandbox", tool.run))

        heard = self._heard(question) if question.by_token else None

        def work(gone: Callable[[], bool], done: Callable[[list[Decoded] | Exception], None]) -> Draw:
            if interpreter is not None:
                interpreter.stopped = gone
            return Draw(
                prompt=tuple(prompt),
                samples=count,
                max_tokens=limit,
                temperature=question.temperature,
                top_p=question.top_p,
                seed=question.seed,
                done=done,
                first=begin,
                tool=tool,
                stop=stop,
                stopped=gone,
                likeliest=question.likeliest,
                heard=heard,
            )

        try:
            decoded = await self._scheduled(work)
        finally:
            if interpreter is not None:
                interpreter.forget()
                metrics.TIMEOUTS.inc(interpreter.timeouts)
        responses = await self._with_texts(
            lambda: self._language.responses(question, prompt, decoded, begin),
            short=sum(len(one.tokens) for one in decoded) <= SHORT // 4,
        )
        logprobs = None
        if question.logprobs:
            pairs = list(zip(decoded, responses, strict=True))
            logprobs = await self._with_texts(
                lambda: [of_decoded(self._tokenizer, one, response.text) for one, response in pairs]
            )
        tokens = sum(response.tokens for response in responses)
        return Generation(responses, len(prompt), tokens, question.seed, logprobs)

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        samples = await self._with_texts(lambda: self._language.dialogues(question, responses))
        rewards: list[float] = await self._scheduled(lambda gone, done: Scoring(samples, done, gone))
        if not all(map(math.isfinite, rewards)):
            raise Refused(500, "the reward model's scores are not finite; choose maj", code="internal_error")
        return rewards

    async def close(self) -> None:
        await asyncio.to_thread(self._close)
        if self._probe is not None:
            await self._probe.close()

    def _close(self) -> None:
        self._scheduler.close()
        self._texts.shutdown()
        if self._sandbox is not None:
            self._sandbox.close()

    async def _with_texts(self, work: Callable[[], Result], short: bool = False) -> Result:
        if short:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._texts, work)

    async def _scheduled(
        self, make: Callable[[Callable[[], bool], Callable[[Any], None]], Draw | Scoring]
    ) -> Any:
        """The outcome of work in the models' thread, which ends before its next step if nobody waits."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Any] = loop.create_future()
        gone = threading.Event()

        def settle(value: Any) -> None:
            if outcome.done():
                return
            if isinstance(value, Exception):
                outcome.set_exception(value)
            else:
                outcome.set_result(value)

        def done(value: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, value)

        self._scheduler.add(make(gone.is_set, done))
        try:
            return await outcome
        finally:
            gone.set()
            if not outcome.done() or outcome.cancelled() or outcome.exception() is not None:
                self._scheduler.give_up()

    def _heard(self, question: Question) -> Callable[[int, int], None]:
        """Takes tokens in the models' thread, and sends their text on the event loop."""
        loop = asyncio.get_running_loop()
        stream = TokenStream(self._tokenizer, self._ends, question.stop, text_sender())

        def hear(place: int, token: int) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(stream.hear, place, token)

        return hear

    def _started_sandbox(self) -> Sandbox:
        """One sandbox for all questions."""
        with self._starting:
            if self._sandbox is None:
                usual = SamplingConfig()
                self._sandbox = Sandbox(
                    SandboxConfig(seconds=usual.tool_seconds, output_chars=usual.tool_chars, workers=WORKERS)
                )
            return self._sandbox
