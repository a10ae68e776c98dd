"""Muon with float32 products, against torch's own and a plain reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mathloop.models import dtypes
from mathloop.training import muon
from mathloop.training.muon import Muon

SETTINGS = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}


@pytest.fixture
def slow_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "fast_bfloat16", lambda device: False)


def _trained(optimizer: type[torch.optim.Optimizer], shape: tuple[int, int], steps: int) -> torch.Tensor:
    torch.manual_seed(4)
    weight = nn.Parameter(torch.randn(shape))
    without_gradient = nn.Parameter(torch.ones(3, 3))
    stepped = optimizer([weight, without_gradient], **SETTINGS)  # type: ignore[call-arg]
    for _ in range(steps):
        weight.grad = torch.randn(shape)
        stepped.step()
    assert torch.equal(without_gradient, torch.ones(3, 3))
    return weight.detach()


@pytest.mark.usefixtures("slow_bfloat16")
@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_float32_agrees_with_torch_up_to_the_rounding_of_bfloat16(shape: tuple[int, int]) -> None:
    ours, theirs = _trained(Muon, shape, 5), _trained(torch.optim.Muon, shape, 5)
    start = _trained(Muon, shape, 0)
    assert not torch.equal(ours, theirs)
    assert float((ours - theirs).norm() / (ours - start).norm()) < 0.02


@pytest.mark.usefixtures("slow_bfloat16")
@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_a_step_is_the_formula(shape: tuple[int, int]) -> None:
    torch.manual_seed(4)
    expected = torch.randn(shape).double()
    momentum = torch.zeros(shape).double()
    for _ in range(3):
        gradient = torch.randn(shape).double()
        momentum = 0.95 * momentum + 0.05 * gradient
        x = 0.05 * gradient + 0.95 * momentum
        x = x / x.norm()
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
        expected = expected * (1 - 0.02 * 0.1) - 0.02 * 0.2 * max(shape) ** 0.5 * x
    assert torch.allclose(_trained(Muon, shape, 3).double(), expected, atol=1e-4)


def test_where_bfloat16_is_fast_the_result_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "fast_bfloat16", lambda device: True)
    assert torch.equal(_trained(Muon, (24, 40), 3), _trained(torch.optim.Muon, (24, 40), 3))


@pytest.mark.parametrize(
    ("fast", "dtype", "expected"),
    [
        (True, "bfloat16", torch.bfloat16),
        (False, "bfloat16", torch.float32),
        (True, "float32", torch.float32),
        (False, "float32", torch.float32),
    ],
)
def test_bfloat16_that_is_only_emulated_is_computed_in_float32(
    fast: bool, dtype: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtypes, "fast_bfloat16", lambda device: fast)
    assert dtypes.working_dtype(dtype) == expected


def test_a_gpu_multiplies_bfloat16() -> None:
    assert dtypes.fast_bfloat16("cuda")
