"""LoRA: what trains, what is saved, and a reference that costs no second model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.errors import BadConfig
from mathloop.models.loading import load_policy, new_reward_model
from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.sampling.config import SamplingConfig
from mathloop.stages import StageReport
from mathloop.training import grpo, sft
from mathloop.training.adapters import add_adapters, merged_weights, without_adapters
from mathloop.training.config import EngineConfig, GRPOConfig, LoRAConfig, OptimizerConfig, SFTConfig
from mathloop.training.objectives.grpo import GRPO
from mathloop.training.objectives.objective import Tokens
from mathloop.training.updates import PlainUpdates

ROW = torch.tensor([[5, 6, 7, 8, 9]])


def disturb(policy: Any) -> None:
    """Gives the adapters something to do: they begin at nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if ".lora_B." in name:
                parameter += 0.1 * torch.randn_like(parameter)


@torch.no_grad()
def logits(policy: Any) -> torch.Tensor:
    found: torch.Tensor = policy(input_ids=ROW).logits
    return found


@pytest.mark.parametrize("targets", [(), ("q_proj", "down_proj")])
def test_the_merged_policy_is_the_policy_with_its_adapters(
    save_policy: Callable[..., Path], tmp_path: Path, targets: tuple[str, ...]
) -> None:
    folder = save_policy(tmp_path / "policy")
    plain, _ = load_policy(folder)
    adapted = add_adapters(load_policy(folder)[0], LoRAConfig(rank=3, alpha=9.0, targets=targets))
    assert torch.equal(logits(adapted), logits(plain))
    disturb(adapted)
    merged, _ = load_policy(folder)
    merged.load_state_dict(dict(merged_weights(adapted)))
    assert (logits(adapted) - logits(plain)).abs().max() > 0.01
    assert torch.allclose(logits(merged), logits(adapted), atol=1e-5)
    with without_adapters(adapted):
        assert torch.equal(logits(adapted), logits(plain))
    assert torch.allclose(logits(merged), logits(adapted), atol=1e-5)
    changed = {
        name.split(".")[-2]
        for name, weight in merged.named_parameters()
        if not torch.equal(weight, dict(plain.named_parameters())[name])
    }
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert changed == (set(targets) or linear)


def test_only_adapters_train(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    policy, _ = load_policy(save_policy(tmp_path / "policy"))
    adapted = add_adapters(policy, LoRAConfig(rank=2))
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 7 * 2  # up and down, seven linear layers, two decoder layers
    assert all(".lora_" in name for name in trained)


def test_an_unknown_layer_is_one_line(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    policy, _ = load_policy(save_policy(tmp_path / "policy"))
    with pytest.raises(BadConfig, match=r"lora\.targets=.*'query'.* has down_proj, .*v_proj$") as error:
        add_adapters(policy, LoRAConfig(targets=("query",)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("targets", "tied", "fault"),
    [
        (("q_proj", "vproj"), False, "no such layer as 'vproj'; of linear layers the model has down_proj, "),
        (("q_proj", "embed_tokens"), False, r"'embed_tokens' is not a linear layer \(Embedding\)"),
        (("q_proj", "lm_head"), True, "'lm_head' shares its weights with the embedding .* leave it out"),
    ],
)
@pytest.mark.parametrize("recipe", ["sft", "grpo"])
def test_targets_that_cannot_be_trained_are_named_before_a_model_is_loaded(
    save_policy: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    targets: tuple[str, ...],
    tied: bool,
    fault: str,
    recipe: str,
) -> None:
    policy = save_policy(tmp_path / "policy", tie_word_embeddings=tied)
    write_problems(tmp_path / "problems.jsonl", [Problem("p", "3 + 4?", answer="7")])
    write_responses(tmp_path / "responses.jsonl", [Response("p", 0, "cot", "7")])
    monkeypatch.setattr(sft, "load_trainable", lambda *_: pytest.fail("loaded"))
    monkeypatch.setattr(grpo, "load_trainable", lambda *_: pytest.fail("loaded"))
    places: dict[str, Any] = {"problems": tmp_path / "problems.jsonl", "policy": policy, "seed": 0}
    places |= {"model": tmp_path / "out", "work": tmp_path / "work"}
    lora = LoRAConfig(targets=targets)
    run: Callable[..., Any] = partial(
        sft.run, responses=[tmp_path / "responses.jsonl"], config=SFTConfig(lora=lora)
    )
    if recipe == "grpo":
        run = partial(grpo.run, reward_model=policy, config=GRPOConfig(lora=lora))
    with pytest.raises(BadConfig, match=rf"lora\.targets=.*{fault}") as error:
        run(**places)
    assert "\n" not in str(error.value)


def test_an_adapter_on_a_head_of_its_own_is_saved(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    folder = save_policy(tmp_path / "policy")
    adapted = add_adapters(load_policy(folder)[0], LoRAConfig(targets=("lm_head", "self_attn.q_proj")))
    disturb(adapted)
    merged, _ = load_policy(folder)
    merged.load_state_dict(dict(merged_weights(adapted)))
    assert torch.allclose(logits(merged), logits(adapted), atol=1e-5)


def test_without_peft_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    policy, _ = load_policy(save_policy(tmp_path / "policy"))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BadConfig, match=r"lora needs peft.*pip install 'mathloop\[train\]'"):
        add_adapters(policy, LoRAConfig())


class Killed(Exception):
    """Somebody ended the training."""


def fine_tune(folder: Path, name: str, **given: Any) -> StageReport:
    write_problems(folder / "problems.jsonl", [Problem("p", "3 + 4?")])
    write_responses(
        folder / "responses.jsonl",
        [Response("p", i, "cot", text) for i, text in enumerate(["7", "It is \\boxed{3}.", "seven", "8"])],
    )
    return sft.run(
        problems=folder / "problems.jsonl",
        responses=[folder / "responses.jsonl"],
        policy=folder / "policy",
        model=folder / name,
        work=folder / f"work-{name}",
        config=SFTConfig(
            epochs=8,
            batch_size=4,
            lora=LoRAConfig(rank=4),
            optimizer=OptimizerConfig(learning_rate=1e-2, checkpoint_steps=3),
            **given,
        ),
        seed=0,
    )


def test_sft_trains_adapters_and_saves_a_plain_model(
    save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    save_policy(tmp_path / "policy")
    report = fine_tune(tmp_path, "sft")
    assert report.values["loss"] < 0.8 * report.curves["loss"][0][1]
    before, after = (dict(load_policy(tmp_path / name)[0].named_parameters()) for name in ("policy", "sft"))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        if name.endswith("_proj.weight"):
            assert torch.linalg.matrix_rank(after[name] - weight, rtol=1e-3) == 4, name
        else:
            assert torch.equal(after[name], weight), name


@pytest.mark.parametrize("engine", [{"activation_checkpointing": True}, {"dtype": "bfloat16"}])
def test_sft_with_adapters_takes_every_engine_setting(
    save_policy: Callable[..., Path], tmp_path: Path, engine: dict[str, Any]
) -> None:
    save_policy(tmp_path / "policy")
    plain = [v for _, v in fine_tune(tmp_path, "plain").curves["loss"]]
    found = [v for _, v in fine_tune(tmp_path, "sft", engine=EngineConfig(**engine)).curves["loss"]]
    assert found == pytest.approx(plain, rel=2e-2)


def test_a_killed_training_of_adapters_goes_on_in_a_process_with_other_chances(
    save_policy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_policy(tmp_path / "policy")
    torch.manual_seed(5)
    fine_tune(tmp_path, "whole")
    step, taken = PlainUpdates.step, []

    def kill(updates: PlainUpdates, rate: float) -> float | None:
        taken.append(rate)
        if len(taken) == 5:
            raise Killed
        return step(updates, rate)

    monkeypatch.setattr(PlainUpdates, "step", kill)
    torch.manual_seed(6)
    with pytest.raises(Killed):
        fine_tune(tmp_path, "killed")
    torch.manual_seed(7)
    fine_tune(tmp_path, "killed")
    assert len(taken) == 5 + 8 - 3  # from the checkpoint after its third step
    one, other = (load_policy(tmp_path / name)[0].state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(other[name], weight) for name, weight in one.items())


def test_grpo_takes_the_policy_without_adapters_as_its_reference(
    save_policy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = save_policy(tmp_path / "policy")
    write_problems(tmp_path / "problems.jsonl", [Problem(str(i), f"{i}?", answer="1") for i in range(2)])
    reward, tokenizer = new_reward_model(policy)
    reward.save(tmp_path / "rm", tokenizer)
    loads, weights, updates = [], [], PlainUpdates.step

    def count(folder: Path, *given: Any) -> Any:
        loads.append(folder)
        return load_policy(folder, *given)

    def keep(self: PlainUpdates, rate: float) -> float | None:
        weights.append(dict(merged_weights(self.module.model)))
        return updates(self, rate)

    monkeypatch.setattr(grpo, "load_policy", count)  # the reference
    monkeypatch.setattr("mathloop.training.sharded.load_policy", count)
    monkeypatch.setattr(PlainUpdates, "step", keep)
    references = []

    def note(tokens: Tokens, config: GRPOConfig) -> Any:
        references.append((tokens.logprobs.detach(), tokens.reference_logprobs))
        return GRPO.loss(tokens, config)

    monkeypatch.setattr(grpo, "load_objective", lambda _: replace(GRPO, loss=note))
    report = grpo.run(
        problems=tmp_path / "problems.jsonl",
        policy=policy,
        reward_model=tmp_path / "rm",
        model=tmp_path / "grpo",
        work=tmp_path / "work",
        config=GRPOConfig(
            steps=3,
            problems_per_step=2,
            group_size=3,
            epochs_per_batch=2,
            tir_share=0.0,
            beta=0.1,
            lora=LoRAConfig(rank=4),
            sampling=SamplingConfig(max_tokens=8),
            optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0),
        ),
        seed=0,
    )
    assert loads == [policy]  # no second copy
    divergence = [value for _, value in report.curves["KL"]]
    assert divergence[0] == pytest.approx(0, abs=1e-7)
    assert min(divergence[1:]) > 1e-4
    assert torch.allclose(references[0][0], references[0][1], atol=1e-5)
    # Of one batch both passes have the same reference, while the policy moves.
    for first in (0, 2, 4):
        assert torch.equal(references[first][1], references[first + 1][1])
        assert not torch.equal(references[first][0], references[first + 1][0])
    start = dict(load_policy(policy)[0].named_parameters())
    after = dict(load_policy(tmp_path / "grpo")[0].named_parameters())
    assert all(torch.equal(weights[0][name], start[name]) for name in start)
    assert {name for name in start if not torch.equal(after[name], start[name])} == {
        name for name in start if name.endswith("_proj.weight")
    }
