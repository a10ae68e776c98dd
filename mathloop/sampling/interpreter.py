"""Python for responses: their blocks run in the sandbox, and the output is inserted into the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.prompts import TOOL_MARK
from mathloop.sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from mathloop.sampling.decoding import Tool

_CODE = re.compile(r"```python\n(.*?)\n?```", re.DOTALL)


class Interpreter:
    """One sampler's sandbox, started when it is first needed; remembers the output of every program."""

    def __init__(self, tokenizer: Any, sandbox: Sandbox | None = None) -> None:
        """`sandbox` is somebody else's, who closes it."""
        self._tokenizer = tokenizer
        self._sandbox = sandbox
        self._owned = sandbox is None
        self.timeouts = 0
        """Programs that ran out of time."""
        self.stopped: Callable[[], bool] = lambda: False
        """Whether nobody waits for the responses: running programs then end, and Cancelled is raised."""
        self._outputs: dict[tuple[str, ...], str] = {}
        self._effective: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Program → its blocks that count for later ones: one that ran out of time defines no names."""

    def close(self) -> None:
        """Stops its own sandbox, if one was started."""
        if self._sandbox is not None and self._owned:
            self._sandbox.close()
            self._sandbox = None

    def forget(self) -> None:
        """Forgets all outputs, time-outs among them, and lets the sandbox end the processes that wait."""
        if self._sandbox is not None:
            for blocks in set(self._effective.values()):
                self._sandbox.forget(blocks)
        self._outputs.clear()
        self._effective.clear()

    def tool(self, config: SamplingConfig) -> Tool:
        """The tool that decoding calls at TOOL_MARK."""
        from mathloop.sampling.decoding import Tool  # it brings torch, which a solver beside vLLM has not

        if self._sandbox is None:
            self._sandbox = Sandbox(
                SandboxConfig(seconds=config.tool_seconds, output_chars=config.tool_chars, workers=2)
            )
        return Tool(
            mark=TOOL_MARK,
            may_end=_tokens_that_may_end(self._tokenizer, TOOL_MARK),
            decode=self._tokenizer.decode,
            encode=lambda text: self._tokenizer(text, add_special_tokens=False)["input_ids"],
            run=lambda texts: self.run(texts, config.tool_chars),
            limit=config.tool_calls,
        )

    def run(self, texts: list[str], chars: int) -> list[str]:
        """Runs the last block of each text after its earlier ones; returns what follows TOOL_MARK in each.

        Equal programs run once. The sandbox has been started, or is somebody else's.
        """
        assert self._sandbox is not None
        programs = [tuple(_CODE.findall(text)) for text in texts]
        fresh = list(dict.fromkeys(p for p in programs if p and p not in self._outputs))
        earlier = [self._effective.get(program[:-1], program[:-1]) for program in fresh]
        runs = [(*blocks, program[-1]) for blocks, program in zip(earlier, fresh, strict=True)]
        executions = self._sandbox.run_many(runs, keep=True, stopped=self.stopped)
        for program, blocks, run, execution in zip(fresh, earlier, runs, executions, strict=True):
            self._outputs[program] = execution.text(chars)
            self.timeouts += execution.status == "timeout"
            self._effective[program] = run if execution.kept else blocks
        # A fence that a program prints would end its output block early, or open one of the model's.
        outputs = [self._outputs.get(program, "").replace("```", "'''") for program in programs]
        return [f"\n{output}\n```\n" for output in outputs]


@lru_cache(maxsize=8)
def _tokens_that_may_end(tokenizer: Any, mark: str) -> frozenset[int]:
    """Tokens with which a text can come to end in `mark`: its text is an end of `mark`, or ends in it."""
    found = set()
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if text and (mark.endswith(text) or text.endswith(mark)):
            found.add(token)
    return frozenset(found)
