"""Log-probabilities of learned tokens against whole logits: in pieces, with a temperature, in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mathloop.models.packing import Sample, pack
from mathloop.training import logprobs
from mathloop.training.logprobs import PackedPolicy, model_logprobs, token_logprobs

SAMPLES = [
    Sample([1, 2, 3, 4, 5], [0, 0, 1.0, 1.0, 0.5], 2),
    Sample([1, 2, 9], [0, 0, 1.0], 2),
    Sample([7, 7, 7, 8], [1.0, 0.1, 0.1, 1.0], 0),
    Sample([5, 6], [0, 0], 1),
]


def reference(model: Any, temperature: float) -> Tensor:
    """Whole logits, sample by sample."""
    found = []
    for sample in SAMPLES:
        logits = model(input_ids=torch.tensor([sample.tokens])).logits[0] / temperature
        for t in range(1, len(sample.tokens)):
            if sample.weights[t]:
                found.append(logits[t - 1].log_softmax(-1)[sample.tokens[t]])
    return torch.stack(found)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("chunk", [2**26, 3 * 11])
def test_they_are_those_of_whole_logits(
    tiny_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    share: bool,
    temperature: float,
    chunk: int,
) -> None:
    monkeypatch.setattr(logprobs, "CHUNK", chunk)
    model = tiny_model(11)
    packed = pack(SAMPLES, share_prompts=share)
    expected, found = reference(model, temperature), PackedPolicy(model)(packed, temperature)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-5)
    above = torch.linspace(-1, 1, len(found))
    ours, theirs = (torch.autograd.grad(out, model.parameters(), above) for out in (found, expected))
    most = max(float(gradient.abs().max()) for gradient in theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).abs().max()) < 2e-6 * most


def test_tied_weights_learn_from_both_ends(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(11)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tied = model.lm_head.weight
    for out in (model_logprobs(model, pack(SAMPLES)), reference(model, 1.0)):
        out.sum().backward()
    both = tied.grad.clone()
    tied.grad = None
    reference(model, 1.0).sum().backward()
    assert torch.allclose(both, 2 * tied.grad, atol=1e-4)


def test_the_head_sees_learned_states_alone_and_few_at_a_time(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "CHUNK", 3 * 11 + 5)
    model = tiny_model(11)
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    packed = pack(SAMPLES)
    out = model_logprobs(model, packed)
    assert seen == [3, 2, 2]  # 3 would fit, and no piece is much smaller than another
    assert sum(seen) == len(packed.at) == 7
    out.sum().backward()
    assert sum(seen) == 14  # made again, not kept


def test_what_fits_is_made_once(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(11)
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    model_logprobs(model, pack(SAMPLES)).sum().backward()
    assert seen == [7]


def test_without_a_learned_token_there_is_nothing(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(11)
    out = model_logprobs(model, pack(SAMPLES[3:]))
    assert out.shape == (0,)
    out.sum().backward()
    assert not any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)


def test_half_precision_logits_are_reduced_in_float32() -> None:
    torch.manual_seed(0)
    head = nn.Linear(16, 5000, bias=True).bfloat16()
    states, targets = torch.randn(6, 16).bfloat16(), torch.randint(0, 5000, (6,))
    with torch.no_grad():
        found = token_logprobs(head, states, targets, temperature=0.7)
        exact = (head(states).double() / 0.7).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, atol=1e-5)


@pytest.mark.parametrize("block", [1, 25, 2**19])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_gradients_of_logits_are_the_same_in_blocks_of_any_size(
    block: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "BLOCK", block)
    torch.manual_seed(0)
    head = nn.Linear(16, 11)
    targets, above = torch.randint(0, 11, (7,)), torch.randn(7)
    states = torch.randn(7, 16, requires_grad=True)
    found = token_logprobs(head, states, targets, temperature=temperature)
    ours = torch.autograd.grad(found, (states, head.weight, head.bias), above)
    exact = (head(states) / temperature).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    theirs = torch.autograd.grad(exact, (states, head.weight, head.bias), above)
    assert torch.allclose(found, exact, atol=1e-6)
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(ours, theirs, strict=True))
