"""The optimizer loop: scheduled, diverging, stopped by SIGTERM, its loss one of the global batch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mathloop.errors import BadConfig, Interrupted, TrainingDiverged
from mathloop.models.packing import Sample
from mathloop.training.config import EngineConfig, OptimizerConfig, SFTConfig
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy
from mathloop.training.ranks import Ranks
from mathloop.training.schedule import learning_rate


def begin(
    module: nn.Module, work: Path, steps: int = 10, engine: EngineConfig | None = None, **given: Any
) -> Engine:
    config = SFTConfig(optimizer=OptimizerConfig(**given), engine=engine or EngineConfig())
    return Engine(module, config, steps, work, recipe="sft", seed=0)


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def take_step(engine: Engine, loss: float = 1.0, **given: Any) -> dict[str, float]:
    engine.backward(engine.forward(torch.full((2, 3), 1.0 + engine.step)).square().mean())
    return engine.update(loss=loss, **given)


def rates(steps: int, **options: Any) -> list[float]:
    return [learning_rate(OptimizerConfig(**options), step, steps) for step in range(steps)]


def test_the_learning_rate_warms_up_and_falls_along_a_cosine_or_a_line_to_the_floor() -> None:
    ends = {"learning_rate": 1e-2, "final_learning_rate": 1e-3, "warmup": 0.1}
    cosine = rates(111, schedule="cosine", **ends)
    line = rates(111, schedule="linear", **ends)
    for found in (cosine, line):
        assert found[:11] == pytest.approx([1e-2 * (i + 1) / 11 for i in range(11)])
        assert [found[11], found[110]] == pytest.approx([1e-2, 1e-3])
        assert found[11:] == sorted(found[11:], reverse=True)
    # 11 warm, then 99 intervals: a third and two thirds of the way down.
    assert [cosine[44], cosine[77]] == pytest.approx([1e-3 + 9e-3 * 0.75, 1e-3 + 9e-3 * 0.25])
    assert [line[44], line[77]] == pytest.approx([1e-3 + 9e-3 * 2 / 3, 1e-3 + 9e-3 / 3])


@given(
    st.integers(1, 60),
    st.floats(0, 0.99),
    st.sampled_from(["cosine", "linear"]),
    st.floats(1e-6, 1),
    st.data(),
)
def test_the_learning_rate_is_never_above_the_highest_nor_below_the_floor_after_warmup(
    steps: int, warmup: float, schedule: Any, highest: float, data: st.DataObject
) -> None:
    floor = data.draw(st.floats(0, highest))
    found = rates(steps, learning_rate=highest, final_learning_rate=floor, warmup=warmup, schedule=schedule)
    warm = max(1, round(warmup * steps))
    assert all(0 < rate <= highest * (1 + 1e-9) for rate in found[:warm])
    assert all(floor * (1 - 1e-9) <= rate <= highest * (1 + 1e-9) for rate in found[warm:])
    if steps > warm + 1:
        assert found[-1] == pytest.approx(floor, abs=1e-12)


def test_each_step_is_taken_at_its_learning_rate(tmp_path: Path) -> None:
    """AdamW's first steps on a constant gradient are as long as the learning rate."""
    module = linear()
    engine = begin(module, tmp_path, 40, warmup=0.1, learning_rate=1e-2, final_learning_rate=1e-3, clip=1e9)
    for step in range(40):
        before = module.bias.detach().clone()
        engine.backward(engine.forward(torch.zeros(1, 3)).sum())
        values = engine.update(loss=0.0)
        rate = learning_rate(engine.optimizer, step, 40)
        assert values["learning rate"] == rate
        assert float((before - module.bias).detach()) == pytest.approx(rate, rel=1e-3)


def test_the_gradient_is_clipped_and_its_norm_told(tmp_path: Path) -> None:
    changes = []
    for scale in (1.0, 1000.0):
        module = linear()
        engine = begin(module, tmp_path / str(scale), clip=0.01, optimizer="adamw")
        engine.backward(engine.forward(torch.ones(1, 3)).sum() * scale)
        assert engine.update()["gradient norm"] == pytest.approx(2 * scale)  # three weights and a bias: √4
        state = engine._updates.read("bias", "exp_avg")
        changes.append(float(state))
    assert changes == pytest.approx([0.1 * 0.005] * 2, rel=1e-4)  # (1 − β₁)·0.01/√4, whatever the scale


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_divergence_leaves_weights_and_the_last_checkpoint(tmp_path: Path, where: str) -> None:
    module = linear()
    engine = begin(module, tmp_path, checkpoint_steps=2)
    for _ in range(3):
        take_step(engine)
    weights = module.weight.detach().clone()
    loss = engine.forward(torch.full((1, 3), torch.inf if where == "gradient" else 1.0)).sum()
    engine.backward(loss)
    with pytest.raises(TrainingDiverged, match=f"{where}.* at step 3"):
        engine.update(loss=1.0 if where == "gradient" else float("nan"))
    assert torch.equal(module.weight, weights)
    again = begin(linear(), tmp_path, checkpoint_steps=2)
    assert (again.step, again.curves["loss"]) == (2, [(0.0, 1.0), (1.0, 1.0)])


def test_a_checkpoint_that_is_due_waits_for_an_update_where_a_recipe_can_start_again(tmp_path: Path) -> None:
    engine = begin(linear(), tmp_path, 20, checkpoint_steps=2)
    for allowed, saved in [(False, 0), (False, 0), (True, 3), (True, 4), (True, 4), (False, 4), (True, 7)]:
        take_step(engine, checkpoint=allowed)
        assert begin(linear(), tmp_path, 20, checkpoint_steps=2).step == saved


def test_sigterm_ends_the_step_keeps_it_and_leaves_the_signal_as_it_was(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def run() -> None:
        with begin(linear(), tmp_path) as engine:
            for step in range(10):
                if step == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
                take_step(engine, checkpoint=step != 2)  # in the middle of a rollout batch: not yet

    with pytest.raises(Interrupted, match=r"after step 4 of 10.*start again") as stopped:
        run()
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert begin(linear(), tmp_path).step == 4


@given(st.integers(1, 9), st.integers(1, 5))
def test_every_micro_batch_is_dealt_once_and_every_rank_has_as_many(count: int, world: int) -> None:
    dealt = []
    for rank in range(world):
        engine: Any = SimpleNamespace(ranks=Ranks(rank, world, torch.device("cpu")))
        dealt.append(list(Engine.deal(engine, list(range(count)))))
    assert len({len(mine) for mine in dealt}) == 1
    assert sorted(micro for mine in dealt for micro, share in mine if share) == list(range(count))
    assert {share for mine in dealt for _, share in mine} <= {0.0, 1.0}


def samples() -> list[Sample]:
    chance = torch.Generator().manual_seed(3)
    made = []
    for length, prompt in [(5, 2), (30, 1), (9, 8), (3, 1), (17, 10), (12, 0)]:
        tokens = torch.randint(0, 31, (length,), generator=chance).tolist()
        made.append(Sample(tokens, [0.0] * prompt + [1.0] * (length - prompt), prompt))
    return made


def test_the_loss_is_a_mean_over_the_tokens_of_the_global_batch_not_of_the_micro_batch(
    tiny_model: Any, tmp_path: Path
) -> None:
    batch = samples()
    net = tiny_model(31)
    losses = []
    for sample in batch:
        logits = net(input_ids=torch.tensor([sample.tokens])).logits[0]
        logprobs = torch.log_softmax(logits, -1)
        losses += [
            -logprobs[t - 1, sample.tokens[t]] for t in range(1, len(sample.tokens)) if sample.weights[t]
        ]
    mean = torch.stack(losses).mean()
    mean.backward()
    expected = {name: p.grad * 0.1 for name, p in net.named_parameters()}  # (1 − β₁)·g after one step

    for budget in (16, 40, 8192):
        given = EngineConfig(micro_batch_tokens=budget)
        engine = begin(PackedPolicy(tiny_model(31)), tmp_path / str(budget), engine=given, clip=1e9)
        values = learn(engine, batch)
        assert values["loss"] == pytest.approx(float(mean.detach()), rel=1e-5)
        assert engine.counts["tokens"] == sum(len(sample.tokens) for sample in batch)
        for name, wanted in expected.items():
            found = engine._updates.read(f"model.{name}", "exp_avg")
            assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-6), name


def first_change(model: Any, work: Path, optimizer: Any) -> dict[str, torch.Tensor]:
    """What the first step adds to each parameter, in units of the learning rate."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    engine = begin(
        PackedPolicy(model), work, optimizer=optimizer, learning_rate=1e-2, warmup=0.0, weight_decay=0.0
    )
    learn(engine, samples())
    return {name: (value.detach() - before[name]) / 1e-2 for name, value in model.named_parameters()}


def test_muon_turns_all_directions_of_an_inner_matrix_alike(tiny_model: Any, tmp_path: Path) -> None:
    adamw, muon = (first_change(tiny_model(31), tmp_path / name, name) for name in ("adamw", "muon"))
    inner, outer = "model.layers.0.self_attn.o_proj.weight", "model.embed_tokens.weight"
    # The larger half of the singular values: directions without a gradient to speak of stay without.
    ours, theirs = (torch.linalg.svdvals(change[inner])[:16] for change in (muon, adamw))
    assert ours[0] / ours[-1] < 1.6 < 3 < theirs[0] / theirs[-1]
    assert float(muon[inner].square().mean().sqrt()) == pytest.approx(0.2, rel=0.25)  # AdamW's usual size
    for end in (outer, "lm_head.weight"):  # embedding and logits stay AdamW's
        assert torch.allclose(muon[end], adamw[end], atol=1e-3)


def test_what_a_module_cannot_do_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(
        BadConfig, match=r"engine\.activation_checkpointing: not supported by Linear; set it to false"
    ):
        begin(linear(), tmp_path, engine=EngineConfig(activation_checkpointing=True))
