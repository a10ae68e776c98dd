"""Batched decoding with any causal language model of transformers, on CPU or GPU.

It is fast for many short samples: a prompt is read once for all its samples, and what all prompts begin with
(few-shot examples) once for all prompts; keys and values are in one preallocated slab per layer (no
growing copies), finished sequences leave the batch, and interpreter output is fed into the cache instead of
starting a second prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from transformers.cache_utils import Cache

from mathloop.answers import extract_answer
from mathloop.records import FinishReason, Mode, Problem, Response
from mathloop.sampling.operators import decoding_operators
from mathloop.sampling.own_cache import OwnCacheSteps, shares_caches
from mathloop.sampling.reading import Read, new_cache, read_prompts, select
from mathloop.sampling.sampler import Rollout
from mathloop.sampling.stopping import Stop
from mathloop.sampling.token_drawing import draw
from mathloop.sampling.token_steps import TokenSteps, has_plain_layers

ToolRunner = Callable[[list[str]], list[str]]
"""Texts so far (each ends in the tool mark) → the text to insert after each mark."""


@dataclass
class Decoded:
    """One decoded sequence. `sampled[i]` is False where the interpreter wrote token i."""

    prompt: int
    """Index of its prompt."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Log-probability of each sampled token under the distribution that it was drawn from, before top-p."""
    sampled: list[bool] = field(default_factory=list)
    finish_reason: FinishReason = "length"
    stop: str = ""
    """The stop text that ended it; empty where an end token did, or nothing."""
    tool_calls: int = 0
    forced: list[int] = field(default_factory=list)
    """Interpreter tokens that are still to be fed."""
    likeliest: list[list[tuple[int, float]]] = field(default_factory=list)
    """At each token, the likeliest ones with their log-probabilities; empty unless asked for."""


class TextDecoder(Protocol):
    """The part of a tokenizer that decoding needs."""

    def decode(self, tokens: list[int]) -> str: ...


@dataclass(frozen=True)
class Tool:
    """The tool that is called when a sequence writes `mark`."""

    mark: str
    may_end: frozenset[int]
    """Tokens after which the text may end in `mark`; only then is it decoded."""
    decode: Callable[[list[int]], str]
    encode: Callable[[str], list[int]]
    run: ToolRunner
    limit: int
    """Calls per response."""


@torch.inference_mode()
def decode_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    samples: int,
    max_tokens: int,
    temperature: float,
    top_p: float,
    end_tokens: frozenset[int],
    generator: torch.Generator,
    tool: Tool | None = None,
    stop: Stop | None = None,
) -> list[Decoded]:
    """Draws `samples` sequences for each prompt, in order: prompt 0's first.

    `max_tokens` bounds the tokens after the prompt, interpreter output included. Temperature 0 is greedy.
    """
    sequences = [Decoded(prompt) for prompt in range(len(prompts)) for _ in range(samples)]
    running = list(sequences)
    with _beginning(model, prompts, samples, max_tokens) as (steps, logits):
        for step in range(max_tokens):
            tokens, logprobs = draw(logits, temperature, top_p, generator)
            alive, tokens = _advance(running, tokens, logprobs, end_tokens, tool, stop)
            if step + 1 == max_tokens or not any(alive):
                break
            if sum(alive) <= 0.75 * len(running):
                rows = torch.tensor([row for row, stays in enumerate(alive) if stays], device=tokens.device)
                running = [sequence for sequence, stays in zip(running, alive, strict=True) if stays]
                steps.keep(rows)
                tokens = tokens[rows]
            logits = steps.logits(tokens)
    return sequences


@contextmanager
def _beginning(
    model: Any, prompts: Sequence[Sequence[int]], samples: int, max_tokens: int
) -> Iterator[tuple[TokenSteps | _ModelSteps | OwnCacheSteps, torch.Tensor]]:
    """Reads the prompts; yields the steps of their samples, and the logits [batch, vocabulary] so far."""
    width = max(map(len, prompts))
    if has_plain_layers(model):
        cache = new_cache(model, width, torch.float32)
        read = read_prompts(model, prompts, cache, width, plain=True)
        yield TokenSteps(model, cache, read, samples, max_tokens), read.logits.repeat_interleave(samples, 0)
        return
    if not shares_caches(model):
        with torch.autocast("cpu", enabled=False):
            own = OwnCacheSteps(model, prompts, samples)
            yield own, own.first.repeat_interleave(samples, 0)
        return
    cache = new_cache(model, width + max_tokens)
    # Autocast would round weights anew at every step.
    with torch.autocast("cpu", enabled=False), decoding_operators(model, len(prompts) * samples):
        read = read_prompts(model, prompts, cache, width + max_tokens)
        yield _ModelSteps(model, cache, read, samples), read.logits.repeat_interleave(samples, 0)


class _ModelSteps:
    """Steps by the model itself, whatever its layers are, with a row of the cache for each sequence."""

    def __init__(self, model: Any, cache: Cache, read: Read, samples: int) -> None:
        self._model, self._cache = model, cache
        repeated = torch.arange(len(read.mask), device=read.mask.device).repeat_interleave(samples)
        if samples > 1:
            select(cache, repeated)
        self._mask, self._positions = read.mask[repeated].bool(), read.positions[repeated]
        if not getattr(model.config, "sliding_window", None):
            # [batch, 1, 1, seq]: transformers would build it anew from two dimensions at every step.
            self._mask = self._mask[:, None, None]

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [batch, vocabulary] after one more token [batch] of each sequence."""
        self._positions = self._positions + 1
        logits: torch.Tensor = self._model(
            input_ids=tokens[:, None],
            attention_mask=self._mask[..., : self._cache.get_seq_length() + 1],
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        """Ends all sequences but `rows`, in that order."""
        select(self._cache, rows)
        self._mask, self._positions = self._mask[rows], self._positions[rows]


def _advance(
    running: list[Decoded],
    tokens: torch.Tensor,
    logprobs: torch.Tensor,
    end_tokens: frozenset[int],
    tool: Tool | None,
    stop: Stop | None,
) -> tuple[list[bool], torch.Tensor]:
    """Appends one token to every running sequence; returns which ones continue, and the tokens appended."""
    drawn, scores = tokens.tolist(), logprobs.tolist()
    alive = [False] * len(running)
    asking: list[int] = []
    for row, sequence in enumerate(running):
        if sequence.finish_reason != "length":
            continue
        move = extend(sequence, drawn[row], scores[row], end_tokens, tool, stop)
        drawn[row] = sequence.tokens[-1]
        alive[row] = move != "ends"
        if move == "asks":
            asking.append(row)
    if asking and tool is not None:
        outputs = tool.run([tool.decode(running[row].tokens) for row in asking])
        for row, output in zip(asking, outputs, strict=True):
            running[row].tool_calls += 1
            running[row].forced = tool.encode(output)
    return alive, torch.tensor(drawn, device=tokens.device)


def extend(
    sequence: Decoded,
    token: int,
    logprob: float,
    end_tokens: frozenset[int],
    tool: Tool | None,
    stop: Stop | None,
) -> Literal["continues", "asks", "ends"]:
    """Appends a drawn token, or the interpreter's next one in its place; it may ask the tool, or end."""
    if sequence.forced:
        sequence.tokens.append(sequence.forced.pop(0))
        sequence.logprobs.append(0.0)
        sequence.sampled.append(False)
        return "continues"
    sequence.tokens.append(token)
    sequence.logprobs.append(logprob)
    sequence.sampled.append(True)
    if token in end_tokens:
        sequence.finish_reason = "stop"
        return "ends"
    if stop is not None and (text := stop.find(sequence.tokens, sequence.sampled)):
        sequence.finish_reason, sequence.stop = "stop", text
        return "ends"
    if tool is None or token not in tool.may_end:
        return "continues"
    if not tool.decode(sequence.tokens[-12:]).endswith(tool.mark):
        return "continues"
    if sequence.tool_calls >= tool.limit:
        sequence.finish_reason = "tool_limit"
        return "ends"
    return "asks"


def as_rollout(
    tokenizer: Any,
    problem: Problem,
    prompt: list[int],
    decoded: Decoded,
    sample: int,
    mode: Mode,
    temperature: float,
) -> Rollout:
    """The sequence decoded after `prompt` as response number `sample`; its text has no end token or stop."""
    ended = decoded.finish_reason == "stop" and not decoded.stop
    text = tokenizer.decode(decoded.tokens[:-1] if ended else decoded.tokens)
    if decoded.stop:
        text = text[: text.rfind(decoded.stop)]
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
