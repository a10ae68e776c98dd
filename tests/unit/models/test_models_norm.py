"""Fused RMS norms against transformers' own, of every class that is replaced."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.smollm3.modeling_smollm3 import SmolLM3RMSNorm

from mathloop.models.norm import FastNorm, fuse_norms

REPLACED: list[Any] = [LlamaRMSNorm, MistralRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm, SmolLM3RMSNorm]


def both(kind: Any) -> tuple[nn.Module, nn.Module]:
    """(plain, fused) of the same random weight."""
    torch.manual_seed(0)
    plain = kind(24, eps=1e-3)
    nn.init.normal_(plain.weight)
    fused = copy.deepcopy(plain)
    fuse_norms(fused)
    return plain, fused


@pytest.mark.parametrize("kind", REPLACED)
@pytest.mark.parametrize("shape", [(70, 24), (2, 5, 24), (1, 3, 2, 24)])
def test_output_and_gradients_are_the_plain_norms(kind: Any, shape: tuple[int, ...]) -> None:
    plain, fused = both(kind)
    assert isinstance(fused, FastNorm)
    assert isinstance(fused, kind)
    states, above = torch.randn(shape), torch.randn(shape)
    found = []
    for norm in (plain, fused):
        given = states.clone().requires_grad_()
        out = norm(given)
        out.backward(above)
        found.append((out, given.grad, norm.weight.grad))
    assert torch.equal(found[0][0], found[1][0])
    for theirs, ours in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_gradients_are_the_derivatives_in_double() -> None:
    _, fused = both(Qwen2RMSNorm)
    states = torch.randn(6, 24)
    above = torch.randn(6, 24)
    given = states.clone().requires_grad_()
    fused(given).backward(above)
    exact = states.double().requires_grad_()
    weight = fused.weight.detach().double().requires_grad_()
    (weight * exact / (exact.square().mean(-1, keepdim=True) + 1e-3).sqrt()).backward(above.double())
    assert exact.grad is not None
    assert weight.grad is not None
    assert given.grad is not None
    assert torch.allclose(given.grad.double(), exact.grad, atol=1e-6)
    assert torch.allclose(fused.weight.grad.double(), weight.grad, atol=1e-6)


def test_under_autocast_it_gives_what_a_linear_layer_would_round_to() -> None:
    plain, fused = both(Qwen2RMSNorm)
    states = torch.randn(70, 24)
    with torch.autocast("cpu", torch.bfloat16):
        out = fused(states)
        assert out.dtype == torch.bfloat16
        assert torch.equal(out, plain(states).bfloat16())


def test_a_frozen_weight_gets_no_gradient() -> None:
    _, fused = both(Qwen2RMSNorm)
    fused.requires_grad_(False)
    given = torch.randn(3, 24, requires_grad=True)
    fused(given).sum().backward()
    assert fused.weight.grad is None
    assert given.grad is not None


def test_other_dtypes_and_other_norms_are_as_they_were() -> None:
    plain, fused = both(Qwen2RMSNorm)
    for dtype in (torch.bfloat16, torch.float64):
        states = torch.randn(5, 24).to(dtype)
        assert torch.equal(fused.to(dtype)(states), plain.to(dtype)(states))
    other = Olmo2RMSNorm(24)
    fuse_norms(other)
    assert type(other) is Olmo2RMSNorm


def test_it_can_be_copied_and_fused_again() -> None:
    _, fused = both(Qwen2RMSNorm)
    again = copy.deepcopy(fused)
    fuse_norms(again)
    assert type(again) is type(fused)
    assert pickle.loads(pickle.dumps(fused.state_dict())).keys() == {"weight"}
