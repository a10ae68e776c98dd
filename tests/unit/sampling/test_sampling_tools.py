"""The tool loop with a real sandbox; a scripted model writes the text around the interpreter's output."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.prompts import render_prompt
from mathloop.sampling.sampler import Rollout, TransformersSampler

FIRST = "Let us see.\n```python\nx = 6\nprint(x * 7)\n```\n```output"
SECOND = "And again.\n```python\nprint(x + 1)\n```\n```output"
Part = str | tuple[str]
"""What the model writes, or (what the interpreter writes,): there the model would write something else."""


class Scripted(nn.Module):
    """Writes each prompt's script. Its cache holds the tokens read, so that rows may come and go."""

    def __init__(self, tokenizer: Any, scripts: dict[str, list[Part]], mode: Mode) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.config, self.device = SimpleNamespace(num_hidden_layers=1), torch.device("cpu")
        self.vocabulary, self.garbage = len(tokenizer), tokenizer.encode("?")[0]
        self.scripts: list[tuple[list[int], list[int]]] = []
        for problem, parts in scripts.items():
            written: list[int] = []
            for part in parts:
                tokens = tokenizer.encode(part if isinstance(part, str) else part[0])
                written += tokens if isinstance(part, str) else [self.garbage] * len(tokens)
            prompt = tokenizer.encode(render_prompt(tokenizer, problem, mode))
            self.scripts.append((prompt, [*written, tokenizer.eos_token_id]))

    def forward(self, input_ids: torch.Tensor, past_key_values: Any, **given: Any) -> SimpleNamespace:
        read, _ = past_key_values.update(input_ids[:, None, :, None], input_ids[:, None, :, None], 0)
        logits = torch.zeros(len(input_ids), 1, self.vocabulary)
        for row, tokens in enumerate(read[:, 0, :, 0].tolist()):
            seen = tokens[next(i for i, token in enumerate(tokens) if token) :]  # without padding
            for prompt, script in self.scripts:
                if seen[: len(prompt)] == prompt:
                    logits[row, 0, (script + [self.garbage] * 400)[len(seen) - len(prompt)]] = 50.0
        return SimpleNamespace(logits=logits)


@pytest.fixture
def sample(tokenizer: Any) -> Iterator[Any]:
    """Runs scripts, problem → parts, and gives the rollouts."""
    opened: list[TransformersSampler] = []

    def run(scripts: dict[str, list[Part]], *, mode: Mode = "tir", samples: int = 1, **given: Any) -> Any:
        config = SamplingConfig(**{"max_tokens": 300, **given})
        opened.append(TransformersSampler(Scripted(tokenizer, scripts, mode), tokenizer, config))
        problems = [Problem(f"p{index}", text) for index, text in enumerate(scripts)]
        return opened[-1].sample(problems, mode=mode, samples=samples, temperature=1.0, seed=0)

    yield run
    for sampler in opened:
        sampler.close()


def check(tokenizer: Any, rollout: Rollout, parts: list[Part], end: str = "<|im_end|>") -> None:
    """The rollout's tokens are those of the parts, and `sampled` tells who wrote them."""
    tokens, sampled = [], []
    for part in [*parts, end] if end else parts:
        encoded = tokenizer.encode(part if isinstance(part, str) else part[0])
        tokens += encoded
        sampled += [isinstance(part, str)] * len(encoded)
    assert tokenizer.decode(rollout.tokens) == tokenizer.decode(tokens)
    assert rollout.tokens == tokens
    assert rollout.sampled == sampled
    assert rollout.response.tokens == sum(sampled)
    assert len(rollout.logprobs) == len(tokens)
    assert all(p == 0.0 for p, own in zip(rollout.logprobs, sampled, strict=True) if not own)


def test_output_comes_after_the_mark(tokenizer: Any, sample: Any) -> None:
    parts = [FIRST, ("\n42\n```\n",), SECOND, ("\n7\n```\n",), "It is $\\boxed{7}$."]
    (rollout,) = sample({"one": parts})
    check(tokenizer, rollout, parts)
    response = rollout.response
    assert response.text == "".join(part if isinstance(part, str) else part[0] for part in parts)
    assert (response.answer, response.tool_calls, response.finish_reason) == ("7", 2, "stop")


def test_each_sequence_gets_its_own_output(tokenizer: Any, sample: Any) -> None:
    scripts: dict[str, list[Part]] = {
        "Short.": [FIRST, ("\n42\n```\n",), "So \\boxed{42}."],
        "Twins": [FIRST.replace("7", "8"), ("\n48\n```\n",), "So \\boxed{48}."],  # asks at the same step
        "A longer problem.": ["No Python here: \\boxed{1}."],
        "An error": [
            "```python\nprint(1 / 0)\n```\n```output",
            ("\nZeroDivisionError: division by zero\n```\n",),
            "Oh.",
        ],
        "Nothing to run": ["See ```output", ("\n\n```\n",), "."],
        "Two blocks, and a problem of many words": [FIRST, ("\n42\n```\n",), SECOND, ("\n7\n```\n",), "!"],
    }
    rollouts = sample(scripts, samples=2)
    assert [r.response.problem_id for r in rollouts] == [f"p{i // 2}" for i in range(12)]
    assert [r.response.sample for r in rollouts] == [0, 1] * 6
    for index, rollout in enumerate(rollouts):
        check(tokenizer, rollout, list(scripts.values())[index // 2])


def test_the_call_limit_ends_a_response(tokenizer: Any, sample: Any) -> None:
    (rollout,) = sample({"one": [FIRST, ("\n42\n```\n",), SECOND, "not reached"]}, tool_calls=1)
    check(tokenizer, rollout, [FIRST, ("\n42\n```\n",), SECOND], end="")
    assert rollout.response.finish_reason == "tool_limit"
    assert rollout.response.tool_calls == 1
    assert rollout.response.text.endswith("```output")


def test_no_call_is_allowed(tokenizer: Any, sample: Any) -> None:
    (rollout,) = sample({"one": [FIRST, "not reached"]}, tool_calls=0)
    check(tokenizer, rollout, [FIRST], end="")
    assert (rollout.response.finish_reason, rollout.response.tool_calls) == ("tool_limit", 0)


def test_long_output_is_cut(tokenizer: Any, sample: Any) -> None:
    parts = ["```python\nprint('ab' * 500)\n```\n```output", ("\nababababab\n```\n",), "Fine."]
    (rollout,) = sample({"one": parts}, tool_chars=10)
    check(tokenizer, rollout, parts)


def test_a_response_may_end_inside_the_output(tokenizer: Any, sample: Any) -> None:
    bound = len(tokenizer.encode(FIRST)) + 2
    (rollout,) = sample({"one": [FIRST, ("\n42\n```\n",), "not reached"]}, max_tokens=bound)
    assert len(rollout.tokens) == bound
    assert rollout.sampled == [True] * (bound - 2) + [False] * 2
    assert rollout.response.finish_reason == "length"


def test_cot_runs_nothing(tokenizer: Any, sample: Any) -> None:
    (rollout,) = sample({"one": [FIRST, "\nMy own guess."]}, mode="cot")
    check(tokenizer, rollout, [FIRST, "\nMy own guess."])
    assert rollout.response.tool_calls == 0


def test_a_printed_fence_does_not_end_the_output(tokenizer: Any, sample: Any) -> None:
    program = "```python\nprint(chr(96) * 3 + 'python')\n```\n```output"
    parts: list[Part] = [program, ("\n'''python\n```\n",), "So \\boxed{1}."]
    (rollout,) = sample({"one": parts})
    check(tokenizer, rollout, parts)
