"""A chat completion request becomes a Question, or is refused in one line.

OpenAI's fields keep OpenAI's meaning. mathloop's own fields (`extra_body` of OpenAI's client) are `strategy`,
`samples`, `mode` and `adaptive`. An unsupported field that would change the answer is refused.
"""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass
from typing import Any

from mathloop.lines import parse_object, shown
from mathloop.records import Language, Mode
from mathloop.serving.config import MODEL, SolverConfig
from mathloop.serving.fields import one_of, read_choice, read_flag, read_number, read_stop, read_whole, wrong
from mathloop.serving.messages import Message, read_messages
from mathloop.serving.refusals import Refused
from mathloop.serving.token_logprobs import MOST_LIKELIEST
from mathloop.voting import STRATEGIES

MODES: tuple[Mode, ...] = ("cot", "tir")
MOST_STOPS = 16
LONGEST_STOP = 200
"""Characters."""

_RANDOM = random.Random()
"""Of seeds that a request does not set."""

SUPPORTED = (
    "model", "messages", "stream", "stream_options", "n", "temperature", "top_p", "seed", "max_tokens",
    "max_completion_tokens", "stop", "logprobs", "top_logprobs", "strategy", "samples", "mode", "adaptive",
)  # fmt: skip
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (False, True),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Unsupported OpenAI fields, with the values that request nothing and are accepted."""
IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "reasoning_effort",
    "verbosity",
)  # fmt: skip
"""Accepted fields that do not concern the answer, or that this model cannot follow."""


@dataclass(frozen=True)
class Question:
    """A problem with all settings of its answer, defaults included."""

    problem: str
    strategy: str
    """One of the voting strategies."""
    samples: int
    mode: Mode
    temperature: float
    """0 for greedy."""
    top_p: float
    seed: int
    """Random if the request has none."""
    max_tokens: int
    """Longest response, in tokens."""
    earlier: tuple[Message, ...] = ()
    """Messages before the problem."""
    stop: tuple[str, ...] = ()
    """Texts that end a response, which they are not part of."""
    choices: int = 1
    """Candidates in the reply, the best first; at most `samples`."""
    adaptive: bool | None = False
    """Stop drawing once the vote is settled; None: while other questions are there."""
    ignored: tuple[str, ...] = ()
    """Fields of the request that have no effect."""
    seeded: bool = True
    """The request has a seed."""
    may_cut: bool = True
    """`max_tokens` is the server's default: it may be lowered where the model's context ends earlier."""
    logprobs: bool = False
    """The reply has the log-probability of each sampled token."""
    likeliest: int = 0
    """Tokens whose log-probabilities the reply has in the place of each: OpenAI's `top_logprobs`."""
    stream: bool = False
    stream_usage: bool = False
    """The stream ends with a usage chunk."""
    stream_progress: bool = False
    """The stream tells the place in the queue, and each response as it arrives."""

    @property
    def by_token(self) -> bool:
        """Whether its one response is streamed while it is written: no vote decides about it."""
        return self.stream and STRATEGIES[self.strategy].needs == "greedy"

    def fitting(self, prompt: int, context: int) -> int:
        """Most tokens of a response after a prompt of so many, in a model's context. Raises Refused."""
        left = context - prompt
        if left < 1:
            message = f"the problem has {prompt} tokens; the model's context has {context}: shorten it"
            raise Refused(400, message, param="messages", code="context_length_exceeded")
        if left < self.max_tokens and not self.may_cut:
            message = (
                f"max_tokens: the problem has {prompt} tokens and the model's context has {context}: "
                f"ask for at most {left} more, not {self.max_tokens}, or leave it out"
            )
            raise Refused(400, message, param="max_tokens", code="context_length_exceeded")
        return min(left, self.max_tokens)

    @property
    def language(self) -> Language:
        """Chinese if more than a fifth of the characters are."""
        chinese = sum("\u4e00" <= c <= "\u9fff" for c in self.problem)
        return "zh" if chinese > 0.2 * len(self.problem) else "en"


def read_question(
    body: bytes, config: SolverConfig, *, has_reward_model: bool, modes: tuple[Mode, ...] = MODES
) -> Question:
    """Reads the body of a request. Raises Refused: 400, 404 for another model, 422 for a wrong value."""
    try:
        fields = {name: value for name, value in parse_object(body).items() if value is not None}
    except ValueError as error:
        raise Refused(400, f"the body is not a JSON object: {error}", code="invalid_json") from None
    _check_names(fields)
    if fields.get("model", MODEL) != MODEL:
        name = shown(fields["model"])
        raise Refused(
            404, f"model: this server has no {name}, only {MODEL!r}", param="model", code="model_not_found"
        )
    strategy, temperature = _strategy(fields, config, has_reward_model)
    greedy = STRATEGIES[strategy].needs == "greedy"
    choices = read_whole(fields, "n", 1, 1, config.most_samples)
    samples = 1 if greedy else min(max(config.samples, choices), config.most_samples)
    samples = read_whole(fields, "samples", samples, 1, config.most_samples)
    if greedy and samples != 1:
        message = f"samples: {strategy} draws one response, not {samples}; leave it out, or choose maj or rm"
        raise Refused(422, message, param="samples")
    if choices > samples:
        message = f"n: expected at most the number of samples, {samples}, of which it returns the best"
        raise Refused(422, message, param="n")
    mode = read_choice(fields, "mode", MODES, "cot")
    if mode not in modes:
        message = f"mode: this server's policy answers in {', '.join(modes)} only, not in {mode}"
        raise Refused(422, message, param="mode", code="unsupported_value")
    limit = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    options = fields.get("stream_options", {})
    if not isinstance(options, dict):
        raise wrong("stream_options", "an object", options)
    seeded = "seed" in fields
    usual = {"always": True, "never": False}.get(config.adaptive, False if seeded else None)
    problem, earlier = read_messages(fields.get("messages"))
    return Question(
        problem=problem,
        earlier=earlier,
        stop=read_stop(fields, MOST_STOPS, LONGEST_STOP),
        choices=choices,
        adaptive=read_flag(fields, "adaptive") if "adaptive" in fields else usual,
        ignored=tuple(name for name in IGNORED if name in fields),
        strategy=strategy,
        samples=samples,
        mode=mode,
        temperature=temperature,
        top_p=read_number(fields, "top_p", 1.0, 1e-6, 1.0),
        seed=read_whole(fields, "seed", _RANDOM.getrandbits(31), -(2**63), 2**63 - 1),
        max_tokens=read_whole(fields, limit, config.max_tokens, 1, 2**20),
        seeded=seeded,
        may_cut=limit not in fields,
        logprobs=read_flag(fields, "logprobs"),
        likeliest=_likeliest(fields),
        stream=read_flag(fields, "stream"),
        stream_usage=read_flag(options, "include_usage"),
        stream_progress=read_flag(options, "include_progress"),
    )


def _likeliest(fields: dict[str, Any]) -> int:
    most = read_whole(fields, "top_logprobs", 0, 0, MOST_LIKELIEST)
    if most and not read_flag(fields, "logprobs"):
        raise Refused(422, "top_logprobs: needs logprobs; set it to true", param="top_logprobs")
    return most


def _check_names(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name in UNSUPPORTED and value not in UNSUPPORTED[name]:
            message = f"{name}: not supported by this server; leave it out"
            raise Refused(400, message, param=name, code="unsupported_parameter")
        if name not in SUPPORTED and name not in UNSUPPORTED and name not in IGNORED:
            near = difflib.get_close_matches(name, SUPPORTED, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(SUPPORTED)}"
            message = f"{shown(name)}: not a field of this API; {hint}"
            raise Refused(400, message, param=name[:60], code="unknown_parameter")


def strategies(has_reward_model: bool) -> list[str]:
    """The voting strategies that are possible with or without a reward model."""
    return [name for name, one in STRATEGIES.items() if has_reward_model or one.needs != "rewards"]


def default_strategy(has_reward_model: bool) -> str:
    """The one that answers best without being chosen: every vote counts, by its reward where there is one."""
    return "weighted" if has_reward_model else "maj"


def _asks_for_samples(fields: dict[str, Any]) -> bool:
    """Whether a request that names no strategy cannot mean greedy."""
    return any(
        fields.get(name, usual) != usual for name, usual in (("samples", 1), ("n", 1), ("temperature", 0))
    )


def _strategy(fields: dict[str, Any], config: SolverConfig, has_reward_model: bool) -> tuple[str, float]:
    """Strategy and temperature; a temperature of 0 without `samples` means greedy, as in OpenAI's API."""
    default = config.strategy or default_strategy(has_reward_model)
    if STRATEGIES[default].needs == "greedy" and _asks_for_samples(fields):
        default = default_strategy(has_reward_model)
    if fields.get("temperature") == 0 and "samples" not in fields:
        default = "greedy"
    strategy = read_choice(fields, "strategy", tuple(STRATEGIES), default)
    if strategy not in strategies(has_reward_model):
        others = one_of(strategies(has_reward_model))
        message = f"strategy: {strategy} needs a reward model, and this server has none; choose {others}"
        raise Refused(422, message, param="strategy", code="unsupported_value")
    if STRATEGIES[strategy].needs == "greedy":
        if read_number(fields, "temperature", 0.0, 0.0, 2.0) != 0:
            message = f"temperature: {strategy} implies 0; leave it out, or choose maj or rm"
            raise Refused(422, message, param="temperature")
        return strategy, 0.0
    temperature = read_number(fields, "temperature", config.temperature, 0.0, 2.0)
    if temperature == 0:
        message = (
            f"temperature: with 0 all responses are equal; set it above 0 for {strategy}, or choose greedy"
        )
        raise Refused(422, message, param="temperature")
    return strategy, temperature
