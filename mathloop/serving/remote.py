"""The engine on vLLM servers: chat completions of a policy, and a reward model in a pooling runner.

The servers apply their own chat templates, so this engine has no tokens of its own: /tokenize measures a
prompt, and a response is scored as a final message that ends in the end-of-turn token and is left open, so
that the template adds nothing after the token whose hidden state is the score.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mathloop.answers import extract_answer
from mathloop.records import FinishReason, Mode, Response
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.serving.config import SolverConfig
from mathloop.serving.endpoint import Endpoint, open_client
from mathloop.serving.engines import Generation
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused
from mathloop.serving.token_logprobs import TokenLogprob, of_choice
from mathloop.serving.urls import check_url

PROBE_SECONDS = 15.0
"""Longest wait for the first answer of an endpoint that accepts connections."""
_SPECIAL = re.compile(
    r"<[|\uff5c][^<>\s]{1,60}[|\uff5c]>|</?s>|<(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>|\[/?INST\]"
)
"""Special tokens of the families of chat models (Qwen, Llama, DeepSeek, Gemma, Mistral)."""
CHECK_SECONDS = 5.0
"""Longest wait for an endpoint's list of models, by which readiness is known."""
MOST_LIMITS = 256
MOST_END_TOKENS = 8
"""Tokens that a chat template may add after a message."""


class RemoteEngine:
    """A policy and a reward model behind URLs."""

    modes: tuple[Mode, ...] = ("cot",)
    scores_apart = True

    def __init__(self, policy_url: str, reward_model_url: str | None, config: SolverConfig) -> None:
        """Sends nothing yet. Raises BadConfig for an invalid URL."""
        roots = [check_url("--policy-url", policy_url)]
        roots += [] if reward_model_url is None else [check_url("--reward-model-url", reward_model_url)]
        self.parallel = config.parallel
        # Connections of their own: a stalled reward model takes none from the policy.
        self._clients = [open_client(config.deadline) for _ in roots]
        parts = zip(("the policy", "the reward model"), roots, self._clients, strict=False)
        self._policy, *scorers = [Endpoint(*each) for each in parts]
        self._reward_model = scorers[0] if scorers else None
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
        self._name = await self._first_model(self._policy)
        # Fail at start-up rather than on the first question, e.g. when the two URLs are swapped.
        turn = _user_turn("1", "cot")
        await self._measure([turn])
        await self._policy.post("/v1/chat/completions", {"messages": [turn], "max_tokens": 1})
        if self._reward_model is not None:
            await self._first_model(self._reward_model)
            self._end_of_turn = await self._find_end_of_turn(self._reward_model)
            await self._reward([turn], "1", self._reward_model, self._end_of_turn)

    async def check(self) -> None:
        parts = [self._policy, *([] if self._reward_model is None else [self._reward_model])]
        await asyncio.gather(*(part.check(CHECK_SECONDS) for part in parts))

    async def _first_model(self, endpoint: Endpoint) -> str:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await endpoint.model()
        except TimeoutError:
            raise endpoint.no_answer(PROBE_SECONDS) from None

    async def draw(self, question: Question, begin: int, count: int) -> Generation:
        messages = _dialogue(question)
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
            Response(
                problem_id="question",
                sample=begin + index,
                mode=question.mode,
                text=text,
                answer=await asyncio.to_thread(extract_answer, text, question.language),
                finish_reason=finish,
                temperature=question.temperature,
            )
            for index, (text, finish) in enumerate(texts)
        ]
        prompt, sampled = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
        seed = question.seed if question.seeded else None
        return Generation(responses, prompt, sampled, seed, self._logprobs(choices, question))

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
                self._reward(_dialogue(question), response.text, self._reward_model, self._end_of_turn)
            )
            for response in responses
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:  # a failure or a cancellation ends the other requests
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def _limit(self, question: Question, messages: list[dict[str, str]]) -> int:
        """Most tokens of a response: the requested number, or what the context leaves."""
        prompt, context = await self._measure(messages)
        left = context - prompt
        if left < 1 or (left < question.max_tokens and not question.may_cut):
            more = "" if question.may_cut else f", and max_tokens asks for {question.max_tokens} more"
            message = f"the problem has {prompt} tokens{more}; the model's context has {context}"
            raise Refused(400, message, param="messages", code="context_length_exceeded")
        return min(left, question.max_tokens)

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


def _user_turn(problem: str, mode: Mode) -> dict[str, str]:
    """The message that `render_prompt` renders locally."""
    return {"role": "user", "content": f"{_as_text(problem)}\n{INSTRUCTIONS[mode]}"}


def _dialogue(question: Question) -> list[dict[str, str]]:
    """All messages of a question, as `render_prompt` renders them locally."""
    system = "\n".join(one.content for one in question.earlier if one.role == "system")
    turns = [{"role": "system", "content": _as_text(system)}] if system else []
    for one in question.earlier:
        if one.role == "user":
            turns.append(_user_turn(one.content, question.mode))
        elif one.role == "assistant":
            turns.append({"role": "assistant", "content": _as_text(one.content)})
    return [*turns, _user_turn(question.problem, question.mode)]


def _as_text(text: str) -> str:
    """The text with a zero-width space in everything that looks like a special token.

    vLLM reads special tokens in messages as such: they would end a turn, and begin one of another role.
    """
    return _SPECIAL.sub(lambda found: f"{found[0][0]}\u200b{found[0][1:]}", text)


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int and 0 <= value < 2**40 else 0
