"""A training that was stopped goes on bit for bit, and only where it is the same training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mathloop.errors import Interrupted
from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.sampling.config import SamplingConfig
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.training import sft
from mathloop.training.config import EngineConfig, GRPOConfig, OptimizerConfig, SFTConfig
from mathloop.training.engine import CHECKPOINTS_VARIABLE, Engine
from mathloop.training.order import batch_of


class Net(nn.Module):
    """Chance (dropout), matrices that Muon takes, and a layer that only some batches reach."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(31, 16)
        self.drop = nn.Dropout(0.3)
        self.inner = nn.Linear(16, 16)
        self.rare = nn.Linear(16, 16)
        self.logits = nn.Linear(16, 31)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states = self.inner(self.drop(self.embed(tokens[:, :-1]))).relu()
        if int(tokens[0, 0]) < 10:
            states = self.rare(states)
        return nn.functional.cross_entropy(self.logits(states).flatten(0, 1), tokens[:, 1:].flatten())


def begin(work: Path, steps: int = 10, data: str = "", seed: int = 0, **given: Any) -> Engine:
    engine = given.pop("engine", EngineConfig())
    config = SFTConfig(optimizer=OptimizerConfig(weight_decay=0.1, **given), engine=engine)
    return Engine(Net(), config, steps, work, recipe="sft", seed=seed, data=data)


ROWS = torch.randint(0, 31, (24, 9), generator=torch.Generator().manual_seed(5))
"""With batches of 4, six steps are a pass."""


def train(engine: Engine, until: int, at: Callable[[int], None] = lambda step: None) -> Engine:
    """Calls `at` before each step."""
    with engine:
        while engine.step < until:
            at(engine.step)
            tokens = ROWS[batch_of(len(ROWS), 4, engine.step, seed=0)]
            loss = engine.forward(tokens)
            engine.backward(loss)
            engine.counts["rows"] += len(tokens)
            engine.update(tokens=tokens.numel(), loss=loss.item())
    return engine


def learned(engine: Engine) -> dict[str, list[tuple[float, float]]]:
    return {name: curve for name, curve in engine.curves.items() if name != "tokens per second"}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("killed_at", [3, 6, 9])  # before, at and after the end of a pass
def test_a_resumed_run_is_the_run_at_once(tmp_path: Path, optimizer: Any, killed_at: int) -> None:
    given = {"optimizer": optimizer, "checkpoint_steps": 3, "steps": 12}
    torch.manual_seed(100)
    whole = train(begin(tmp_path / "whole", **given), 12)
    torch.manual_seed(200)
    train(begin(tmp_path / "killed", **given), killed_at + 2)
    torch.manual_seed(300)
    resumed = begin(tmp_path / "killed", **given)
    assert resumed.step == killed_at
    train(resumed, 12)
    start = Net().state_dict()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name
        assert not torch.equal(value, start[name]), name
    assert learned(whole) == learned(resumed)
    assert [step for step, _ in whole.curves["loss"]] == list(range(12))
    assert whole.counts == resumed.counts == {"tokens": 12 * 36, "rows": 48}
    assert resumed.seconds > 0
    rows = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(12))
    assert [(float(row["step"]), row["loss"]) for row in rows] == whole.curves["loss"]


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        ({"sampling": SamplingConfig(max_tokens=160, batch_size=16, gpu_memory=0.4)}, 3),
        ({"engine": EngineConfig(micro_batch_tokens=512, keep=1)}, 3),
        ({"sampling": SamplingConfig(max_tokens=80)}, 0),
        ({"group_size": 4}, 0),
    ],
)
def test_grpo_resumes_with_settings_that_need_less_memory_and_with_no_others(
    tmp_path: Path, changed: dict[str, Any], step: int
) -> None:
    def start(config: GRPOConfig) -> Engine:
        return Engine(Net(), config, 10, tmp_path, recipe="grpo", seed=0)

    killed = start(GRPOConfig())
    killed.step = 3
    killed.save()
    assert start(GRPOConfig(**changed)).step == step


def test_a_layer_that_no_batch_reached_before_the_checkpoint_is_trained_after_it(tmp_path: Path) -> None:
    def run(work: Path, until: int) -> Engine:
        engine = begin(work, checkpoint_steps=2)
        while engine.step < until:
            tokens = torch.full((2, 5), 5 if engine.step >= 3 else 20)
            loss = engine.forward(tokens)
            engine.backward(loss)
            engine.update(loss=loss.item())
        return engine

    whole = run(tmp_path / "whole", 6)
    run(tmp_path / "killed", 2)
    resumed = run(tmp_path / "killed", 6)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name
    assert not torch.equal(whole.module.rare.weight, Net().rare.weight)


def test_another_training_does_not_go_on_but_other_processors_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(begin(tmp_path / "work", data="a"), 10)

    def step_of(**given: Any) -> tuple[int, list[str]]:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "work", tmp_path / "copy")
        engine = begin(tmp_path / "copy", **given)
        return engine.step, engine.notes

    same = EngineConfig(micro_batch_tokens=16, keep=5, peak_tflops=1.0)
    assert step_of(data="a") == step_of(data="a", engine=same) == (10, [])
    assert step_of(data="a", checkpoint_steps=7) == (10, [])  # how often one saves changes nothing learned
    for other in ({"data": "b"}, {"seed": 1}, {"steps": 11}, {"learning_rate": 2e-3}, {"optimizer": "muon"}):
        step, (note,) = step_of(**{"data": "a", **other})
        assert step == 0
        assert "with other data, another model or other settings" in note
        aside = [path for path in (tmp_path / "copy" / "checkpoints").iterdir() if ".other-" in path.name]
        assert aside  # somebody's work: not removed
    assert "skipped" in capsys.readouterr().err


TEXTS = ["7", "So the answer is \\boxed{7}.", "Mia has 3 apples. Tom gives her 4 more. ", "Tom 4.", "3", "4"]


@pytest.fixture
def fine_tune(tiny_model: Any, tokenizer: Any, tmp_path: Path) -> Any:
    """Runs SFT: two passes of three steps."""
    tiny_model(len(tokenizer)).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    write_problems(tmp_path / "problems.jsonl", [Problem("p", "3 + 4?", answer="7")])
    responses = [Response("p", i, "cot", text) for i, text in enumerate(TEXTS)]
    write_responses(tmp_path / "responses.jsonl", responses)

    def run(name: str, checkpoint_steps: int = 3) -> StageReport:
        return sft.run(
            problems=tmp_path / "problems.jsonl",
            responses=[tmp_path / "responses.jsonl"],
            policy=tmp_path / "policy",
            model=tmp_path / f"{name}-model",
            work=tmp_path / name,
            config=SFTConfig(
                epochs=2, batch_size=2, optimizer=OptimizerConfig(checkpoint_steps=checkpoint_steps)
            ),
            seed=0,
        )

    return run


def test_a_run_resumed_at_the_border_of_two_passes_trains(
    fine_tune: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = fine_tune("whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step-00000006")
    resumed = fine_tune("again")
    assert "sft: step 3 of 6 from a checkpoint; resuming" in capsys.readouterr().err
    assert resumed.curves["loss"] == whole.curves["loss"]
    weights = [(tmp_path / f"{name}-model" / "model.safetensors").read_bytes() for name in ("whole", "again")]
    assert weights[0] == weights[1]
    assert weights[0] != (tmp_path / "policy" / "model.safetensors").read_bytes()


def test_a_finished_run_says_so_and_saves_the_same_model(
    fine_tune: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = fine_tune("work")
    saved = (tmp_path / "work-model" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "work-model")
    again = fine_tune("work")
    assert "sft: step 6 of 6 from a checkpoint; all its steps are done" in capsys.readouterr().err
    assert (tmp_path / "work-model" / "model.safetensors").read_bytes() == saved
    assert again.curves == whole.curves
    assert again.values["loss"] == whole.values["loss"]


def test_a_run_stopped_here_goes_on_elsewhere_from_the_store(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(begin(tmp_path / "whole", checkpoint_steps=3), 10)
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, store_url)

    def stop(step: int) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(begin(tmp_path / "here", checkpoint_steps=3), 10, stop)
    elsewhere = begin(tmp_path / "elsewhere", checkpoint_steps=3)
    assert elsewhere.step == 8
    assert len(list(open_store(store_url).names())) == 2  # of steps 6 and 8: the newest two
    assert learned(train(elsewhere, 10)) == learned(whole)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, elsewhere.module.state_dict()[name]), name
    assert list(open_store(store_url).names()) == []  # the training is done


def test_training_goes_on_while_the_server_is_down_and_the_upload_catches_up(
    own_s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(begin(tmp_path / "whole", checkpoint_steps=1), 10)
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, "s3://mathloop/down")
    stored = open_store("s3://mathloop/down").names

    def at(step: int) -> None:
        if step == 2:
            while not list(stored()):
                time.sleep(0.02)
            own_s3.kill()
        elif step == 7:  # five checkpoints were written meanwhile
            while "not in the store yet" not in (said := capsys.readouterr().err):
                time.sleep(0.02)
            assert said.count("not in the store yet") == 1  # not once a second
            own_s3.start()
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(begin(tmp_path / "here", checkpoint_steps=1), 10, at)
    elsewhere = begin(tmp_path / "elsewhere", checkpoint_steps=1)
    assert elsewhere.step == 8
    assert learned(train(elsewhere, 10)) == learned(whole)
