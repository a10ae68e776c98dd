"""The engine that asks vLLM: a policy's chat completions, and a reward model in a pooling runner.

The chat templates are the servers' own. What a local engine does with tokens is done here in their terms: a
prompt is measured by /tokenize, and a response is scored as a final message that ends in the end-of-turn
token, left open, so that the template adds nothing after the token whose hidden state is the score.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from mathloop.answers import extract_answer
from mathloop.records import FinishReason, Mode, Response
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.serving.config import ServingConfig
from mathloop.serving.endpoint import Endpoint, open_client
from mathloop.serving.engines import Drawn
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused
from mathloop.serving.urls import check_url

SIDE_BY_SIDE = 32
"""Questions sent at once: vLLM batches them, and has a queue of its own."""
PROBE_SECONDS = 15.0
"""For a first answer: an endpoint that takes a connection and says nothing is not waited for longer."""
LONGEST_END = 8
"""Tokens that a template may put after a message."""


class RemoteEngine:
    """Policy and reward model behind URLs."""

    parallel = SIDE_BY_SIDE
    modes: tuple[Mode, ...] = ("cot",)

    def __init__(self, policy_url: str, reward_model_url: str | None, config: ServingConfig) -> None:
        """Asks nothing yet. Raises BadConfig where a URL is none."""
        roots = [check_url("--policy-url", policy_url)]
        roots += [] if reward_model_url is None else [check_url("--reward-model-url", reward_model_url)]
        self._client = open_client(config.deadline)
        names = ("the policy", "the reward model")
        self._policy, *scorers = [Endpoint(*each, self._client) for each in zip(names, roots, strict=False)]
        self._reward_model = scorers[0] if scorers else None
        self._name = "a policy"
        self._end_of_turn: str | None = None
        """The reward model's; learned when it is first needed."""

    @property
    def name(self) -> str:
        return f"{self._name} on vLLM"

    @property
    def has_reward_model(self) -> bool:
        return self._reward_model is not None

    async def prepare(self) -> None:
        self._name = await self._found(self._policy)
        # What else would show only with the first question, such as two URLs in each other's place.
        turn = _user_turn("1", "cot")
        await self._measure([turn])
        await self._policy.post("/v1/chat/completions", {"messages": [turn], "max_tokens": 1})
        if self._reward_model is not None:
            await self._found(self._reward_model)
            self._end_of_turn = await self._find_end_of_turn(self._reward_model)
            await self._reward("1", "cot", "1", self._reward_model, self._end_of_turn)

    async def _found(self, endpoint: Endpoint) -> str:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await endpoint.model()
        except TimeoutError:
            raise endpoint.silent(PROBE_SECONDS) from None

    async def draw(self, question: Question) -> Drawn:
        messages = [_user_turn(question.problem, question.mode)]
        limit = await self._limit(question, messages)
        # A seed only where one is wanted: vLLM samples slower with one, and on a CPU dies of it when a prompt
        # does not fit into one step (0.32: "CPU Generator does not use offset").
        seed = question.seed if question.seeded else None
        answer = await self._policy.post(
            "/v1/chat/completions",
            {
                "messages": messages,
                "n": question.samples,
                "temperature": question.temperature,
                "top_p": question.top_p,
                "max_tokens": limit,
                **({} if seed is None else {"seed": seed}),
            },
        )
        choices = answer.get("choices")
        if not isinstance(choices, list) or len(choices) != question.samples:
            raise self._policy.odd(f"other than {question.samples} choices")
        texts = [self._text(choice) for choice in choices]
        usage = answer.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        responses = [
            Response(
                problem_id="question",
                sample=index,
                mode=question.mode,
                text=text,
                answer=await asyncio.to_thread(extract_answer, text, question.language),
                finish_reason=finish,
                temperature=question.temperature,
            )
            for index, (text, finish) in enumerate(texts)
        ]
        prompt, sampled = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
        return Drawn(responses, prompt, sampled, seed)

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        assert self._reward_model is not None
        if self._end_of_turn is None:
            self._end_of_turn = await self._find_end_of_turn(self._reward_model)
        asked = [
            asyncio.create_task(
                self._reward(
                    question.problem, question.mode, response.text, self._reward_model, self._end_of_turn
                )
            )
            for response in responses
        ]
        try:
            return await asyncio.gather(*asked)
        finally:  # one that failed, or the caller's end, ends the others
            for task in asked:
                task.cancel()

    async def close(self) -> None:
        await self._client.aclose()

    async def _limit(self, question: Question, messages: list[dict[str, str]]) -> int:
        """Tokens that a response may have: what was asked for, or what the context leaves."""
        prompt, context = await self._measure(messages)
        left = context - prompt
        if left < 1 or (left < question.max_tokens and not question.may_cut):
            asked = "" if question.may_cut else f", and max_tokens asks for {question.max_tokens} more"
            message = f"the problem takes {prompt} tokens{asked}; the model's context has {context}"
            raise Refused(400, message, param="messages", code="context_length_exceeded")
        return min(left, question.max_tokens)

    async def _measure(self, messages: list[dict[str, str]]) -> tuple[int, int]:
        """Tokens of the prompt, and of the context."""
        answer = await self._policy.post("/tokenize", {"messages": messages})
        prompt, context = _count(answer, "count"), _count(answer, "max_model_len")
        if not prompt or not context:
            raise self._policy.odd("no count of tokens")
        return prompt, context

    def _text(self, choice: Any) -> tuple[str, FinishReason]:
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(content, str | None):
            raise self._policy.odd("a choice without text")
        return content or "", "length" if choice.get("finish_reason") == "length" else "stop"

    async def _find_end_of_turn(self, endpoint: Endpoint) -> str:
        """The first token that the chat template puts after a message."""
        dialogue = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
        asked = {"messages": dialogue, "add_generation_prompt": False, "return_token_strs": True}
        tokens = []
        for left_open in (True, False):
            answer = await endpoint.post("/tokenize", {**asked, "continue_final_message": left_open})
            found = answer.get("token_strs")
            if not isinstance(found, list) or not all(isinstance(token, str) for token in found):
                raise endpoint.odd("no tokens")
            tokens.append(found)
        opened, closed = tokens
        after = closed[len(opened) :]
        if closed[: len(opened)] != opened or not 0 < len(after) <= LONGEST_END:
            raise endpoint.odd("a chat template that does not end its turns")
        return str(after[0])

    async def _reward(
        self, problem: str, mode: Mode, text: str, endpoint: Endpoint, end_of_turn: str
    ) -> float:
        answer = await endpoint.post(
            "/pooling",
            {
                "messages": [
                    _user_turn(problem, mode),
                    {"role": "assistant", "content": text + end_of_turn},
                ],
                "continue_final_message": True,
                "use_activation": False,
                # As in training, an over-long dialogue loses its beginning.
                "truncate_prompt_tokens": -1,
                "truncation_side": "left",
            },
        )
        data = answer.get("data")
        row = data[0].get("data") if isinstance(data, list) and data and isinstance(data[0], dict) else None
        if isinstance(row, list) and row and isinstance(row[-1], list):
            row = row[-1]  # a row for each token, of which the last one's counts
        value = row[0] if isinstance(row, list) and len(row) == 1 else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise endpoint.odd("no reward")
        return float(value)


def _user_turn(problem: str, mode: Mode) -> dict[str, str]:
    """The turn that `render_prompt` renders, for a server to render."""
    return {"role": "user", "content": f"{problem}\n{INSTRUCTIONS[mode]}"}


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int and 0 <= value < 2**40 else 0
