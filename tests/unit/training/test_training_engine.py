"""The optimizer loop: killed and resumed, warmed up, diverging; the order of the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mathloop.errors import TrainingDiverged
from mathloop.training.config import OptimizerConfig
from mathloop.training.engine import Engine, order


def train(engine: Engine, steps: int) -> None:
    """Steps on token sequences that depend on the step alone."""
    while engine.step < steps:
        chance = torch.Generator().manual_seed(engine.step)
        tokens = torch.randint(0, 31, (4, 9), generator=chance)
        loss = engine.model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        engine.counts["tokens"] += tokens.numel()
        engine.update(loss=float(loss.detach()))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_is_the_run_at_once(tiny_model: Any, tmp_path: Path, optimizer: Any) -> None:
    config = OptimizerConfig(optimizer=optimizer, checkpoint_steps=4, weight_decay=0.1)
    whole = Engine(tiny_model(31), config, 10, tmp_path / "whole")
    train(whole, 10)
    train(Engine(tiny_model(31), config, 10, tmp_path / "killed"), 6)  # past its checkpoint at step 4
    resumed = Engine(tiny_model(31, seed=1), config, 10, tmp_path / "killed")
    resumed.resume()
    assert resumed.step == 4
    train(resumed, 10)
    start = tiny_model(31).state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
        assert not torch.equal(value, start[name]), name
    assert whole.curves == resumed.curves
    assert [step for step, _ in whole.curves["loss"]] == list(range(10))
    assert whole.counts == resumed.counts == {"tokens": 10 * 36}


def first_change(model: Any, work: Path, optimizer: Any) -> dict[str, torch.Tensor]:
    """What the first step adds to each parameter, in units of the learning rate."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    config = OptimizerConfig(optimizer=optimizer, learning_rate=1e-2, warmup=0.0, weight_decay=0.0)
    train(Engine(model, config, 10, work), 1)
    return {name: (value.detach() - before[name]) / 1e-2 for name, value in model.named_parameters()}


def test_muon_turns_all_directions_of_an_inner_matrix_alike(tiny_model: Any, tmp_path: Path) -> None:
    adamw, muon = (first_change(tiny_model(31), tmp_path, name) for name in ("adamw", "muon"))
    inner, outer = "model.layers.0.self_attn.o_proj.weight", "model.embed_tokens.weight"
    # The larger half of the singular values: directions without a gradient to speak of stay without.
    ours, theirs = (torch.linalg.svdvals(change[inner])[:16] for change in (muon, adamw))
    assert ours[0] / ours[-1] < 1.6 < 3 < theirs[0] / theirs[-1]
    assert float(muon[inner].square().mean().sqrt()) == pytest.approx(0.2, rel=0.25)  # AdamW's usual size
    for end in (outer, "lm_head.weight"):  # embedding and logits stay AdamW's
        assert torch.allclose(muon[end], adamw[end], atol=1e-3)


def line(tmp_path: Path, total: int = 110, **given: Any) -> Engine:
    config = OptimizerConfig(learning_rate=1e-2, final_learning_rate=1e-3, **given)
    return Engine(nn.Linear(3, 1), config, total, tmp_path)


def step(engine: Engine, **values: float) -> None:
    engine.model(torch.ones(2, 3)).square().mean().backward()
    engine.update(**values)


def test_learning_rate_warms_up_and_falls_to_the_floor(tmp_path: Path) -> None:
    engine = line(tmp_path, 110, warmup=0.1, checkpoint_steps=1000)
    rates = []
    for _ in range(110):
        step(engine)
        rates.append(engine.optimizers[0].param_groups[0]["lr"])
    assert rates[:11] == pytest.approx([1e-2 * (i + 1) / 11 for i in range(11)])
    assert [rates[11], rates[60], rates[109]] == pytest.approx([1e-2, 5.5e-3, 1e-3])  # 60: halfway
    assert rates[11:] == sorted(rates[11:], reverse=True)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_divergence_leaves_the_last_checkpoint(tmp_path: Path, where: str) -> None:
    engine = line(tmp_path, checkpoint_steps=2)
    for _ in range(3):
        step(engine, loss=1.0)
    saved, weights = engine.file.read_bytes(), engine.model.weight.detach().clone()
    if where == "gradient":
        engine.model(torch.full((1, 3), torch.inf)).sum().backward()
    with pytest.raises(TrainingDiverged, match=f"{where}.* at step 3"):
        engine.update(loss=1.0 if where == "gradient" else float("nan"))
    assert torch.equal(engine.model.weight, weights)
    assert engine.file.read_bytes() == saved
    again = line(tmp_path)
    again.resume()
    assert (again.step, again.curves["loss"]) == (2, [(0.0, 1.0), (1.0, 1.0)])


def test_a_checkpoint_that_is_due_waits(tmp_path: Path) -> None:
    engine = line(tmp_path, checkpoint_steps=2)
    for allowed, saved in [(False, 0), (False, 0), (True, 3), (True, 4), (True, 4), (False, 4), (True, 7)]:
        engine.model(torch.ones(2, 3)).sum().backward()
        engine.update(checkpoint=allowed)
        again = line(tmp_path)
        again.resume()
        assert again.step == saved


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 12), st.integers(0, 3))
def test_an_epoch_takes_no_sample_twice(lengths: list[int], batch_size: int, epoch: int) -> None:
    batches = max(1, len(lengths) // batch_size)
    taken = [order(lengths, batch_size, epoch * batches + place, seed=7) for place in range(batches)]
    flat = [index for batch in taken for index in batch]
    assert len(set(flat)) == len(flat) == min(len(lengths), batches * batch_size)
    assert set(flat) <= set(range(len(lengths)))
    for place, batch in reversed(list(enumerate(taken))):  # asked again, the other way round
        assert order(lengths, batch_size, epoch * batches + place, seed=7) == batch
        assert [lengths[i] for i in batch] == sorted(lengths[i] for i in batch)


def test_epochs_and_seeds_differ() -> None:
    lengths = [1] * 40
    assert order(lengths, 8, 0, seed=1) != order(lengths, 8, 5, seed=1)
    assert order(lengths, 8, 0, seed=1) != order(lengths, 8, 0, seed=2)
