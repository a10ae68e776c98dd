"""vLLM itself against transformers' engine: run where vLLM is installed (docs/local-rounds.md says how)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.errors import BadModel
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.prompts import encode_prompt
from mathloop.sampling.sampler import Rollout, Sampler
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")

CONFIG = SamplingConfig(engine="vllm", max_tokens=120, batch_size=16)
PROBLEMS = [
    Problem(f"p{n}", text) for n, text in enumerate(["Mia has 3.", "Tom gives 4 more, then 5.", "3 + 4"])
]
ASKING = "Let us see.\n```python\nprint(6 * 7)\n```\n```output"
AFTER = "So the answer is \\boxed{42}."


def make_model(tokenizer: Any, seed: int) -> Any:
    """Heads as wide as vLLM's attention on a CPU takes them."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.15,
            max_position_embeddings=512,
        )
    ).eval()


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return make_model(tokenizer, seed=1)


@pytest.fixture(scope="module")
def sampler(model: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("vllm") / "model"
    make_model(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with load_sampler(folder, CONFIG) as loaded:
        yield loaded


def draw(
    sampler: Sampler, *, samples: int = 1, temperature: float = 0.0, mode: Mode = "cot", seed: int = 0
) -> list[Rollout]:
    return sampler.sample(PROBLEMS, mode=mode, samples=samples, temperature=temperature, seed=seed)


def check_equal(found: list[Rollout], expected: list[Rollout]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.prompt_tokens == other.prompt_tokens
        assert one.tokens == other.tokens
        assert one.sampled == other.sampled
        assert one.response == other.response
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_weights_handed_over_are_the_ones_that_write(sampler: Any, tokenizer: Any) -> None:
    drawn = []
    for seed in (0, 1):
        net = make_model(tokenizer, seed)
        sampler.take_weights(net.state_dict().items())
        drawn.append(draw(sampler, samples=2))
        check_equal(drawn[-1], draw(TransformersSampler(net, tokenizer, CONFIG), samples=2))
    assert [r.tokens for r in drawn[0]] != [r.tokens for r in drawn[1]]


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_logprobs_are_those_of_the_tempered_distribution(
    sampler: Any, model: Any, temperature: float
) -> None:
    sampler.take_weights(model.state_dict().items())
    rollouts = draw(sampler, samples=4, temperature=temperature)
    for rollout in rollouts:
        with torch.no_grad():
            logits = model(torch.tensor([rollout.prompt_tokens + rollout.tokens])).logits[0]
        full = torch.log_softmax(logits[len(rollout.prompt_tokens) - 1 : -1] / temperature, -1)
        expected = full.gather(-1, torch.tensor(rollout.tokens)[:, None])[:, 0]
        assert rollout.logprobs == pytest.approx(expected.tolist(), abs=1e-3)
    assert len({tuple(r.tokens) for r in rollouts}) > len(PROBLEMS)


def test_a_seed_gives_its_samples_whatever_else_is_drawn(sampler: Any, model: Any) -> None:
    sampler.take_weights(model.state_dict().items())
    first, other = (draw(sampler, samples=3, temperature=1.0, seed=seed) for seed in (1, 2))
    again = draw(sampler, samples=3, temperature=1.0, seed=1)
    assert [r.tokens for r in first] == [r.tokens for r in again]
    assert [r.tokens for r in first] != [r.tokens for r in other]
    alone = sampler.sample(PROBLEMS[:1], mode="cot", samples=3, temperature=1.0, seed=1)
    assert [r.tokens for r in alone] == [r.tokens for r in first[:3]]


def test_python_answers_within_a_response(sampler: Any, tokenizer: Any) -> None:
    net = make_model(tokenizer, seed=2)
    learn(net, tokenizer, ASKING + "\n42\n```\n" + AFTER)
    sampler.take_weights(net.state_dict().items())
    found = draw(sampler, mode="tir", samples=2)
    for rollout in found:
        assert rollout.response.text == ASKING + "\n42\n```\n" + AFTER
        assert (rollout.response.answer, rollout.response.tool_calls) == ("42", 1)
        assert not all(rollout.sampled)
    with TransformersSampler(net, tokenizer, CONFIG) as own:
        check_equal(found, draw(own, mode="tir", samples=2))


def learn(net: Any, tokenizer: Any, text: str) -> None:
    """Teaches the model to answer all problems with `text`."""
    rows = [encode_prompt(tokenizer, p.problem, "tir") for p in PROBLEMS]
    answer = [*tokenizer.encode(text), tokenizer.eos_token_id]
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(40):
        for row in rows:
            labels = torch.tensor([[-100] * len(row) + answer])
            net(input_ids=torch.tensor([row + answer]), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_every_rank_of_a_trainer_has_its_own_engine(tokenizer: Any, tmp_path: Path) -> None:
    make_model(tokenizer, seed=0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*launched, "-m", "tests.unit.sampling.beside_trainer", str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("rank")) == [
        "rank 0",
        "rank 1",
    ]


def test_what_vllm_cannot_run_is_one_line(tokenizer: Any, tmp_path: Path) -> None:
    make_model(tokenizer, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 3}))
    with pytest.raises(BadModel, match="choose another model, or set engine to transformers") as caught:
        load_sampler(tmp_path, CONFIG)
    assert "\n" not in str(caught.value)
