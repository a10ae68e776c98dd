"""The engine that runs the models in this process with transformers, one question at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mathloop.errors import BadModel, SandboxError
from mathloop.models.loading import load_policy, load_reward_model
from mathloop.models.reward_model import RewardModel
from mathloop.records import Mode, Problem, Response
from mathloop.registry import Registry
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.prompts import Turn, encode_prompt
from mathloop.sampling.scoring import score
from mathloop.serving.config import SolverConfig
from mathloop.serving.engines import Generation
from mathloop.serving.messages import Message
from mathloop.serving.questions import MODES, Question
from mathloop.serving.refusals import UNAVAILABLE, Refused
from mathloop.serving.sandbox_probe import SandboxProbe
from mathloop.storage import open_store

Result = TypeVar("Result")


STUCK_SECONDS = 10.0
"""Work that goes on for longer after it was cancelled is stuck: the engine is not ready."""
LOG = logging.getLogger("mathloop.serving")


class _Stopped(Exception):
    """The client has gone or the deadline has passed."""


class _QuestionSampler(TransformersSampler):
    """Draws after a prompt that is encoded already, with the question's earlier messages."""

    prompt: list[int]

    def encode(self, problem: Problem, mode: Mode) -> list[int]:
        return self.prompt


class LocalEngine:
    """A policy and an optional reward model in this process."""

    parallel = 1
    scores_apart = False

    def __init__(
        self,
        name: str,
        policy: tuple[Any, Any],
        reward_model: tuple[RewardModel, Any] | None,
        config: SolverConfig,
    ) -> None:
        self.name = name
        self.modes: tuple[Mode, ...] = MODES
        self._model, self._tokenizer = policy
        self._scorer = reward_model
        self._config = config
        self._sampler: _QuestionSampler | None = None
        self._context = _context(self._model, self._tokenizer)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._stop = threading.Event()
        self._abandoned: float | None = None
        """When the work that is still running was cancelled."""
        self._probe: SandboxProbe | None = None
        # Every decoding step calls the model: the only place where a generation can be stopped at once.
        for module in (self._model, *(reward_model or ())[:1]):
            module.register_forward_pre_hook(self._check)

    @classmethod
    def load(cls, policy: Path, reward_model: Path | None, config: SolverConfig, name: str) -> LocalEngine:
        """Loads model folders. Raises BadModel."""
        loaded_policy = load_policy(policy)
        loaded_reward_model = None if reward_model is None else load_reward_model(reward_model)
        return cls(name, loaded_policy, loaded_reward_model, config)

    @classmethod
    def load_champion(cls, store_url: str, config: SolverConfig) -> LocalEngine:
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
            return cls.load(policy, reward_model, config, name)

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
        if self._abandoned is not None and time.monotonic() - self._abandoned > STUCK_SECONDS:
            message = "the policy is unavailable; try again later"
            raise Refused(
                503, message, code=UNAVAILABLE, retry_after=5, detail="work that was cancelled does not end"
            )
        if self._probe is not None:
            await self._probe.check()

    async def draw(self, question: Question, begin: int, count: int) -> Generation:
        return await self._in_thread(lambda: self._draw(question, begin, count))

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        return await self._in_thread(lambda: self._score(question, responses))

    async def close(self) -> None:
        await self._in_thread(self._close_sampler)
        self._thread.shutdown()
        if self._probe is not None:
            await self._probe.close()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Runs `work` in the engine's thread; if the caller is cancelled, the work stops at its next step."""
        stop = threading.Event()

        def run() -> Result:
            self._stop = stop
            self._abandoned = None
            self._check()
            try:
                return work()
            finally:
                self._abandoned = None

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except asyncio.CancelledError:
            stop.set()
            if self._stop is stop:
                self._abandoned = time.monotonic()
            raise

    def _check(self, *_: Any) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _draw(self, question: Question, begin: int, count: int) -> Generation:
        tokens = self._encode(question)
        prompt, limit = len(tokens), self._limit(question, len(tokens))
        together = max(1, self._config.tokens_at_once // (prompt + limit))
        sampler = self._fresh_sampler()
        sampler.prompt = tokens
        sampler.config = SamplingConfig(max_tokens=limit, top_p=question.top_p, stop=question.stop)
        problem = Problem("question", question.problem, language=question.language)
        responses: list[Response] = []
        while len(responses) < count:
            rollouts = sampler.sample(
                [problem],
                mode=question.mode,
                samples=min(together, count - len(responses)),
                temperature=question.temperature,
                seed=question.seed + 15_485_863 * (begin + len(responses)),
            )
            responses += [rollout.response for rollout in rollouts]
        return Generation(responses, prompt, sum(response.tokens for response in responses), question.seed)

    def _encode(self, question: Question) -> list[int]:
        """Tokens of the prompt. Raises Refused if the model takes no such messages."""
        try:
            return encode_prompt(
                self._tokenizer, question.problem, question.mode, earlier=_turns(question.earlier)
            )
        except BadModel as error:
            if not question.earlier:
                raise
            raise Refused(400, f"messages: {error}", param="messages", code="unsupported_value") from None

    def _limit(self, question: Question, prompt: int) -> int:
        """Most tokens of a response after a prompt of so many. Raises Refused."""
        left = self._context - prompt
        if left < 1 or (left < question.max_tokens and not question.may_cut):
            more = "" if question.may_cut else f", and max_tokens asks for {question.max_tokens} more"
            message = f"the problem has {prompt} tokens{more}; the model's context has {self._context}"
            raise Refused(400, message, param="messages", code="context_length_exceeded")
        return min(left, question.max_tokens)

    def _fresh_sampler(self) -> _QuestionSampler:
        if self._sampler is None:
            self._sampler = _QuestionSampler(self._model, self._tokenizer, SamplingConfig())
            self._sampler.interpreter.stopped = lambda: self._stop.is_set()
        self._sampler.interpreter.forget()  # a program that ran out of time then may be in time now
        return self._sampler

    def _score(self, question: Question, responses: Sequence[Response]) -> list[float]:
        assert self._scorer is not None
        dialogues = [(question.problem, question.mode, response.text) for response in responses]
        rewards = score(
            *self._scorer,
            dialogues,
            tokens=self._config.tokens_at_once,
            max_tokens=self._context,
            earlier=_turns(question.earlier),
        )
        if not all(map(math.isfinite, rewards)):
            raise Refused(500, "the reward model's scores are not finite; choose maj", code="internal_error")
        return rewards

    def _close_sampler(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None


def _turns(earlier: Sequence[Message]) -> list[Turn]:
    return [Turn(message.role, message.content) for message in earlier]


def _context(model: Any, tokenizer: Any) -> int:
    """Context length of the model, in tokens; a tokenizer without a bound has 10^30."""
    bound = getattr(model.config, "max_position_embeddings", None) or 4096
    return int(min(bound, getattr(tokenizer, "model_max_length", bound)))
