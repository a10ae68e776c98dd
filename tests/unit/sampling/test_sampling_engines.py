"""Every engine is a sampler: it takes weights, sleeps and wakes, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import MagicMock, call

import pytest
import torch

from mathloop.errors import BadConfig
from mathloop.models.attention import PACKED
from mathloop.models.linear import FastLinear
from mathloop.records import Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import ENGINES, begin_sampler, load_sampler, transformers_engine
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.engines.vllm_engine import VllmSampler
from mathloop.sampling.sampler import Sampler
from mathloop.training.handover import sampling_with

CONFIG = SamplingConfig(max_tokens=12)
PROBLEMS = [Problem("a", "3 + 4?"), Problem("b", "Tom has 5.")]


def draw(sampler: Sampler) -> list[list[int]]:
    rollouts = sampler.sample(PROBLEMS, mode="cot", samples=2, temperature=1.0, seed=3)
    return [rollout.tokens for rollout in rollouts]


@pytest.fixture
def folder(tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> Path:
    tiny_model(len(tokenizer), seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_each_engine_that_a_config_may_name_is_in_the_table() -> None:
    assert set(get_args(SamplingConfig.model_fields["engine"].annotation)) == set(ENGINES)


def test_a_loaded_sampler_draws_with_the_weights_that_it_takes(
    folder: Path, tiny_model: Callable[..., Any], tokenizer: Any
) -> None:
    other = tiny_model(len(tokenizer), seed=1)
    expected = draw(TransformersSampler(other, tokenizer, CONFIG))
    with load_sampler(folder, CONFIG) as sampler:
        before = draw(sampler)
        sampler.take_weights(other.named_parameters())
        assert draw(sampler) == expected != before
        with torch.no_grad():
            other.lm_head.weight.zero_()
        assert draw(sampler) == expected  # they were copied
        sampler.sleep()
        sampler.wake()
        assert draw(sampler) == expected


def test_the_trainers_own_network_is_drawn_with_as_it_is(
    folder: Path, tiny_model: Callable[..., Any], tokenizer: Any
) -> None:
    def never() -> Iterator[tuple[str, torch.Tensor]]:
        raise AssertionError("weights that it shares were asked for")
        yield

    net = tiny_model(len(tokenizer), seed=1)
    with begin_sampler(folder / "not read", net, tokenizer, CONFIG) as sampler:
        sampler.take_weights(never())
        before = draw(sampler)
        with torch.no_grad():
            net.lm_head.weight.copy_(tiny_model(len(tokenizer), seed=2).lm_head.weight)
        assert draw(sampler) != before


def test_vllm_leaves_a_gpu_and_comes_back(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    llm = MagicMock()
    sampler = VllmSampler(llm, tokenizer, CONFIG, in_trainer=True)
    sampler.wake()
    assert not llm.mock_calls  # it never slept
    sampler.sleep()
    sampler.sleep()
    assert llm.mock_calls == [call.sleep(level=1)]
    weights = [("w", torch.ones(1))]
    sampler.take_weights(weights)
    assert [name for name, _, _ in llm.mock_calls[1:]] == ["wake_up", "collective_rpc", "reset_prefix_cache"]
    assert list(llm.mock_calls[2].kwargs["kwargs"]["weights_iterator"]) == weights
    sampler.sleep()
    llm.reset_mock()
    assert list(sampler.stream([], mode="cot", samples=1, temperature=1.0, seed=0)) == []
    assert llm.mock_calls[0] == call.wake_up()


@pytest.mark.parametrize("fails", [False, True])
def test_while_it_draws_a_policy_is_handed_over_and_in_transformers_form(
    tiny_model: Callable[..., Any], fails: bool
) -> None:
    net = tiny_model(20)
    net.config._attn_implementation = PACKED
    net.lm_head.__class__ = FastLinear
    sampler = MagicMock()
    try:
        with sampling_with(sampler, net):
            assert [name for name, _, _ in sampler.mock_calls] == ["wake", "take_weights"]
            taken = dict(sampler.take_weights.call_args.args[0])
            assert all(taken[name] is not None for name, _ in net.named_parameters())
            assert net.config._attn_implementation == "sdpa"
            assert type(net.lm_head) is torch.nn.Linear
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert sampler.mock_calls[-1] == call.sleep()
    assert net.config._attn_implementation == PACKED
    assert type(net.lm_head) is FastLinear


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: 9 bytes")]
)
def test_a_batch_that_does_not_fit_is_drawn_in_halves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """A mock of a small memory: a batch of more than two problems does not fit."""
    real, sizes = transformers_engine.decode_batch, list[int]()

    def decode(model: Any, prompts: Any, **arguments: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise error
        return real(model, prompts, **arguments)

    monkeypatch.setattr(transformers_engine, "decode_batch", decode)
    problems = [Problem(str(number), f"{number} + 4?") for number in range(7)]
    with load_sampler(folder, CONFIG) as sampler:
        rollouts = sampler.sample(problems, mode="cot", samples=2, temperature=1.0, seed=3)
    assert [rollout.response.problem_id for rollout in rollouts] == [
        one.id for one in problems for _ in range(2)
    ]
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert (
        capsys.readouterr().err.splitlines()[0] == "out of memory with 7 problems in a batch; from now on 3"
    )


def test_one_problem_that_does_not_fit_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA")

    monkeypatch.setattr(transformers_engine, "decode_batch", decode)
    with (
        load_sampler(folder, CONFIG) as sampler,
        pytest.raises(BadConfig, match=r"one problem, 2 samples and sampling.max_tokens=12: lower samples"),
    ):
        draw(sampler)
