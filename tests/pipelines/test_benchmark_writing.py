"""`mathloop benchmark writing` and `rft` without a model: what is judged, printed and compared."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mathloop.problems.nano_grammar import judge_statement
from mathloop.records import Problem
from mathloop.settings import Settings
from mathloop.stages import StageReport
from mathloop.writing import write
from pipelines.benchmarks import rft, writing
from pipelines.profile import load_profile
from tests.pipelines.command import refused
from tests.unit.writing.standins import ScriptedWriter

GOOD = "Tom has {} dollars and buys 4 cards for 4 each. How much is left?"
POOR = "Tom has {} dollars and buys 9 cards for 9 each. How much is left?"
ODD = "Tom has {} dollars and a dog. How much is left?"


@pytest.fixture
def settings() -> Settings:
    """Of the reproduction, with one template and a small benchmark."""
    return load_profile("reproduce", ["problems.benchmark=5", "writing.templates=[nano_write]", "seed=3"])


def test_what_was_kept_is_judged_and_what_was_dropped_has_its_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = itertools.count(21)

    def script(prompt: str) -> str:
        if "programs" in prompt:  # a debt is found out, but for one of them
            below = "9 cards" in prompt and "27" not in prompt
            return f"```output\n{-1 if below else 1}\n```"
        number = next(numbers)
        return (GOOD, POOR, ODD)[number % 3].format(number)

    monkeypatch.setattr(write, "open_writer", lambda *_: ScriptedWriter(script))
    writing.run(Path("policy"), settings, 30)
    printed = capsys.readouterr().out
    assert "profile reproduce, seed 3: 30 texts by each of 1 templates" in printed
    rows = [line.split() for line in printed.splitlines()]
    _, kept, good, share = next(row for row in rows if row[:1] == ["all"])
    lines = [line for line in printed.splitlines() if line[:3] in ("yes", "NO ")]
    assert len(lines) == int(kept)
    assert int(good) == sum(line.startswith("yes") for line in lines)
    assert share == f"{100 * int(good) / int(kept):.1f}"
    for line in lines:
        statement = line[5:].partition(": ")[2].rpartition(" (")[0]
        assert line.startswith("yes" if judge_statement(statement).well_posed else "NO ")
    assert "find below zero" in printed
    assert "no wording of the nano world" in printed


def test_reasons_of_one_kind_are_counted_together() -> None:
    problems = [Problem(str(n), POOR.format(n), operation="reword") for n in (5, 6)]
    problems += [Problem("odd", ODD.format(3), operation="write_new")]
    head, _, *rows, why = "\n".join(
        writing.table([writing.Judged(one, judge_statement(one.problem)) for one in problems])
    ).splitlines()
    assert head.split() == ["operation", "kept", "well-posed", "%"]
    assert [row.split() for row in rows] == [
        ["reword", "2", "0", "0.0"],
        ["write_new", "1", "0", "0.0"],
        ["all", "3", "0", "0.0"],
    ]
    assert why.startswith("not well-posed: 2 ")


def test_all_arms_draw_as_many_samples_and_learn_from_the_same_policy(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "weights").write_text("0.5")
    asked: list[tuple[int, int, int]] = []
    learned: list[dict[str, Any]] = []

    def draw(**given: Any) -> StageReport:
        config = given["config"]
        asked.append((given["seed"], config.iterations, config.samples))
        assert given["policy"] == policy
        if given["out"].parent.name == "no tuning":
            given["train"](policy=policy, model=tmp_path / f"copy {len(asked)}", seed=0)
        return StageReport("tir", inputs=7, generated=56, kept=14)

    def right(model: Path, problems: list[Problem], _: Any) -> Any:
        assert len(problems) == rft.HELD_OUT
        many = next(
            (n for arm, n in {"two": 240, "one": 150, "no tuning": 210}.items() if arm in model.parts), 60
        )
        return np.array([1.0] * many + [0.0] * (rft.HELD_OUT - many))

    monkeypatch.setattr(rft.tir, "run", draw)
    monkeypatch.setattr(rft, "train", lambda recipe, **given: learned.append(given))
    monkeypatch.setattr(rft, "answers", right)
    rft.run(policy, settings, 7, [0, 4])
    samples = settings.tir.samples
    arms = ((1, 2 * samples), (2, samples), (2, samples))
    assert asked == [(seed, *arm) for seed in (0, 4) for arm in arms]
    assert {one["policy"] for one in learned} == {policy}
    assert len(learned) == 6  # the tuning in between is the stage's, and here it draws nothing
    assert [path.read_text() for path in tmp_path.glob("copy */weights")] == ["0.5"] * 2
    printed = capsys.readouterr().out
    assert "the policy is right on 20.0" in printed
    assert "seed 4: one 50.0, two 80.0, no tuning 70.0" in printed
    assert "two less one: +30.0 [+" in printed
    assert "two less no tuning: +10.0 [+" in printed
    assert printed.count("over 2 seeds and 300 problems: holds") == 2


@pytest.mark.parametrize("name", ["writing", "rft"])
def test_a_policy_is_needed(name: str, tmp_path: Path) -> None:
    assert f"benchmark {name} needs --model DIR" in refused("benchmark", name, folder=tmp_path)
