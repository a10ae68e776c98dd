"""A sampler draws responses: prompts rendered, tokens decoded, Python run, answers extracted.

`Sampler` is the protocol that stages ask for, `load_sampler` gives the one that their config names.
`TransformersSampler` is the engine of this module; vLLM's is in vllm_engine.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import torch

from mathloop.answers import extract_answer
from mathloop.errors import BadModel, MathloopError
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import Decoded, decode_batch
from mathloop.sampling.interpreter import Interpreter
from mathloop.sampling.prompts import encode_prompt, end_of_turn

Found = TypeVar("Found")


@dataclass
class Rollout:
    """A response with the tokens that made it, for a trainer."""

    response: Response
    prompt_tokens: list[int]
    tokens: list[int]
    logprobs: list[float]
    sampled: list[bool]
    """False where the interpreter wrote the token."""


class Sampler(Protocol):
    """Draws responses of one model. Used as a context, it ends with what it started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees what it holds."""
        ...

    def sample(
        self, problems: Sequence[Problem], *, mode: Mode, samples: int, temperature: float, seed: int
    ) -> list[Rollout]:
        """`samples` rollouts for each problem, in order. A pure function of its arguments and the weights."""
        return [
            rollout
            for group in self.stream(problems, mode=mode, samples=samples, temperature=temperature, seed=seed)
            for rollout in group
        ]

    def stream(
        self, problems: Sequence[Problem], *, mode: Mode, samples: int, temperature: float, seed: int
    ) -> Iterator[list[Rollout]]:
        """The same rollouts as they are done, in order: all those of one or more problems at a time."""
        ...


def load_sampler(folder: Path, config: SamplingConfig) -> Sampler:
    """A sampler of the model in `folder` with the engine that `config` names.

    Raises:
        BadModel: the folder is not a model.
        BadConfig: the engine is not installed.
    """
    if config.engine == "vllm":
        from mathloop.sampling.vllm_engine import VllmSampler

        return VllmSampler.load(folder, config)
    return TransformersSampler.load(folder, config)


class TransformersSampler(Sampler):
    """Samples with transformers in this process; Python blocks run in the sandbox."""

    def __init__(self, model: Any, tokenizer: Any, config: SamplingConfig) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self._ends = frozenset({int(tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer)))})
        self._interpreter = Interpreter(tokenizer)

    @classmethod
    def load(cls, folder: Path, config: SamplingConfig) -> TransformersSampler:
        """Loads a model folder. Raises BadModel when it is not one."""
        model, tokenizer = load_model(folder, getattr(torch, config.dtype))
        return cls(model, tokenizer, config)

    def close(self) -> None:
        """Stops the sandbox, if one was started."""
        self._interpreter.close()

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


def as_rollout(
    tokenizer: Any,
    problem: Problem,
    prompt: list[int],
    decoded: Decoded,
    sample: int,
    mode: Mode,
    temperature: float,
) -> Rollout:
    """What was decoded after `prompt` as response number `sample`; the token that ends it is no text."""
    kept = decoded.tokens[:-1] if decoded.finish_reason == "stop" else decoded.tokens
    text = tokenizer.decode(kept)
    response = Response(
        problem_id=problem.id,
        sample=sample,
        mode=mode,
        text=text,
        answer=extract_answer(text, problem.language),
        finish_reason=decoded.finish_reason,
        tokens=sum(decoded.sampled),
        tool_calls=decoded.tool_calls,
        temperature=temperature,
    )
    return Rollout(response, prompt, decoded.tokens, decoded.logprobs, decoded.sampled)


def loaded(place: Path, load: Callable[[Path], Found], remedy: str) -> Found:
    """`load(place)`; raises BadModel, in one line with the remedy, whatever is wrong with its files."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # what is wrong is said once, by us
    try:
        return load(place)
    except MathloopError:
        raise
    except Exception as error:  # loaders do not say what a damaged file makes them raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadModel(f"{place}: cannot be loaded as a model ({reason}); {remedy}") from error


def load_model(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Loads (model, tokenizer) from a folder of safetensors, never running code that it brings.

    Raises BadModel when the folder is missing or is not a model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # a stage's log holds one progress, its own
    logging.set_verbosity_error()  # a reward model's backbone is loaded without its head
    if not (folder / "config.json").is_file():
        raise BadModel(f"{folder}: no config.json there; expected a folder that save_pretrained wrote")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadModel(f"{folder}: cannot be loaded as a model: {str(error).splitlines()[0]}") from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
