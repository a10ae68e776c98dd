"""The tool loop over vLLM's engine, one step at a time.

Up to `batch_size` responses are on their way; a finished one makes room for the next. One that waits for
Python leaves the engine while others go on, and comes back with the output behind it: what it wrote is in the
prefix cache.
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

    Every request has a seed of its own, so that a response does not depend on which others are on their way.
    """

    def __init__(
        self,
        engine: Any,
        prompts: Sequence[list[int]],
        *,
        samples: int,
        temperature: float,
        end_token: int,
        config: SamplingConfig,
        seed: int,
        tool: Tool | None,
    ) -> None:
        self._engine, self._prompts, self._config = engine, prompts, config
        self._context: int = engine.model_config.max_model_len
        self._samples, self._temperature, self._end_token = samples, temperature, end_token
        self._seed, self._tool = seed, tool
        self._responses: dict[int, Decoded] = {}
        """By index: prompt 0's first."""
        self._going: set[int] = set()
        """Indices of responses on their way: in the engine, asking for Python, or being answered by it."""
        self._asking: list[int] = []
        self._answering: tuple[list[int], Future[list[str]]] | None = None

    def groups(self) -> Iterator[list[Decoded]]:
        """Yields the responses to each prompt, in order, once they and those to earlier prompts are done."""
        begun = given = 0
        count = len(self._prompts) * self._samples
        with ThreadPoolExecutor(1, thread_name_prefix="interpreter") as thread:
            try:
                while given < count:
                    while begun < count and len(self._going) < self._config.batch_size:
                        self._responses[begun] = Decoded(begun // self._samples)
                        self._going.add(begun)
                        self._request(begun)
                        begun += 1
                    self._step()
                    self._run_python(thread)
                    while self._is_done(range(given, given + self._samples)):
                        yield [self._responses.pop(index) for index in range(given, given + self._samples)]
                        given += self._samples
            finally:
                self._engine.abort_request([str(index) for index in self._going])

    def _is_done(self, group: range) -> bool:
        return self._going.isdisjoint(group) and all(index in self._responses for index in group)

    def _step(self) -> None:
        """One token for every response in the engine, or, if none is there, a wait for Python."""
        if self._engine.has_unfinished_requests():
            for output in self._engine.step():
                self._take(int(output.request_id), output.outputs[0])
        elif self._answering is not None:
            wait([self._answering[1]])

    def _run_python(self, thread: ThreadPoolExecutor) -> None:
        """Lets those go on who have their output, and sends those who ask meanwhile on together."""
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
        """Appends what the engine wrote, and decides how the response goes on."""
        response = self._responses[index]
        response.tokens += completion.token_ids
        response.logprobs += [
            row[token].logprob for row, token in zip(completion.logprobs, completion.token_ids, strict=True)
        ]
        response.sampled += [True] * len(completion.token_ids)
        if completion.finish_reason == "length":
            self._going.remove(index)
        elif completion.finish_reason != "stop":
            raise MathloopError(f"vLLM gave a response up: {completion.finish_reason}")
        elif self._tool is None or completion.stop_reason != self._tool.mark:
            response.finish_reason = "stop"
            self._going.remove(index)
        elif not self._tool.decode(response.tokens[-12:]).endswith(self._tool.mark):
            self._request(index)  # the last token went on behind the mark, which then asks for nothing
        elif response.tool_calls >= self._tool.limit:
            response.finish_reason = "tool_limit"
            self._going.remove(index)
        else:
            self._asking.append(index)

    def _insert(self, index: int, output: str) -> None:
        """Appends what Python printed, and lets the response go on."""
        assert self._tool is not None
        response = self._responses[index]
        response.tool_calls += 1
        forced = self._tool.encode(output)[: self._config.max_tokens - len(response.tokens)]
        response.tokens += forced
        response.logprobs += [0.0] * len(forced)
        response.sampled += [False] * len(forced)
        self._request(index)

    def _request(self, index: int) -> None:
        """Asks the engine for the rest of a response; one that has no room for more is done."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        response = self._responses[index]
        prompt = self._prompts[response.prompt] + response.tokens
        room = min(self._config.max_tokens - len(response.tokens), self._context - len(prompt))
        if room <= 0:
            self._going.remove(index)
            return
        place = f"{self._seed}-{index}-{len(response.tokens)}"
        params = SamplingParams(
            temperature=self._temperature,
            top_p=self._config.top_p,
            seed=random.Random(place).getrandbits(62),
            max_tokens=room,
            stop_token_ids=[self._end_token],
            stop=[] if self._tool is None else [self._tool.mark],
            detokenize=self._tool is not None,
            skip_special_tokens=False,
            logprobs=0,  # of the sampled token alone
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._engine.add_request(str(index), {"prompt_token_ids": prompt}, params)
