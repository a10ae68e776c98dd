"""Models that write given texts: one for transformers' engine, one in the place of vLLM's."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import nn

from mathloop.records import Mode
from mathloop.sampling.prompts import render_prompt

Part = str | tuple[str]
"""What the model writes, or (what the interpreter writes,): there the model would write something else."""
Scripts = list[tuple[list[int], list[int]]]
"""(prompt, what follows it) in tokens."""


def as_tokens(tokenizer: Any, scripts: dict[str, list[Part]], mode: Mode) -> Scripts:
    """Problem → parts, as tokens; garbage stands where the interpreter writes."""
    found: Scripts = []
    for problem, parts in scripts.items():
        written: list[int] = []
        for part in parts:
            tokens = tokenizer.encode(part if isinstance(part, str) else part[0])
            written += tokens if isinstance(part, str) else [garbage(tokenizer)] * len(tokens)
        prompt = tokenizer.encode(render_prompt(tokenizer, problem, mode))
        found.append((prompt, [*written, tokenizer.eos_token_id]))
    return found


def garbage(tokenizer: Any) -> int:
    return int(tokenizer.encode("?")[0])


class ScriptedModel(nn.Module):
    """Writes each prompt's script. Its cache holds the tokens read, so that rows may come and go."""

    def __init__(self, tokenizer: Any, scripts: dict[str, list[Part]], mode: Mode) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(num_hidden_layers=1, model_type="llama")
        self.device = torch.device("cpu")
        self.vocabulary, self.garbage = len(tokenizer), garbage(tokenizer)
        self.scripts = as_tokens(tokenizer, scripts, mode)

    def forward(self, input_ids: torch.Tensor, past_key_values: Any, **given: Any) -> SimpleNamespace:
        read, _ = past_key_values.update(input_ids[:, None, :, None], input_ids[:, None, :, None], 0)
        logits = torch.zeros(len(input_ids), 1, self.vocabulary)
        for row, tokens in enumerate(read[:, 0, :, 0].tolist()):
            seen = tokens[next(i for i, token in enumerate(tokens) if token) :]  # without padding
            for prompt, script in self.scripts:
                if seen[: len(prompt)] == prompt:
                    logits[row, 0, (script + [self.garbage] * 400)[len(seen) - len(prompt)]] = 50.0
        return SimpleNamespace(logits=logits)


class ScriptedEngine:
    """The part of vLLM's engine that the tool loop uses; a step ends one request, any of them."""

    def __init__(self, tokenizer: Any, scripts: dict[str, list[Part]], mode: Mode, context: int) -> None:
        self.model_config, self.engine_core = SimpleNamespace(max_model_len=context), MagicMock()
        self.tokenizer, self.scripts = tokenizer, as_tokens(tokenizer, scripts, mode)
        self.waiting: dict[str, tuple[list[int], Any]] = {}
        self.chance, self.most = random.Random(0), 0
        """Requests that it held at one time."""

    def add_request(self, name: str, prompt: dict[str, list[int]], params: Any) -> None:
        assert name not in self.waiting
        assert params.max_tokens >= 1
        assert len(prompt["prompt_token_ids"]) + params.max_tokens <= self.model_config.max_model_len
        self.waiting[name] = prompt["prompt_token_ids"], params
        self.most = max(self.most, len(self.waiting))

    def abort_request(self, names: list[str]) -> None:
        for name in names:
            self.waiting.pop(name, None)

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[SimpleNamespace]:
        name = self.chance.choice(sorted(self.waiting))
        seen, params = self.waiting.pop(name)
        prompt, script = next(s for s in self.scripts if seen[: len(s[0])] == s[0])
        tokens: list[int] = []
        reason, mark = "length", None
        for token in script[len(seen) - len(prompt) :][: params.max_tokens]:
            tokens.append(token)
            text = self.tokenizer.decode(tokens)
            if token in params.stop_token_ids:
                reason = "stop"
                break
            if mark := next((mark for mark in params.stop if mark in text), None):
                reason = "stop"
                break
        rows = [{token: SimpleNamespace(logprob=-0.5)} for token in tokens]
        completion = SimpleNamespace(token_ids=tokens, logprobs=rows, finish_reason=reason, stop_reason=mark)
        return [SimpleNamespace(request_id=name, outputs=[completion])]
