"""The reward model: its step against padded forwards, what it learns, and the form that it is saved in."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel

from mathloop.models.loading import load_reward_model, new_reward_model
from mathloop.records import Problem, Response, read_responses, write_problems, write_responses
from mathloop.sampling.scoring import dialogue_tokens, score
from mathloop.stages import StageReport
from mathloop.training import reward_model
from mathloop.training.config import EngineConfig, OptimizerConfig, RewardModelConfig
from mathloop.training.updates import PlainUpdates


def fit(
    folder: Path, policy: Path, problems: list[Problem], responses: list[Response], **given: Any
) -> StageReport:
    """Runs the recipe, saving to folder/rm."""
    write_problems(folder / "problems.jsonl", problems)
    write_responses(folder / "responses.jsonl", responses)
    return reward_model.run(
        problems=folder / "problems.jsonl",
        responses=folder / "responses.jsonl",
        policy=policy,
        model=folder / "rm",
        work=folder / "work",
        config=RewardModelConfig(**given),
        seed=3,
        dropped=folder / "dropped",
    )


# Right and wrong responses of each problem: every product, a problem's number of pairs, is another.
COUNTS = {"a": (1, 1), "b": (1, 2), "c": (2, 2), "d": (3, 2)}
PROBLEMS = [Problem(name, f"{name} + 1?") for name in COUNTS]
RESPONSES = [
    Response(name, i, "tir" if i == 1 else "cot", f"{name}{'x' * (3 * i)} \\boxed{{{i}}}", correct=i < right)
    for name, (right, wrong) in COUNTS.items()
    for i in range(right + wrong)
]


@pytest.mark.parametrize("budget", [16, 100, 8192])
def test_the_first_step_is_the_mean_over_pairs_then_problems(
    save_policy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    policy = save_policy(tmp_path / "policy")
    gradients: dict[str, torch.Tensor] = {}
    step = PlainUpdates.step

    def keep(self: PlainUpdates, rate: float) -> float | None:
        gradients.update({name: p.grad.clone() for name, p in self.named.items()})
        return step(self, rate)

    monkeypatch.setattr(PlainUpdates, "step", keep)
    engine = EngineConfig(micro_batch_tokens=budget)
    report = fit(tmp_path, policy, PROBLEMS, RESPONSES, epochs=1, batch_size=3, engine=engine)
    held = {r * w: name for name, (r, w) in COUNTS.items()}[int(report.values["held-out pairs"])]

    torch.manual_seed(3)
    net, tokenizer = new_reward_model(policy)
    total = torch.zeros(())
    for name in COUNTS.keys() - {held}:
        scores = {True: [], False: []}  # type: ignore[var-annotated]
        for r in (r for r in RESPONSES if r.problem_id == name):
            row = torch.tensor([dialogue_tokens(tokenizer, f"{name} + 1?", r.mode, r.text, 4096)])
            state = net.backbone(input_ids=row).last_hidden_state[0, -1]
            scores[bool(r.correct)].append(net.head(state)[0])
        pairs = [(good, bad) for good in scores[True] for bad in scores[False]]
        total = total - sum(torch.log(torch.sigmoid(good - bad)) for good, bad in pairs) / len(pairs) / 3
    total.backward()
    assert report.curves["loss"] == [(0.0, pytest.approx(total.item(), abs=1e-6))]
    for name, parameter in net.named_parameters():
        assert torch.allclose(gradients[f"model.{name}"], parameter.grad, atol=1e-6, rtol=1e-5), name


def separable(problems: int, noise: float, seed: int = 0) -> tuple[list[Problem], list[Response]]:
    """Right answers say yes and wrong ones no, but for a share `noise` of them; all texts differ."""
    chance = random.Random(seed)
    asked = [Problem(str(i), f"{i}?") for i in range(problems)]
    responses = []
    for p in asked:
        for k in range(6):
            correct = k < 3
            word = "yes" if correct != (chance.random() < noise) else "no"
            text = f"{chance.randrange(1000)} {word} {chance.randrange(1000)}"
            responses.append(Response(p.id, k, "cot", text, correct=correct))
    return asked, responses


def test_it_tells_right_from_wrong_where_that_can_be_told(
    save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    report = fit(
        tmp_path,
        save_policy(tmp_path / "policy"),
        *separable(80, 0.0),
        epochs=3,
        batch_size=8,
        heldout_share=0.25,
        optimizer=OptimizerConfig(learning_rate=3e-3),
    )
    assert report.curves["loss"][0][1] == pytest.approx(math.log(2), abs=0.2)  # undecided at first
    assert report.values["held-out pairs"] == 180
    assert report.values["pair accuracy on held-out problems"] > 0.95
    assert report.values["calibration error on held-out pairs"] < 0.05


def test_where_verdicts_are_noisy_its_certainty_is_its_accuracy(
    save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    report = fit(
        tmp_path,
        save_policy(tmp_path / "policy"),
        *separable(300, 0.2),
        epochs=1,
        batch_size=16,
        heldout_share=0.4,
        optimizer=OptimizerConfig(learning_rate=3e-3),
    )
    assert 0.7 < report.values["pair accuracy on held-out problems"] < 0.85
    assert report.values["calibration error on held-out pairs"] < 0.1
    curve = report.curves["calibration: share right over predicted"]
    assert curve[-1][0] > 0.85  # it commits itself where it can
    assert all(0.5 <= predicted <= 1 for predicted, _ in curve)


def test_a_saved_model_scores_as_the_trained_one_and_keeps_the_form_that_others_read(
    save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    policy = save_policy(tmp_path / "policy")
    problems, responses = separable(12, 0.2)
    problems = kin(problems)
    report = fit(tmp_path, policy, problems, responses, epochs=4, batch_size=6, heldout_share=0.5)
    net, tokenizer = load_reward_model(tmp_path / "rm")
    told = {p.id: p.problem for p in problems}
    values = score(net, tokenizer, [(told[r.problem_id], "cot", r.text) for r in responses])
    groups = [values[i : i + 6] for i in range(0, len(values), 6)]
    ordered = [sum(good > bad for good in g[:3] for bad in g[3:]) / 9 for g in groups]
    # One of the two families was held out.
    accuracies = [sum(ordered[:6]) / 6, sum(ordered[6:]) / 6]
    found = report.values["pair accuracy on held-out problems"]
    assert any(found == pytest.approx(accuracy) for accuracy in accuracies), (found, accuracies)

    config = json.loads((tmp_path / "rm" / "config.json").read_text())
    assert (config["architectures"], config["num_labels"]) == (["Qwen2ForRewardModel"], 1)  # vLLM's form
    with safe_open(tmp_path / "rm" / "model.safetensors", "pt") as file:
        own = {name for name in file.keys() if not name.startswith("model.")}  # noqa: SIM118
        assert own == {f"score.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")}
        assert file.get_slice("score.2.weight").get_shape() == [1, 32]
    backbone = AutoModel.from_pretrained(tmp_path / "rm", dtype=torch.float32)
    row = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        theirs = backbone(input_ids=row).last_hidden_state
        assert torch.equal(theirs, net.backbone(input_ids=row).last_hidden_state)
        before = AutoModel.from_pretrained(policy, dtype=torch.float32)(input_ids=row).last_hidden_state
    assert (theirs - before).abs().max() > 0.01


def kin(problems: list[Problem]) -> list[Problem]:
    """The same problems as variations of two."""
    return [
        Problem(p.id, p.problem, parent="first" if 2 * i < len(problems) else "second")
        for i, p in enumerate(problems)
    ]


def test_variations_of_one_problem_stay_on_one_side(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    problems, responses = separable(12, 0.0)
    report = fit(
        tmp_path, save_policy(tmp_path / "policy"), kin(problems), responses, epochs=1, heldout_share=0.1
    )
    assert report.values["held-out pairs"] == 6 * 9  # a tenth would be one problem; its kin come with it


def test_without_pairs_all_score_alike(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    problems, responses = separable(3, 0.0)
    same = [Response(r.problem_id, r.sample, r.mode, r.text, correct=True) for r in responses]
    strayed = [
        Response("unknown", 0, "cot", "1", correct=True),
        Response(problems[0].id, 6, "cot", "not judged"),
    ]
    report = fit(tmp_path, save_policy(tmp_path / "policy"), problems, [*same, *strayed])
    assert report.dropped == {
        "its problem was removed": 1,
        "no verdict": 1,
        "its problem's responses are all right or all wrong": 18,
    }
    assert report.inputs == 20
    assert list(read_responses(tmp_path / "dropped")) == [*strayed, *same]
    assert "Not enough pairs" in report.notes[0]
    net, tokenizer = load_reward_model(tmp_path / "rm")
    assert score(net, tokenizer, [("0?", "cot", "yes"), ("1?", "tir", "no")]) == [0.0, 0.0]
