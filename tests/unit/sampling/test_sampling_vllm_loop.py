"""How the vLLM engine deals with requests, on a stand-in for vLLM's own part."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from mathloop.errors import BadConfig, BadData, BadModel, MathloopError
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.engines.vllm_engine import VllmSampler
from tests.unit.sampling.scripted import Part, ScriptedEngine

TEXTS: dict[str, list[Part]] = {f"Problem {n}": [f"It is \\boxed{{{n}}}."] for n in range(9)}


@pytest.fixture
def begin(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., VllmSampler]:
    for name in ("vllm", "vllm.sampling_params"):
        monkeypatch.setitem(sys.modules, name, MagicMock(SamplingParams=SimpleNamespace))

    def make(
        scripts: Any, *, mode: Mode = "cot", context: int = 600, tokenizer: Any = tokenizer, **given: Any
    ) -> VllmSampler:
        llm = MagicMock(llm_engine=ScriptedEngine(tokenizer, scripts, mode, context))
        return VllmSampler(llm, tokenizer, SamplingConfig(**{"max_tokens": 300, **given}), in_trainer=False)

    return make


def stream(sampler: VllmSampler, problems: Any, *, mode: Mode = "cot", samples: int = 2) -> Any:
    given = [Problem(f"p{index}", text) for index, text in enumerate(problems)]
    return sampler.stream(given, mode=mode, samples=samples, temperature=1.0, seed=1)


def test_responses_come_in_order_from_a_bounded_engine(begin: Any) -> None:
    sampler = begin(TEXTS, batch_size=5)
    groups = list(stream(sampler, TEXTS, samples=3))
    assert [[r.response.answer for r in group] for group in groups] == [[str(n)] * 3 for n in range(9)]
    assert [r.response.sample for r in groups[4]] == [0, 1, 2]
    assert sampler.llm.llm_engine.most == 5


def test_a_stream_that_is_left_leaves_nothing_in_the_engine(begin: Any) -> None:
    sampler = begin(TEXTS)
    first = stream(sampler, TEXTS)
    next(first)
    assert sampler.llm.llm_engine.waiting
    first.close()
    assert not sampler.llm.llm_engine.waiting
    assert len(list(stream(sampler, TEXTS))) == 9


def test_every_request_has_a_seed_of_its_own(begin: Any) -> None:
    def seeds() -> list[int]:
        sampler = begin(TEXTS)
        engine, given = sampler.llm.llm_engine, []
        add = engine.add_request
        engine.add_request = lambda name, prompt, params: (
            given.append(params.seed),
            add(name, prompt, params),
        )
        list(stream(sampler, TEXTS))
        return given

    first = seeds()
    assert len(set(first)) == 18
    assert seeds() == first


def test_a_mark_inside_a_longer_token_asks_for_nothing(begin: Any, tokenizer: Any) -> None:
    longer = deepcopy(tokenizer)
    longer.add_tokens(["```outputs"])
    script: dict[str, list[Part]] = {"One": ["```python\nprint(6 * 7)\n```\n```outputs are \\boxed{5}."]}
    with begin(script, mode="tir", tokenizer=longer) as sampler:
        ((rollout,),) = stream(sampler, script, mode="tir", samples=1)
    assert rollout.response.text == script["One"][0]
    assert rollout.response.tool_calls == 0
    assert all(rollout.sampled)


def test_a_response_ends_with_the_context(begin: Any, tokenizer: Any) -> None:
    sampler = begin(TEXTS)
    prompt = len(sampler.llm.llm_engine.scripts[0][0])
    tight = begin(TEXTS, context=prompt + 4)
    for (rollout,) in stream(tight, TEXTS, samples=1):
        assert len(rollout.tokens) == 4
        assert rollout.response.finish_reason == "length"
    with pytest.raises(BadData, match=f"p0 takes {prompt} tokens, the engine's context has {prompt};"):
        list(stream(begin(TEXTS, context=prompt), TEXTS))


def test_what_the_engine_gives_up_is_an_error(begin: Any) -> None:
    sampler = begin(TEXTS)
    given_up = SimpleNamespace(token_ids=[], logprobs=[], finish_reason="error", stop_reason=None)
    engine = sampler.llm.llm_engine
    engine.step = lambda: [SimpleNamespace(request_id="3", outputs=[given_up])]
    with pytest.raises(MathloopError, match="vLLM ended a response with 'error'"):
        list(stream(sampler, TEXTS))
    assert not engine.waiting


def test_the_config_names_the_engine(
    tokenizer: Any, tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with load_sampler(tmp_path / "model", SamplingConfig()) as sampler:
        assert isinstance(sampler, TransformersSampler)
        assert next(sampler.model.parameters()).dtype == torch.float32
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BadConfig, match=r"^engine: vllm cannot be imported .*pip install 'mathloop\[vllm\]'"):
        load_sampler(tmp_path / "model", SamplingConfig(engine="vllm"))
    with pytest.raises(BadModel, match="nothing: there is no such folder"):
        load_sampler(tmp_path / "nothing", SamplingConfig(engine="vllm"))
