"""The engine of transformers: batched decoding in this process, on a CPU or a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathloop.errors import BadConfig
from mathloop.models.dtypes import working_dtype
from mathloop.models.loading import context_length, load_policy
from mathloop.models.memory import if_it_fits
from mathloop.models.tokenizers import end_tokens
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import as_rollout, decode_batch
from mathloop.sampling.interpreter import Interpreter
from mathloop.sampling.prompts import encode_prompt, stops_of
from mathloop.sampling.sampler import Rollout, Sampler, leaves_room
from mathloop.sampling.stopping import stop_at


class TransformersSampler(Sampler):
    """Samples with transformers in this process; Python blocks run in the sandbox."""

    def __init__(self, model: Any, tokenizer: Any, config: SamplingConfig, *, shared: bool = True) -> None:
        """`shared`: somebody else trains `model`, so that it always has the newest weights."""
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self._shared = shared
        self._ends = end_tokens(tokenizer, getattr(model, "generation_config", None))
        self.interpreter = Interpreter(tokenizer)
        self._most = config.batch_size
        """Sequences in a batch; halved where memory runs out."""

    @classmethod
    def load(cls, folder: Path, config: SamplingConfig) -> TransformersSampler:
        """Loads a policy's folder. Raises BadModel where it is not one."""
        model, tokenizer = load_policy(folder, working_dtype(config.dtype), chat=config.prompt.by_chat)
        return cls(model, tokenizer, config, shared=False)

    @classmethod
    def beside_trainer(
        cls, folder: Path, net: Any, tokenizer: Any, config: SamplingConfig
    ) -> TransformersSampler:
        """Draws with `net` itself; `folder`, which has its first weights, is not read."""
        return cls(net, tokenizer, config)

    @classmethod
    def context(cls, folder: Path, config: SamplingConfig) -> int | None:
        """Tokens that the model in `folder` can read; None if it has no limit. Raises BadModel."""
        return context_length(folder)

    def close(self) -> None:
        """Stops the sandbox, if one was started."""
        self.interpreter.close()

    def fits(self, problem: Problem, mode: Mode) -> bool:
        """Whether the problem's prompt leaves room for a response in the model's context."""
        context = getattr(self.model.config, "max_position_embeddings", None)
        return leaves_room(len(self.encode(problem, mode)), self.config.max_tokens, context)

    def encode(self, problem: Problem, mode: Mode) -> list[int]:
        """Tokens of a problem's prompt."""
        return encode_prompt(self.tokenizer, problem.problem, mode, self.config.prompt)

    @torch.no_grad()
    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copies them into its own model; a shared one has them, and they are not even asked for."""
        if self._shared:
            return
        own = self.model.state_dict()
        for name, weight in weights:
            own[name].copy_(weight)

    def sleep(self) -> None:
        """Nothing to leave: between two batches it holds nothing but the model."""

    def wake(self) -> None:
        """Nothing to take."""

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        """Yields the rollouts of each batch of problems as it is done, in the order of `problems`.

        `first`: index of the first one among problems that several engines share. A batch that does not fit
        into memory is drawn again in halves, and so are all that follow. The draws
        depend on the size of the batches.

        Raises:
            BadConfig: one problem's samples do not fit.
        """
        self.model.eval()
        start = 0
        while start < len(problems):
            batch = problems[start : start + max(1, self._most // samples)]
            drawn = (seed * 1_000_003 + first + start) % 2**63
            rollouts = if_it_fits(partial(self._draw, batch, mode, samples, temperature, drawn))
            if rollouts is None:
                self._most = samples * self._half(len(batch), samples)
                continue
            yield rollouts
            start += len(batch)

    def _draw(
        self, batch: Sequence[Problem], mode: Mode, samples: int, temperature: float, seed: int
    ) -> list[Rollout]:
        prompts = [self.encode(problem, mode) for problem in batch]
        decoded = decode_batch(
            self.model,
            prompts,
            samples=samples,
            max_tokens=self.config.max_tokens,
            temperature=temperature,
            top_p=self.config.top_p,
            end_tokens=self._ends,
            generator=torch.Generator(device=self.model.device).manual_seed(seed),
            stop=stop_at(self.tokenizer, stops_of(self.tokenizer, self.config)),
            tool=self.interpreter.tool(self.config) if mode == "tir" else None,
        )
        return [
            as_rollout(
                self.tokenizer, batch[d.prompt], prompts[d.prompt], d, index % samples, mode, temperature
            )
            for index, d in enumerate(decoded)
        ]

    def _half(self, size: int, samples: int) -> int:
        """Half of the problems of a batch that did not fit."""
        if size == 1:
            raise BadConfig(
                f"out of memory with one problem, {samples} samples and sampling.max_tokens="
                f"{self.config.max_tokens}: lower samples or sampling.max_tokens, or take a smaller model"
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"out of memory with {size} problems in a batch; from now on {size // 2}", file=sys.stderr)
        return size // 2
