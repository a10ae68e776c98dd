"""What ends a response: every end token of a model, as for Qwen2.5's base models, and stop texts."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from mathloop.models.loading import load_policy
from mathloop.models.saving import save_model
from mathloop.models.tokenizers import end_of_turn, end_tokens
from mathloop.records import Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.engines.vllm_engine import VllmSampler, _generation_config
from mathloop.sampling.prompts import render_prompt
from mathloop.training.rollouts import _sample
from mathloop.training.samples import encode
from tests.unit.sampling.scripted import Part, ScriptedEngine, ScriptedModel

TEXT = "So the answer is \\boxed{7}."
PROBLEMS = [Problem("p0", "3 + 4?", answer="7")]


@pytest.fixture
def base(tokenizer: Any) -> Any:
    """Qwen2.5's base tokenizer in small: turns end in <|im_end|>, eos_token is <|endoftext|>."""
    other = deepcopy(tokenizer)
    other.eos_token = "<|endoftext|>"
    return other


@pytest.fixture(params=["transformers", "vllm"])
def draw(base: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws one response to the problem from a script, with a generation config of given end tokens."""
    for name in ("vllm", "vllm.sampling_params"):
        monkeypatch.setitem(sys.modules, name, MagicMock(SamplingParams=SimpleNamespace))

    def run(parts: list[Part], ends: Any = None, **given: Any) -> Any:
        config = SamplingConfig(**{"max_tokens": 60, **given})
        scripts = {PROBLEMS[0].problem: parts}
        generation = SimpleNamespace(eos_token_id=ends)
        if request.param == "vllm":
            llm = MagicMock(llm_engine=ScriptedEngine(base, scripts, "cot", context=600))
            sampler: Any = VllmSampler(llm, base, config, in_trainer=False, generation_config=generation)
        else:
            model = ScriptedModel(base, scripts, "cot")
            model.generation_config = generation
            sampler = TransformersSampler(model, base, config)
        (rollout,) = sampler.sample(PROBLEMS, mode="cot", samples=1, temperature=1.0, seed=0)
        return rollout

    return run


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>", "<|im_start|>"])
def test_a_response_ends_at_each_end_token_of_the_model(draw: Any, base: Any, end: str) -> None:
    ids = base.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>"])
    rollout = draw([TEXT + end + "Then more of it."], ends=ids)
    assert (rollout.response.finish_reason, rollout.response.text) == ("stop", TEXT)
    assert rollout.response.answer == "7"
    assert rollout.tokens[-1] == base.convert_tokens_to_ids(end)
    learned = _sample(rollout, True)  # GRPO learns to end
    assert (learned.tokens[-1], learned.weights[-1]) == (rollout.tokens[-1], 1.0)


@pytest.mark.parametrize("stop", [("\n\nQuestion:",), ("Problem:", "\n\nQuestion:")])
def test_a_response_ends_before_a_stop_text(draw: Any, stop: tuple[str, ...]) -> None:
    rollout = draw([f"{TEXT}\n\nQuestion: what is 1 + 1?"], stop=stop)
    assert (rollout.response.finish_reason, rollout.response.text) == ("stop", TEXT)
    whole = draw([f"{TEXT}\n\nQuestion; what?"], stop=stop)
    assert whole.response.text == f"{TEXT}\n\nQuestion; what?"


def test_what_the_interpreter_prints_stops_nothing(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "```python\nprint('Question' + ':')\n```\n```output"
    scripts: dict[str, list[Part]] = {"3 + 4?": [asked, ("\nQuestion:\n```\n",), f"{TEXT} Question: no"]}
    config = SamplingConfig(max_tokens=200, stop=("Question:",))
    with TransformersSampler(ScriptedModel(base, scripts, "tir"), base, config) as sampler:
        (rollout,) = sampler.sample(PROBLEMS, mode="tir", samples=1, temperature=1.0, seed=0)
    assert rollout.response.text == f"{asked}\nQuestion:\n```\n{TEXT} "
    assert rollout.response.tool_calls == 1


def test_an_ordinary_token_ends_nothing(tokenizer: Any) -> None:
    ordinary = tokenizer.encode("3")[0]
    ends = end_tokens(tokenizer, SimpleNamespace(eos_token_id=[ordinary, 0]))
    assert ends == {0, tokenizer.eos_token_id}
    assert end_tokens(tokenizer, SimpleNamespace(eos_token_id=ordinary)) == {tokenizer.eos_token_id}
    assert end_tokens(tokenizer) == {tokenizer.eos_token_id}


def test_training_ends_with_the_templates_token_and_the_saved_model_names_all(
    base: Any, tiny_model: Any, tmp_path: Path
) -> None:
    sample = encode(base, "3 + 4?", "cot", TEXT)
    assert base.decode(sample.tokens) == f"{render_prompt(base, '3 + 4?', 'cot')}{TEXT}<|im_end|>"
    assert end_of_turn(base) == "<|im_end|>"
    model = tiny_model(len(base))
    model.generation_config.eos_token_id = [1]
    save_model(tmp_path / "model", model, base)
    net, tokenizer = load_policy(tmp_path / "model")
    assert net.generation_config.eos_token_id == [0, 1, 2]
    assert end_tokens(tokenizer, net.generation_config) == {0, 1, 2} == {*base.all_special_ids, 1, 2}
    assert end_tokens(tokenizer, _generation_config(tmp_path / "model")) == {0, 1, 2}


def test_a_template_that_closes_nothing_leaves_the_eos_token(base: Any) -> None:
    base.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    assert end_of_turn(base) == "<|endoftext|>"
