"""TIR through vLLM: a response stops at its block of Python, the sandbox runs it, and the response goes on.

A chat template would change the turn that goes on, so responses are text completions of token ids: those of
the prompt, as the server itself renders the messages, and those of what has been written since.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mathloop.records import FinishReason
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.interpreter import Interpreter
from mathloop.sampling.prompts import TOOL_MARK
from mathloop.sandbox import Sandbox, SandboxConfig
from mathloop.serving import metrics, tracing
from mathloop.serving.endpoint import Endpoint
from mathloop.serving.questions import Question

WORKERS = 2
"""Programs of responses that run at the same time."""
USUAL = SamplingConfig()
"""Bounds of the programs, as in training and evaluation."""
MOST_TOKENS = 1 << 20


@dataclass
class Written:
    """A response while it is written."""

    text: str
    finish_reason: FinishReason
    asks: bool
    """Whether it waits for the output of its last block."""
    tool_calls: int = 0


@dataclass
class ToolLoop:
    """Draws the responses of questions with one policy and one sandbox, which starts when it is needed."""

    policy: Endpoint
    as_text: Callable[[str], str]
    """Takes the meaning from special tokens that a text spells out."""
    _sandbox: Sandbox | None = field(default=None, init=False)
    _starting: threading.Lock = field(default_factory=threading.Lock, init=False)

    async def draw(
        self,
        question: Question,
        prompt: Sequence[int],
        count: int,
        most: int,
        seed: int | None,
    ) -> tuple[list[Written], int]:
        """`count` responses of at most `most` tokens after the prompt's, and how many tokens were sampled.

        Raises Refused if the policy does not answer as it should.
        """
        interpreter = Interpreter(None, await asyncio.to_thread(self._started))
        gone = threading.Event()
        interpreter.stopped = gone.is_set
        try:
            begun, tokens = await self._complete(question, prompt, count, most, seed)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        self._finish(question, prompt, one, most, _other(seed, at), interpreter)
                    )
                    for at, one in enumerate(begun)
                ]
            return begun, tokens + sum(task.result() for task in tasks)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            gone.set()  # a program that nobody waits for ends
            interpreter.forget()
            metrics.TIMEOUTS.inc(interpreter.timeouts)

    async def close(self) -> None:
        """Ends the sandbox."""
        if self._sandbox is not None:
            await asyncio.to_thread(self._sandbox.close)

    async def _finish(
        self,
        question: Question,
        prompt: Sequence[int],
        one: Written,
        most: int,
        seed: int | None,
        interpreter: Interpreter,
    ) -> int:
        """Runs its blocks and lets it go on, until it ends; returns the tokens that were sampled."""
        sampled = 0
        while one.asks:
            if one.tool_calls >= USUAL.tool_calls:
                one.finish_reason = "tool_limit"
                break
            one.tool_calls += 1
            with tracing.span("sandbox"):
                (output,) = await asyncio.to_thread(interpreter.run, [one.text], USUAL.tool_chars)
            one.text += output
            written = await self._tokens(one.text)
            left = most - len(written)
            if left < 1:
                one.finish_reason = "length"
                break
            (more,), tokens = await self._complete(
                question, [*prompt, *written], 1, left, _other(seed, one.tool_calls << 16)
            )
            one.text += more.text
            one.finish_reason, one.asks = more.finish_reason, more.asks
            sampled += tokens
        return sampled

    async def _complete(
        self, question: Question, prompt: Sequence[int], count: int, most: int, seed: int | None
    ) -> tuple[list[Written], int]:
        answer = await self.policy.post(
            "/v1/completions",
            {
                "prompt": list(prompt),
                "n": count,
                "temperature": question.temperature,
                "top_p": question.top_p,
                "max_tokens": most,
                "stop": [*question.stop, TOOL_MARK],
                **({} if seed is None else {"seed": seed}),
            },
        )
        choices = answer.get("choices")
        if not isinstance(choices, list) or len(choices) != count:
            raise self.policy.invalid(f"other than {count} choices")
        usage = answer.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        return [self._written(choice) for choice in choices], tokens if type(tokens) is int else 0

    def _written(self, choice: Any) -> Written:
        text = choice.get("text") if isinstance(choice, dict) else None
        if not isinstance(text, str):
            raise self.policy.invalid("a choice without text")
        if choice.get("finish_reason") == "length":
            return Written(text, "length", asks=False)
        # The server leaves the text out at which it stopped.
        asks = choice.get("stop_reason") == TOOL_MARK
        return Written(text + TOOL_MARK if asks else text, "stop", asks)

    async def _tokens(self, text: str) -> list[int]:
        """Of what has been written, as the server reads it."""
        request = {"prompt": self.as_text(text), "add_special_tokens": False}
        return tokens_of(self.policy, await self.policy.post("/tokenize", request))

    def _started(self) -> Sandbox:
        with self._starting:
            if self._sandbox is None:
                config = SandboxConfig(
                    seconds=USUAL.tool_seconds, output_chars=USUAL.tool_chars, workers=WORKERS
                )
                self._sandbox = Sandbox(config)
            return self._sandbox


def tokens_of(policy: Endpoint, answer: dict[str, Any]) -> list[int]:
    """The ids in an answer of /tokenize. Raises Refused."""
    tokens = answer.get("tokens")
    if (
        not isinstance(tokens, list)
        or len(tokens) > MOST_TOKENS
        or not all(type(one) is int for one in tokens)
    ):
        raise policy.invalid("no token ids")
    return tokens


def _other(seed: int | None, more: int) -> int | None:
    """Another seed, in the range of vLLM's."""
    return None if seed is None else (seed + more) % 2**63
