"""The engine of transformers: batched decoding in this process, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathloop.models.loading import load_policy
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import as_rollout, decode_batch
from mathloop.sampling.interpreter import Interpreter
from mathloop.sampling.prompts import encode_prompt, end_of_turn
from mathloop.sampling.sampler import Rollout, Sampler


class TransformersSampler(Sampler):
    """Samples with transformers in this process; Python blocks run in the sandbox."""

    def __init__(self, model: Any, tokenizer: Any, config: SamplingConfig, *, shared: bool = True) -> None:
        """`shared`: somebody else trains `model`, so that it always has the newest weights."""
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self._shared = shared
        self._ends = frozenset({int(tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer)))})
        self._interpreter = Interpreter(tokenizer)

    @classmethod
    def load(cls, folder: Path, config: SamplingConfig) -> TransformersSampler:
        """Loads a policy's folder. Raises BadModel where it is not one."""
        model, tokenizer = load_policy(folder, getattr(torch, config.dtype))
        return cls(model, tokenizer, config, shared=False)

    @classmethod
    def beside_trainer(
        cls, folder: Path, net: Any, tokenizer: Any, config: SamplingConfig
    ) -> TransformersSampler:
        """Draws with `net` itself; `folder`, which has its first weights, is not read."""
        return cls(net, tokenizer, config)

    def close(self) -> None:
        """Stops the sandbox, if one was started."""
        self._interpreter.close()

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
        self, problems: Sequence[Problem], *, mode: Mode, samples: int, temperature: float, seed: int
    ) -> Iterator[list[Rollout]]:
        """Yields the rollouts of each batch of problems as it is done, in the order of `problems`."""
        self.model.eval()
        per_batch = max(1, self.config.batch_size // samples)
        for start in range(0, len(problems), per_batch):
            batch = problems[start : start + per_batch]
            prompts = [encode_prompt(self.tokenizer, p.problem, mode) for p in batch]
            generator = torch.Generator(device=self.model.device).manual_seed(
                (seed * 1_000_003 + start) % 2**63
            )
            decoded = decode_batch(
                self.model,
                prompts,
                samples=samples,
                max_tokens=self.config.max_tokens,
                temperature=temperature,
                top_p=self.config.top_p,
                end_tokens=self._ends,
                generator=generator,
                tool=self._interpreter.tool(self.config) if mode == "tir" else None,
            )
            yield [
                as_rollout(
                    self.tokenizer, batch[d.prompt], prompts[d.prompt], d, index % samples, mode, temperature
                )
                for index, d in enumerate(decoded)
            ]
