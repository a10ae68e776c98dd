"""Linear layers by oneDNN against `nn.Linear`: the same layer, to float32's rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mathloop.models import linear
from mathloop.models.linear import FastLinear, plain_layers, speed_up
from mathloop.models.packing import Sample, pack
from mathloop.training.logprobs import model_logprobs

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="needs a torch that is built with oneDNN"
)


@pytest.fixture(autouse=True)
def a_processor_that_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "onednn_is_faster", lambda: True)


def alike(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return float((ours - theirs).detach().abs().max()) < 2e-6 * float(theirs.detach().abs().max())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(70, 24), (2, 50, 24), (3, 24), (1, 24)])
@pytest.mark.parametrize("width", [8, 80])
def test_output_and_gradients_are_the_plain_layers(
    monkeypatch: pytest.MonkeyPatch, bias: bool, shape: tuple[int, ...], width: int
) -> None:
    products = []
    multiply = linear._multiply
    monkeypatch.setattr(linear, "_multiply", lambda *given: products.append(1) or multiply(*given))
    torch.manual_seed(0)
    plain = nn.Linear(24, width, bias=bias)
    fast = copy.deepcopy(plain)
    speed_up(fast)
    found = []
    above = torch.randn(*shape[:-1], width)
    rows = torch.randn(shape)
    for layer in (plain, fast):
        given = rows.clone().requires_grad_()
        out = layer(given)
        out.backward(above)
        assert layer.weight.grad.is_contiguous()
        found.append([out, given.grad, *(p.grad for p in layer.parameters())])
    assert all(alike(ours, theirs) for theirs, ours in zip(*found, strict=True))
    assert len(products) == (3 if rows.numel() >= 64 * 24 else 0)


def test_frozen_parts_get_no_gradient() -> None:
    fast = nn.Linear(24, 8)
    speed_up(fast)
    fast.weight.requires_grad_(False)
    fast(torch.randn(70, 24)).sum().backward()
    assert fast.weight.grad is None
    assert torch.equal(fast.bias.grad, torch.full((8,), 70.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype: torch.dtype) -> None:
    plain = nn.Linear(24, 8).to(dtype)
    fast = copy.deepcopy(plain)
    speed_up(fast)
    rows = torch.randn(70, 24, dtype=dtype)
    assert torch.equal(fast(rows), plain(rows))


def test_autocast_is_left_to_torch() -> None:
    plain = nn.Linear(24, 8)
    fast = copy.deepcopy(plain)
    speed_up(fast)
    rows = torch.randn(70, 24)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = fast(rows), plain(rows)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, theirs)


def test_only_plain_layers_change_and_their_names_stay() -> None:
    class Other(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(3, 3), Other(3, 3), nn.LayerNorm(3))
    names = model.state_dict().keys()
    speed_up(model)
    assert [type(m) for m in model] == [FastLinear, Other, nn.LayerNorm]
    assert model.state_dict().keys() == names


def test_decoding_finds_plain_layers() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    speed_up(model)
    with plain_layers(model):
        assert type(model[0]) is nn.Linear
    assert type(model[0]) is FastLinear


def test_a_processor_that_does_not_gain_keeps_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "onednn_is_faster", lambda: False)
    layer = nn.Linear(3, 3)
    speed_up(layer)
    assert type(layer) is nn.Linear


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_model_learns_the_same(tiny_model: Callable[..., Any], checkpointed: bool) -> None:
    plain = tiny_model(31).train()
    fast = copy.deepcopy(plain)
    speed_up(fast)
    if checkpointed:
        fast.gradient_checkpointing_enable()
    chance = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 31, (length,), generator=chance).tolist() for length in (40, 23, 61)]
    packed = pack([Sample(row, [1.0] * len(row), 0) for row in rows])
    found = []
    for model in (plain, fast):
        model_logprobs(model, packed).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert alike(*found)
