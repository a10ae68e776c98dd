"""Batched decoding against transformers' own `generate` and against full forward passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mathloop.sampling import token_steps
from mathloop.sampling.decoding import Decoded, decode_batch
from mathloop.sampling.reading import SHARED_TOKENS
from mathloop.sampling.token_drawing import draw_greedily, draw_rows

VOCABULARY = 61
PROMPTS = [[5, 9, 2], [7], [11, 3, 8, 50, 4, 4, 19, 33, 6], [1, 2], [40, 41, 42, 43, 44], [60, 1, 60, 1]]
ENDS = frozenset(range(0, VOCABULARY, 9))


@pytest.fixture(params=["plain layers", "the model itself"])
def model(request: pytest.FixtureRequest, tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that is decoded by both kinds of steps in turn."""
    if request.param == "the model itself":
        monkeypatch.setattr(token_steps, "FAMILIES", frozenset())
    return tiny_model(VOCABULARY, seed=3)


def decode(model: Any, prompts: list[list[int]] = PROMPTS, *, seed: int = 0, **given: Any) -> list[Decoded]:
    settings = {"samples": 1, "max_tokens": 24, "temperature": 0.0, "top_p": 1.0, "end_tokens": ENDS}
    return decode_batch(model, prompts, generator=torch.Generator().manual_seed(seed), **settings | given)


def distributions(model: Any, sequence: Decoded, temperature: float) -> torch.Tensor:
    """Log-probabilities [tokens, vocabulary] that one full forward pass gives at each decoded token."""
    prompt = PROMPTS[sequence.prompt]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + sequence.tokens])).logits[0]
    return torch.log_softmax(logits[len(prompt) - 1 : -1] / temperature, -1)


@pytest.mark.parametrize("ends", [frozenset({VOCABULARY}), ENDS], ids=["no end", "ends"])
def test_greedy_is_generate(model: Any, ends: frozenset[int]) -> None:
    batch = decode(model, end_tokens=ends)
    for prompt, sequence in zip(PROMPTS, batch, strict=True):
        expected = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=sorted(ends),
            pad_token_id=0,
        )
        assert sequence.tokens == expected[0, len(prompt) :].tolist()
    assert len({tuple(s.tokens) for s in batch}) == len(PROMPTS)


@pytest.mark.parametrize(
    "rest", [PROMPTS, [[], *PROMPTS[1:]], PROMPTS[:1]], ids=["", "one is all shared", "one"]
)
def test_what_all_prompts_begin_with_is_read_once(model: Any, rest: list[list[int]]) -> None:
    beginning = [(7 * i) % VOCABULARY for i in range(SHARED_TOKENS + 1)]
    prompts = [beginning + one for one in rest]
    read: list[int] = []
    hook = model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    batch = decode(model, prompts, samples=2)
    hook.remove()
    if len(rest) > 1:
        shared = len(beginning) - ([] in rest)
        assert read[:2] == [shared, len(rest) * (len(beginning) - shared + max(map(len, rest)))]
    for i, sequence in enumerate(batch):
        (alone,) = decode(model, [prompts[i // 2]])
        assert sequence.tokens == alone.tokens
        assert sequence.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_sequences_that_end_leave_the_others_as_they_were(model: Any) -> None:
    batch = decode(model)
    lengths = [len(s.tokens) for s in batch]
    assert len(set(lengths)) > 2  # they do end at different steps
    for prompt, sequence in zip(PROMPTS, batch, strict=True):
        (alone,) = decode(model, [prompt])
        assert sequence.tokens == alone.tokens
        assert sequence.finish_reason == alone.finish_reason
        assert sequence.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert (sequence.finish_reason == "stop") == (sequence.tokens[-1] in ENDS)
        assert not ENDS & set(sequence.tokens[:-1])


def test_samples_come_prompt_by_prompt(model: Any) -> None:
    batch = decode(model, samples=3, temperature=1.0)
    assert [s.prompt for s in batch] == [i for i in range(len(PROMPTS)) for _ in range(3)]
    greedy = decode(model)
    for index, sequence in enumerate(decode(model, samples=3)):
        assert sequence.tokens == greedy[index // 3].tokens


def test_a_seed_gives_its_samples(model: Any) -> None:
    first, again, other = (
        [s.tokens for s in decode(model, samples=4, temperature=1.0, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(set(map(tuple, first))) > len(PROMPTS)  # samples of one prompt differ


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.3, 0.6)])
def test_logprobs_are_those_of_a_full_forward_pass(model: Any, temperature: float, top_p: float) -> None:
    for sequence in decode(model, samples=3, temperature=temperature, top_p=top_p):
        full = distributions(model, sequence, temperature)
        expected = full.gather(-1, torch.tensor(sequence.tokens)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(sequence.logprobs), expected, atol=1e-4)
        assert all(sequence.sampled)


def test_greedy_logprobs_are_those_at_temperature_one(model: Any) -> None:
    for sequence in decode(model):
        expected = distributions(model, sequence, 1.0).max(-1).values
        assert torch.allclose(torch.tensor(sequence.logprobs), expected, atol=1e-4)


@pytest.mark.parametrize("bound", [1, 2, 7])
def test_max_tokens_bounds_a_sequence(model: Any, bound: int) -> None:
    longer = decode(model)
    for sequence, whole in zip(decode(model, max_tokens=bound), longer, strict=True):
        assert sequence.tokens == whole.tokens[:bound]
        ended = sequence.tokens[-1] in ENDS
        assert sequence.finish_reason == ("stop" if ended else "length")
        assert ended or len(sequence.tokens) == bound


def test_a_tiny_nucleus_is_greedy(model: Any) -> None:
    nucleus = decode(model, temperature=1.0, top_p=1e-6)
    assert [s.tokens for s in nucleus] == [s.tokens for s in decode(model)]


def test_tokens_outside_the_nucleus_are_never_drawn(model: Any) -> None:
    for sequence in decode(model, samples=8, temperature=1.5, top_p=0.6):
        for token, logprobs in zip(sequence.tokens, distributions(model, sequence, 1.5), strict=True):
            likelier = logprobs.exp()[logprobs > logprobs[token] + 1e-5].sum()
            assert likelier < 0.6 + 1e-4


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_tokens_come_as_often_as_the_model_says(model: Any, top_p: float) -> None:
    count = 20_000
    drawn = decode(model, PROMPTS[:1], samples=count, max_tokens=1, temperature=2.0, top_p=top_p)
    expected = distributions(model, drawn[0], 2.0)[0].exp()
    if top_p < 1:
        ordered = expected.sort(descending=True).values
        least = ordered[int((ordered.cumsum(0) < top_p).sum())]
        expected = torch.where(expected >= least, expected, 0.0)
        expected /= expected.sum()
    seen = torch.bincount(torch.tensor([s.tokens[0] for s in drawn]), minlength=VOCABULARY) / count
    assert float((seen - expected).abs().sum()) < 0.05


def test_ones_need_no_temperature_and_no_nucleus() -> None:
    torch.manual_seed(0)
    logits, uniform = torch.randn(64, 50) * 3, torch.rand(64, 2)
    ones = torch.ones(64, 1)
    tokens, logprobs = draw_rows(logits, None, None, uniform)
    assert len(tokens.unique()) > 10
    for temperature, top_p in ((ones, ones), (ones, None), (None, ones)):
        found = draw_rows(logits, temperature, top_p, uniform)
        assert torch.equal(found[0], tokens)
        assert torch.equal(found[1], logprobs)
    mixed = torch.tensor([[0.0], [1.0]]).repeat(32, 1)
    found = draw_rows(logits, mixed, None, uniform)
    assert torch.equal(found[0][1::2], tokens[1::2])
    assert torch.equal(found[0][::2], draw_greedily(logits)[0][::2])
    assert torch.allclose(found[1][::2], draw_greedily(logits)[1][::2])
