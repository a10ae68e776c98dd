"""GRPO on a bandit of five answers: what it learns and shows, and what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from mathloop.errors import BadConfig, BadModel, TrainingDiverged
from mathloop.models.loading import load_policy
from mathloop.records import Problem, read_problems, write_problems
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.stages import StageReport
from mathloop.training import grpo
from mathloop.training.config import GRPOConfig, OptimizerConfig
from mathloop.training.dealing import parts_per_group
from mathloop.training.objectives.grpo import GRPO

pytestmark = pytest.mark.slow


def run(trained: Path, folder: Path, problems: list[Problem], **given: Any) -> StageReport:
    """Runs the recipe on CoT with the reward model that scores all alike."""
    write_problems(folder / "problems.jsonl", problems)
    settings = {"problems_per_step": 4, "tir_share": 0.0, "sampling": SamplingConfig(max_tokens=4)}
    return grpo.run(
        problems=folder / "problems.jsonl",
        policy=trained / "policy",
        reward_model=trained / "silent",
        model=folder / "grpo",
        work=folder / "work",
        config=GRPOConfig(**settings | given),
        seed=0,
        rollouts=folder / "rollouts.parquet",
    )


@pytest.fixture
def problems(trained: Path) -> list[Problem]:
    return list(read_problems(trained / "problems.jsonl"))


def test_it_finds_the_right_one_of_five_answers(
    trained: Path, problems: list[Problem], tmp_path: Path
) -> None:
    report = run(
        trained,
        tmp_path,
        problems[:5],
        steps=45,
        problems_per_step=5,
        group_size=32,
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.0),
    )
    accuracy = [v for _, v in report.curves["verifier accuracy"]]
    assert accuracy[0] < 0.3
    assert sum(accuracy[-5:]) / 5 > 0.95
    # The saved challenger is the policy that got there.
    with TransformersSampler.load(tmp_path / "grpo", SamplingConfig(max_tokens=4)) as sampler:
        drawn = sampler.sample(problems[:5], mode="cot", samples=40, temperature=1.0, seed=1)
    right = sum(r.response.text == f"\\boxed{{{i // 40}}}" for i, r in enumerate(drawn))
    assert right / 200 > 0.93
    # What the report shows of a policy that narrows.
    for name in ("reward", "RM score", "KL", "response tokens", "truncated share", "clipped share"):
        assert len(report.curves[name]) == 45, name
    entropy, kl, flat, reward = (
        [v for _, v in report.curves[name]] for name in ("entropy", "KL", "zero-variance share", "reward")
    )
    assert sum(entropy[-5:]) < 0.5 * sum(entropy[:5])
    assert kl[0] < 1e-6 < 0.1 < max(kl)
    assert flat[0] < 0.5 < max(flat)
    assert reward == pytest.approx([a - 0.5 for a in accuracy], abs=1e-5)  # of a silent reward model
    assert report.values["zero-variance groups"] == pytest.approx(sum(5 * share for share in flat))


def test_groups_that_are_all_alike_change_nothing(
    trained: Path, problems: list[Problem], tmp_path: Path
) -> None:
    wrong = [Problem(p.id, p.problem, answer="99") for p in problems]
    report = run(trained, tmp_path, wrong, steps=2, problems_per_step=2, group_size=3, mini_batches=2)
    assert report.values["zero-variance groups"] == 4
    before, after = (load_policy(f)[0] for f in (trained / "policy", tmp_path / "grpo"))
    for name, weight in before.named_parameters():
        assert torch.equal(dict(after.named_parameters())[name], weight), name


def test_groups_that_cannot_be_divided_evenly_are_one_line(
    trained: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ValidationError, match=r"problems_per_step \(4\) must be a multiple of mini_batches \(3\)"
    ):
        GRPOConfig(problems_per_step=4, mini_batches=3)
    # How many processes there are shows only where they start.
    monkeypatch.setattr(
        "mathloop.training.grpo.parts_per_group", lambda config, _: parts_per_group(config, 3)
    )
    with pytest.raises(
        BadConfig, match="make group_size a multiple of 3, or problems_per_step one of 6"
    ) as error:
        run(trained, tmp_path, problems, mini_batches=2)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "grpo").exists()


def test_a_tokenizer_without_chat_template_is_one_line(
    trained: Path, problems: list[Problem], tmp_path: Path
) -> None:
    for name in ("policy", "silent"):
        shutil.copytree(trained / name, tmp_path / "bare" / name)
    (tmp_path / "bare" / "policy" / "chat_template.jinja").unlink()
    with pytest.raises(BadModel, match=r"no chat template; add chat_template\.jinja") as error:
        run(tmp_path / "bare", tmp_path, problems)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["loss", "KL"])
def test_divergence_leaves_the_last_checkpoint_and_no_model(
    trained: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    calls = []

    def broken(*given: Any) -> Any:
        loss, metrics = GRPO.loss(*given)
        calls.append(1)
        if len(calls) > 2 and where == "KL":
            metrics["KL"] = torch.tensor(torch.inf)
        return loss * torch.nan if len(calls) > 2 and where == "loss" else loss, metrics

    monkeypatch.setattr(grpo, "load_objective", lambda _: replace(GRPO, loss=broken))
    with pytest.raises(TrainingDiverged, match=f"{where} is .* at step 2"):
        run(trained, tmp_path, problems, steps=5, optimizer=OptimizerConfig(checkpoint_steps=2))
    found = [path.name for path in (tmp_path / "work" / "checkpoints").iterdir()]
    assert found == ["step-00000002"]
    assert not (tmp_path / "grpo").exists()


def test_without_a_gold_answer_the_policy_stays(trained: Path, tmp_path: Path) -> None:
    report = run(trained, tmp_path, [Problem("p", "Who knows?")])
    assert "No problem was selected" in report.notes[0]
    assert pq.read_table(tmp_path / "rollouts.parquet").num_rows == 0
    before, after = (load_policy(f)[0] for f in (trained / "policy", tmp_path / "grpo"))
    assert torch.equal(before.lm_head.weight, after.lm_head.weight)
