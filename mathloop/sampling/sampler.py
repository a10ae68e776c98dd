"""A sampler draws responses: prompts rendered, tokens decoded, Python run, answers extracted.

`Sampler` is the protocol that stages ask for; `TransformersSampler` is the engine of this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import torch

from mathloop.answers import extract_answer
from mathloop.errors import BadModel, MathloopError
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import Decoded, Tool, decode_batch
from mathloop.sampling.prompts import TOOL_MARK, end_of_turn, render_prompt
from mathloop.sandbox import Sandbox, SandboxConfig

Found = TypeVar("Found")
_CODE = re.compile(r"```python\n(.*?)\n?```", re.DOTALL)


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
    """Draws responses of one model."""

    def sample(
        self, problems: Sequence[Problem], *, mode: Mode, samples: int, temperature: float, seed: int
    ) -> list[Rollout]:
        """`samples` rollouts for each problem, in order, the same for the same seed."""
        ...


class TransformersSampler:
    """Samples with transformers in this process; Python blocks run in the sandbox."""

    def __init__(self, model: Any, tokenizer: Any, config: SamplingConfig) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self._ends = frozenset({int(tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer)))})
        self._may_end: frozenset[int] | None = None
        self._sandbox: Sandbox | None = None
        self._outputs: dict[tuple[str, ...], str] = {}
        self._lasting: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Which blocks of a solution count: one that ran out of time leaves no names behind."""

    @classmethod
    def load(cls, folder: Path, config: SamplingConfig) -> TransformersSampler:
        """Loads a model folder. Raises BadModel when it is not one."""
        model, tokenizer = load_model(folder, getattr(torch, config.dtype))
        return cls(model, tokenizer, config)

    def __enter__(self) -> TransformersSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the sandbox, if one was started."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

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
        """Yields the rollouts of each batch of problems as it is done, in the order of `problems`."""
        self.model.eval()
        per_batch = max(1, self.config.batch_size // samples)
        for start in range(0, len(problems), per_batch):
            batch = problems[start : start + per_batch]
            prompts = [
                self.tokenizer(render_prompt(self.tokenizer, p.problem, mode), add_special_tokens=False)[
                    "input_ids"
                ]
                for p in batch
            ]
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
                tool=self._tool() if mode == "tir" else None,
            )
            yield [
                self._rollout(batch[d.prompt], prompts[d.prompt], d, index % samples, mode, temperature)
                for index, d in enumerate(decoded)
            ]

    def _rollout(
        self,
        problem: Problem,
        prompt: list[int],
        decoded: Decoded,
        index: int,
        mode: Mode,
        temperature: float,
    ) -> Rollout:
        kept = decoded.tokens[:-1] if decoded.finish_reason == "stop" else decoded.tokens
        text = self.tokenizer.decode(kept)
        response = Response(
            problem_id=problem.id,
            sample=index,
            mode=mode,
            text=text,
            answer=extract_answer(text, problem.language),
            finish_reason=decoded.finish_reason,
            tokens=sum(decoded.sampled),
            tool_calls=decoded.tool_calls,
            temperature=temperature,
        )
        return Rollout(response, prompt, decoded.tokens, decoded.logprobs, decoded.sampled)

    def _tool(self) -> Tool:
        if self._may_end is None:
            self._may_end = _tokens_that_may_end(self.tokenizer, TOOL_MARK)
        if self._sandbox is None:
            self._sandbox = Sandbox(
                SandboxConfig(
                    seconds=self.config.tool_seconds, output_chars=self.config.tool_chars, workers=2
                )
            )
        return Tool(
            mark=TOOL_MARK,
            may_end=self._may_end,
            decode=self.tokenizer.decode,
            encode=lambda text: self.tokenizer(text, add_special_tokens=False)["input_ids"],
            run=self._run_python,
            limit=self.config.tool_calls,
        )

    def _run_python(self, texts: list[str]) -> list[str]:
        """Runs the last block of each text after its earlier ones; equal programs run once."""
        assert self._sandbox is not None
        programs = [tuple(_CODE.findall(text)) for text in texts]
        fresh = list(dict.fromkeys(p for p in programs if p and p not in self._outputs))
        earlier = [self._lasting.get(program[:-1], program[:-1]) for program in fresh]
        runs = [(*blocks, program[-1]) for blocks, program in zip(earlier, fresh, strict=True)]
        executions = self._sandbox.run_many(runs, keep=True)
        for program, blocks, run, execution in zip(fresh, earlier, runs, executions, strict=True):
            self._outputs[program] = execution.text(self.config.tool_chars)
            self._lasting[program] = run if execution.kept else blocks
        # A fence that a program prints would end its output block early, or open one of the model's.
        outputs = [self._outputs.get(program, "").replace("```", "'''") for program in programs]
        return [f"\n{output}\n```\n" for output in outputs]


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


def _tokens_that_may_end(tokenizer: Any, mark: str) -> frozenset[int]:
    """Tokens with which a text can come to end in `mark`: its text is an end of `mark`, or ends in it."""
    found = set()
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if text and (mark.endswith(text) or text.endswith(mark)):
            found.add(token)
    return frozenset(found)
