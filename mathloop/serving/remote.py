"""The engine on vLLM servers: chat completions of a policy, and a reward model in a pooling runner.

The servers apply their own chat templates, so this engine has no tokens of its own: /tokenize measures a
prompt, and a response is scored as a final message that ends in the end-of-turn token and is left open, so
that the template adds nothing after the token whose hidden state is the score.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mathloop.answers import extract_answer
from mathloop.errors import SandboxError
from mathloop.records import FinishReason, Mode, Response
from mathloop.serving.config import SolverConfig
from mathloop.serving.endpoint import Endpoint, open_client
from mathloop.serving.engines import Generation
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused
from mathloop.serving.remote_messages import as_text, dialogue_of, user_turn
from mathloop.serving.remote_tools import ToolLoop, tokens_of
from mathloop.serving.sandbox_probe import SandboxProbe
from mathloop.serving.token_logprobs import TokenLogprob, of_choice
from mathloop.serving.urls import check_url

PROBE_SECONDS = 15.0
"""Longest wait for the first answer of an endpoint that accepts connections."""
CHECK_SECONDS = 5.0
"""Longest wait for an endpoint's list of models, by which readiness is known."""
LOG = logging.getLogger("mathloop.serving")
MOST_LIMITS = 256
MOST_END_TOKENS = 8
"""Tokens that a chat template may add after a message."""


class RemoteEngine:
    """A policy and a reward model behind URLs."""

    scores_apart = True

    def __init__(
        self, policy_url: str, reward_model_url: str | None, config: SolverConfig, *, tools: bool = False
    ) -> None:
        """Sends nothing yet. `tools` offers tir, with a sandbox here. Raises BadConfig for an invalid URL."""
        roots = [check_url("--policy-url", policy_url)]
        roots += [] if reward_model_url is None else [check_url("--reward-model-url", reward_model_url)]
        self.parallel = config.parallel
        # Connections of their own: a stalled reward model takes none from the policy.
        self._clients = [open_client(config.deadline) for _ in roots]
        parts = zip(("the policy", "the reward model"), roots, self._clients, strict=False)
        self._policy, *scorers = [Endpoint(*each) for each in parts]
        self._reward_model = scorers[0] if scorers else None
        self.modes: tuple[Mode, ...] = ("cot", "tir") if tools else ("cot",)
        self._tools = ToolLoop(self._policy, as_text)
        self._probe: SandboxProbe | None = None
        self._name = "a policy"
        self._limits: OrderedDict[bytes, int] = OrderedDict()
        """Digest → most tokens of a response, of questions that may be drawn for again."""
        self._end_of_turn: str | None = None
        """The reward model's end-of-turn token; read from the server when first needed."""

    @property
    def name(self) -> str:
        return f"{self._name} on vLLM"

    @property
    def has_reward_model(self) -> bool:
        return self._reward_model is not None

    async def prepare(self) -> None:
        if "tir" in self.modes and self._probe is None:
            try:
                self._probe = await asyncio.to_thread(SandboxProbe)
            except SandboxError as error:
                self.modes = ("cot",)
                LOG.warning("no tir: %s", error)
        self._name = await self._first_model(self._policy)
        # Fail at start-up rather than on the first question, e.g. when the two URLs are swapped.
        turn = user_turn("1", "cot")
        await self._measure([turn])
        await self._policy.post("/v1/chat/completions", {"messages": [turn], "max_tokens": 1})
        if self._reward_model is not None:
            await self._first_model(self._reward_model)
            self._end_of_turn = await self._find_end_of_turn(self._reward_model)
            await self._reward([turn], "1", self._reward_model, self._end_of_turn)

    async def check(self) -> None:
        parts = [self._policy, *([] if self._reward_model is None else [self._reward_model])]
        checks = [part.check(CHECK_SECONDS) for part in parts]
        await asyncio.gather(*checks, *([] if self._probe is None else [self._probe.check()]))

    async def _first_model(self, endpoint: Endpoint) -> str:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await endpoint.model()
        except TimeoutError:
            raise endpoint.no_answer(PROBE_SECONDS) from None

    async def draw(self, question: Question, begin: int, count: int) -> Generation:
        messages = dialogue_of(question)
        key = hashlib.sha256(repr(question).encode()).digest()  # a question may be a megabyte
        limit = self._limits.pop(key, None) if begin else None  # known since the first of several draws
        if limit is None:
            limit = await self._limit(question, messages)
            if messages[0]["role"] == "system":
                await self._check_system(messages)
        if begin + count < question.samples:
            self._limits[key] = limit
            while len(self._limits) > MOST_LIMITS:
                self._limits.popitem(last=False)
        # Only a requested seed is sent: vLLM samples more slowly with one, and on a CPU crashes with one if a
        # prompt does not fit into one step (0.32: "CPU Generator does not use offset").
        seed = (question.seed + begin) % 2**63 if question.seeded else None  # the range of vLLM's seeds
        if question.mode == "tir":
            return await self._draw_with_tools(question, messages, begin, count, limit, seed)
        answer = await self._policy.post(
            "/v1/chat/completions",
            {
                "messages": messages,
                "n": count,
                "temperature": question.temperature,
                "top_p": question.top_p,
                "max_tokens": limit,
                **({} if seed is None else {"seed": seed}),
                **({"stop": list(question.stop)} if question.stop else {}),
                **({"logprobs": True} if question.logprobs else {}),
                **({"top_logprobs": question.likeliest} if question.likeliest else {}),
            },
        )
        choices = answer.get("choices")
        if not isinstance(choices, list) or len(choices) != count:
            raise self._policy.invalid(f"other than {count} choices")
        texts = [self._text(choice) for choice in choices]
        usage = answer.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        responses = [
            await _response(question, begin + index, text, finish)
            for index, (text, finish) in enumerate(texts)
        ]
        prompt, sampled = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
        seed = question.seed if question.seeded else None
        return Generation(responses, prompt, sampled, seed, self._logprobs(choices, question))

    async def _draw_with_tools(
        self,
        question: Question,
        messages: list[dict[str, str]],
        begin: int,
        count: int,
        limit: int,
        seed: int | None,
    ) -> Generation:
        if question.logprobs:
            message = "logprobs: not available in tir through vLLM; leave it out, or choose cot"
            raise Refused(422, message, param="logprobs", code="unsupported_value")
        prompt = tokens_of(self._policy, await self._policy.post("/tokenize", {"messages": messages}))
        written, sampled = await self._tools.draw(question, prompt, count, limit, seed)
        responses = [
            await _response(question, at, one.text, one.finish_reason, one.tool_calls)
            for at, one in enumerate(written, begin)
        ]
        return Generation(responses, len(prompt), sampled, question.seed if question.seeded else None)

    def _logprobs(self, choices: list[Any], question: Question) -> list[list[TokenLogprob]] | None:
        if not question.logprobs:
            return None
        found = [of_choice(choice, question.likeliest) for choice in choices]
        if any(one is None for one in found):
            raise self._policy.invalid("no log-probabilities")
        return [one for one in found if one is not None]

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        assert self._reward_model is not None
        if self._end_of_turn is None:
            self._end_of_turn = await self._find_end_of_turn(self._reward_model)
        tasks = [
            asyncio.create_task(
                self._reward(dialogue_of(question), response.text, self._reward_model, self._end_of_turn)
            )
            for response in responses
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:  # a failure or a cancellation ends the other requests
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        await self._tools.close()
        if self._probe is not None:
            await self._probe.close()
        for client in self._clients:
            await client.aclose()

    async def _limit(self, question: Question, messages: list[dict[str, str]]) -> int:
        """Most tokens of a response: the requested number, or what the context leaves."""
        return question.fitting(*await self._measure(messages))

    async def _check_system(self, messages: list[dict[str, str]]) -> None:
        """Raises Refused if the chat template leaves the system message out: a longer one is no longer."""
        first, *others = messages
        longer = {"role": "system", "content": f"{first['content']}\n{first['content']} 1 2 3 4 5 6 7 8 9"}
        if await self._measure([longer, *others]) == await self._measure(messages):
            message = "messages: the model's chat template takes no system message; leave it out"
            raise Refused(400, message, param="messages", code="unsupported_value")

    async def _measure(self, messages: list[dict[str, str]]) -> tuple[int, int]:
        """Tokens of the prompt and of the context."""
        answer = await self._policy.post("/tokenize", {"messages": messages})
        prompt, context = _count(answer, "count"), _count(answer, "max_model_len")
        if not prompt or not context:
            raise self._policy.invalid("no count of tokens")
        return prompt, context

    def _text(self, choice: Any) -> tuple[str, FinishReason]:
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(content, str | None):
            raise self._policy.invalid("a choice without text")
        return content or "", "length" if choice.get("finish_reason") == "length" else "stop"

    async def _find_end_of_turn(self, endpoint: Endpoint) -> str:
        """The first token that the chat template adds after a message."""
        dialogue = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
        request = {"messages": dialogue, "add_generation_prompt": False, "return_token_strs": True}
        tokens = []
        for left_open in (True, False):
            answer = await endpoint.post("/tokenize", {**request, "continue_final_message": left_open})
            strings = answer.get("token_strs")
            if not isinstance(strings, list) or not all(isinstance(token, str) for token in strings):
                raise endpoint.invalid("no tokens")
            tokens.append(strings)
        opened, closed = tokens
        after = closed[len(opened) :]
        if closed[: len(opened)] != opened or not 0 < len(after) <= MOST_END_TOKENS:
            raise endpoint.invalid("a chat template that does not end its turns")
        return str(after[0])

    async def _reward(
        self, dialogue: list[dict[str, str]], text: str, endpoint: Endpoint, end_of_turn: str
    ) -> float:
        answer = await endpoint.post(
            "/pooling",
            {
                "messages": [*dialogue, {"role": "assistant", "content": text + end_of_turn}],
                "continue_final_message": True,
                "use_activation": False,
                # As in training, the beginning of an over-long dialogue is cut off.
                "truncate_prompt_tokens": -1,
                "truncation_side": "left",
            },
        )
        data = answer.get("data")
        row = data[0].get("data") if isinstance(data, list) and data and isinstance(data[0], dict) else None
        if isinstance(row, list) and row and isinstance(row[-1], list):
            row = row[-1]  # one row per token; the last one is the score
        value = row[0] if isinstance(row, list) and len(row) == 1 else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise endpoint.invalid("no reward")
        return float(value)


async def _response(
    question: Question, number: int, text: str, finish: FinishReason, tool_calls: int = 0
) -> Response:
    return Response(
        problem_id="question",
        sample=number,
        mode=question.mode,
        text=text,
        answer=await asyncio.to_thread(extract_answer, text, question.language),
        finish_reason=finish,
        tool_calls=tool_calls,
        temperature=question.temperature,
    )


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int and 0 <= value < 2**40 else 0
