"""Batched decoding with any causal language model of transformers, on CPU or GPU.

It is fast for many short samples: a prompt is read once for all its samples, and what all prompts begin with
(few-shot examples) once for all prompts; keys and values are in one preallocated slab per layer (no
growing copies), finished sequences leave the batch, and interpreter output is fed into the cache instead of
starting a second prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from mathloop.answers import extract_answer
from mathloop.models.packing import common_prefix
from mathloop.records import FinishReason, Mode, Problem, Response
from mathloop.sampling.operators import decoding_operators
from mathloop.sampling.sampler import Rollout
from mathloop.sampling.stopping import Stop
from mathloop.sampling.token_drawing import draw

SHARED_TOKENS = 32
"""Tokens that prompts must begin with alike, at least, to be read by themselves first."""

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


class _Slab(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, written in place: [batch, heads, capacity, width].

    On a CPU keys are laid out as [batch, heads, width, capacity], the order in which a query reads them.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity, self.length = capacity, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        batch, heads, _, width = key_states.shape
        if key_states.device.type == "cpu":
            self.keys = key_states.new_empty(batch, heads, width, self.capacity).transpose(2, 3)
        else:
            self.keys = key_states.new_empty(batch, heads, self.capacity, width)
        self.values = value_states.new_empty(batch, heads, self.capacity, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, begin : self.length] = key_states
        self.values[:, :, begin : self.length] = value_states
        if begin == 0:
            return key_states, value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps `rows` of the batch, in that order; a row may be repeated."""
        old = self.keys[:, :, : self.length], self.values[:, :, : self.length]
        self.lazy_initialization(*(states[:1].expand(len(rows), -1, -1, -1) for states in old))
        for new, states in zip((self.keys, self.values), old, strict=True):
            new[:, :, : self.length] = states[rows]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.capacity


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
    device = next(model.parameters()).device
    width = max(map(len, prompts))
    cache = Cache(layers=[_Slab(width + max_tokens) for _ in range(model.config.num_hidden_layers)])
    sequences = [Decoded(prompt) for prompt in range(len(prompts)) for _ in range(samples)]
    running = list(sequences)
    with decoding_operators(model, len(sequences)):
        logits, mask, positions = _read(model, prompts, cache, width + max_tokens)
        repeated = torch.arange(len(prompts), device=device).repeat_interleave(samples)
        if samples > 1:
            _select(cache, repeated)
        logits, mask, position = logits[repeated], mask[repeated].bool(), positions[repeated] + 1
        if not getattr(model.config, "sliding_window", None):
            # [batch, 1, 1, seq]: transformers would build it anew from two dimensions at every step.
            mask = mask[:, None, None]
        for step in range(max_tokens):
            tokens, logprobs = draw(logits, temperature, top_p, generator)
            alive, tokens = _advance(running, tokens, logprobs, end_tokens, tool, stop)
            if step + 1 == max_tokens or not any(alive):
                break
            if sum(alive) <= 0.75 * len(running):
                rows = torch.tensor([row for row, stays in enumerate(alive) if stays], device=device)
                running = [sequence for sequence, stays in zip(running, alive, strict=True) if stays]
                _select(cache, rows)
                mask, position, tokens = mask[rows], position[rows], tokens[rows]
            logits = model(
                input_ids=tokens[:, None],
                attention_mask=mask[..., : width + step + 1],
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            position = position + 1
    return sequences


def _read(
    model: Any, prompts: Sequence[Sequence[int]], cache: Cache, columns: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fills the cache with the prompts: what all of them begin with, padding, the rest of each.

    Returns the logits [prompts, vocabulary] after each prompt, the mask [prompts, columns] of the cache, with
    ones after the prompts, and the position [prompts, 1] of each prompt's last token.
    """
    device = next(model.parameters()).device
    width = max(map(len, prompts))
    shared = common_prefix(prompts) if len(prompts) > 1 else 0
    if shared < SHARED_TOKENS:
        shared = 0
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), columns, dtype=torch.long)
    mask[:, :shared] = mask[:, width:] = 1
    for row, prompt in enumerate(prompts):
        rest = prompt[shared:]
        ids[row, width - len(rest) :] = torch.tensor(rest)
        mask[row, width - len(rest) :] = 1
    mask = mask.to(device)
    if shared:
        beginning = torch.tensor([prompts[0][:shared]], device=device)
        model(input_ids=beginning, past_key_values=cache, use_cache=True, logits_to_keep=1)
        _select(cache, torch.zeros(len(prompts), dtype=torch.long, device=device))
    positions = (mask[:, :width].cumsum(1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids[:, shared:].to(device),
        attention_mask=mask[:, :width],
        position_ids=positions[:, shared:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    return logits, mask, positions[:, -1:]


def _select(cache: Cache, rows: torch.Tensor) -> None:
    for layer in cache.layers:
        layer.select(rows)


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
