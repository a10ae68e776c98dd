"""The tool loop over vLLM's engine, one step at a time.

Up to `batch_size` responses are in progress; a finished one makes room for the next. One that waits for
Python leaves the engine, which decodes others meanwhile, and is submitted again with the output appended: its
tokens are in the prefix cache.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from mathloop.errors import MathloopError
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import Decoded, Tool


class VllmLoop:
    """Decodes `samples` responses to each prompt (tokens) with a vLLM engine of this process.

    Every request has its own seed, of its index from `first`, so that a response does not depend on which
    others are in progress.
    """

    def __init__(
        self,
        engine: Any,
        prompts: Sequence[list[int]],
        *,
        samples: int,
        temperature: float,
        end_tokens: frozenset[int],
        config: SamplingConfig,
        stop: tuple[str, ...],
        seed: int,
        tool: Tool | None,
        first: int = 0,
    ) -> None:
        self._engine, self._prompts, self._config = engine, prompts, config
        self._context: int = engine.model_config.max_model_len
        self._samples, self._temperature, self._end_tokens = samples, temperature, end_tokens
        self._seed, self._tool, self._stop, self._first = seed, tool, stop, first
        self._responses: dict[int, Decoded] = {}
        """By index: prompt 0's first."""
        self._active: set[int] = set()
        """Indices of responses in progress: in the engine, or waiting for Python."""
        self._asking: list[int] = []
        self._answering: tuple[list[int], Future[list[str]]] | None = None

    def groups(self) -> Iterator[list[Decoded]]:
        """Yields the responses to each prompt, in order, once they and those to earlier prompts are done."""
        started = yielded = 0
        count = len(self._prompts) * self._samples
        with ThreadPoolExecutor(1, thread_name_prefix="interpreter") as thread:
            try:
                while yielded < count:
                    while started < count and len(self._active) < self._config.batch_size:
                        self._responses[started] = Decoded(started // self._samples)
                        self._active.add(started)
                        self._request(started)
                        started += 1
                    self._step()
                    self._run_python(thread)
                    while self._is_done(range(yielded, yielded + self._samples)):
                        yield [
                            self._responses.pop(index) for index in range(yielded, yielded + self._samples)
                        ]
                        yielded += self._samples
            finally:
                self._engine.abort_request([str(index) for index in self._active])

    def _is_done(self, group: range) -> bool:
        return self._active.isdisjoint(group) and all(index in self._responses for index in group)

    def _step(self) -> None:
        """One token for every response in the engine, or, if none is there, a wait for Python."""
        if self._engine.has_unfinished_requests():
            for output in self._engine.step():
                self._take(int(output.request_id), output.outputs[0])
        elif self._answering is not None:
            wait([self._answering[1]])

    def _run_python(self, thread: ThreadPoolExecutor) -> None:
        """Resumes responses whose output has arrived; submits the waiting tool calls as one batch."""
        if self._answering is not None and self._answering[1].done():
            asked, outputs = self._answering
            self._answering = None
            for index, output in zip(asked, outputs.result(), strict=True):
                self._insert(index, output)
        if self._asking and self._answering is None:
            assert self._tool is not None
            texts = [self._tool.decode(self._responses[index].tokens) for index in self._asking]
            self._answering = self._asking, thread.submit(self._tool.run, texts)
            self._asking = []

    def _take(self, index: int, completion: Any) -> None:
        """Appends the engine's tokens, and ends the response, resumes it, or has it wait for Python."""
        response = self._responses[index]
        response.tokens += completion.token_ids
        response.logprobs += [
            row[token].logprob for row, token in zip(completion.logprobs, completion.token_ids, strict=True)
        ]
        response.sampled += [True] * len(completion.token_ids)
        if completion.finish_reason == "length":
            self._active.remove(index)
        elif completion.finish_reason != "stop":
            raise MathloopError(f"vLLM ended a response with {completion.finish_reason!r}; see its log")
        elif self._tool is None or completion.stop_reason != self._tool.mark:
            response.finish_reason = "stop"
            reason = completion.stop_reason
            response.stop = reason if isinstance(reason, str) else ""
            self._active.remove(index)
        elif not self._tool.decode(response.tokens[-12:]).endswith(self._tool.mark):
            self._request(index)  # the last token has text after the mark, so this is no tool call
        elif response.tool_calls >= self._tool.limit:
            response.finish_reason = "tool_limit"
            self._active.remove(index)
        else:
            self._asking.append(index)

    def _insert(self, index: int, output: str) -> None:
        """Appends Python's output and resumes the response."""
        assert self._tool is not None
        response = self._responses[index]
        response.tool_calls += 1
        forced = self._tool.encode(output)[: self._config.max_tokens - len(response.tokens)]
        response.tokens += forced
        response.logprobs += [0.0] * len(forced)
        response.sampled += [False] * len(forced)
        self._request(index)

    def _request(self, index: int) -> None:
        """Submits the rest of a response to the engine; one without room for more is done."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        response = self._responses[index]
        prompt = self._prompts[response.prompt] + response.tokens
        room = min(self._config.max_tokens - len(response.tokens), self._context - len(prompt))
        if room <= 0:
            self._active.remove(index)
            return
        marks = [*self._stop, *([] if self._tool is None else [self._tool.mark])]
        place = f"{self._seed}-{self._first + index}-{len(response.tokens)}"
        params = SamplingParams(
            temperature=self._temperature,
            top_p=self._config.top_p,
            seed=random.Random(place).getrandbits(62),
            max_tokens=room,
            stop_token_ids=sorted(self._end_tokens),
            stop=marks,
            detokenize=bool(marks),
            skip_special_tokens=False,
            logprobs=0,  # of the sampled token alone
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._engine.add_request(str(index), {"prompt_token_ids": prompt}, params)
