"""The tool loop of both engines with a real sandbox; a script gives the text around what Python prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.engines.vllm_engine import VllmSampler
from mathloop.sampling.sampler import Rollout, Sampler
from tests.unit.sampling.scripted import Part, ScriptedEngine, ScriptedModel

FIRST = "Let us see.\n```python\nx = 6\nprint(x * 7)\n```\n```output"
SECOND = "And again.\n```python\nprint(x + 1)\n```\n```output"


@pytest.fixture(params=["transformers", "vllm"])
def sample(tokenizer: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs scripts, problem → parts, with either engine, and gives the rollouts."""
    opened: list[Sampler] = []
    if request.param == "vllm":
        for name in ("vllm", "vllm.sampling_params"):
            monkeypatch.setitem(sys.modules, name, MagicMock(SamplingParams=SimpleNamespace))

    def run(scripts: dict[str, list[Part]], *, mode: Mode = "tir", samples: int = 1, **given: Any) -> Any:
        config = SamplingConfig(**{"max_tokens": 300, **given})
        if request.param == "vllm":
            llm = MagicMock(llm_engine=ScriptedEngine(tokenizer, scripts, mode, context=600))
            opened.append(VllmSampler(llm, tokenizer, config, in_trainer=False))
        else:
            opened.append(TransformersSampler(ScriptedModel(tokenizer, scripts, mode), tokenizer, config))
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
