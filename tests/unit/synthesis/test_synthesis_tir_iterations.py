"""Online rejection fine-tuning: what each iteration samples, keeps, drops and trains on; kills in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mathloop.errors import BadConfig
from mathloop.records import Problem, Response, read_problems, read_responses, write_problems
from mathloop.stages import StageReport
from mathloop.synthesis import tir, tir_sampling
from mathloop.synthesis.config import TIRConfig
from mathloop.synthesis.rejection import rejected
from tests.unit.synthesis.scripted import ScriptedSampler

CONFIG = TIRConfig(samples=2, keep=2, temperatures=(0.7, 1.0), iterations=2)


def wrote(output: str) -> str:
    return f"```python\nprint(7)\n```\n```output\n{output}\n```\nSo 7."


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("7", None),
        ("the answer is 7", None),
        ("", "no program printed anything"),
        ("NameError: name 'y' is not defined", "a program failed"),
        ("sympy.polys.polyerrors.PolynomialError: no", "a program failed"),
        ("TimeoutError: ran longer than 5 s", "a program failed"),
        ("the program was killed by signal 9", "a program failed"),
    ],
)
def test_programs_that_fail_or_print_nothing_are_rejected(output: str, reason: str | None) -> None:
    assert rejected(wrote(output)) == reason


def test_one_of_two_programs_may_print_nothing_but_neither_may_fail() -> None:
    assert rejected(wrote("") + wrote("7")) is None
    assert rejected(wrote("7") + wrote("ZeroDivisionError: division by zero")) == "a program failed"


class World:
    """A champion that solves "easy" once, and a tuned policy that solves every problem."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.trained, self.draws, self.fail_at = folder, [], [], -1  # type: ignore[var-annotated]
        names = ("easy", "hard", "never", "open")
        given = [Problem(name, f"{name}?", None if name == "open" else "7") for name in names]
        write_problems(folder / "given.parquet", given)
        (folder / "champion").mkdir()
        (folder / "champion" / "config.json").write_text("{}")
        monkeypatch.setattr(tir, "load_sampler", self.load)

    def load(self, policy: Path, _: Any) -> ScriptedSampler:
        champion = policy.name == "champion"

        def answer(problem: Problem, sample: int) -> Response:
            if len(self.draws) == self.fail_at:
                raise KeyboardInterrupt
            self.draws.append((policy.name, problem.id))
            solved = problem.id == "easy" or (not champion and problem.id != "never")
            text = wrote("7" if sample else "NameError: x") + str(len(self.draws))
            return Response(problem.id, 0, "tir", text, "7" if solved else "8", tool_calls=1)

        return ScriptedSampler(answer, 1000)

    def train(self, *, responses: list[Path], policy: Path, model: Path, seed: int, **_: Any) -> StageReport:
        learned = [r.problem_id for path in responses for r in read_responses(path)]
        self.trained.append((policy.name, learned, seed))
        model.mkdir(parents=True)
        return StageReport("sft")

    def run(self, name: str = "out", **given: Any) -> StageReport:
        arguments: dict[str, Any] = {"train": self.train, "work": self.folder / "work", "config": CONFIG}
        return tir.run(
            problems=self.folder / "given.parquet",
            policy=self.folder / "champion",
            out=self.folder / f"{name}.parquet",
            dropped=self.folder / f"{name}.dropped",
            seed=5,
            **arguments | given,
        )


def test_the_second_iteration_samples_the_tuned_policy_on_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    report = world.run()
    assert world.trained == [("champion", ["easy", "easy"], 6)]
    first = [name for policy, name in world.draws if policy == "champion"]
    assert first == 2 * ["easy", "easy", "hard", "hard", "never", "never"]  # "open" waits for the last policy
    later = [name for policy, name in world.draws if policy == "policy"]
    assert later == 2 * ["hard", "hard", "never", "never", "open", "open"]
    kept = list(read_responses(tmp_path / "out.parquet"))
    assert [r.problem_id for r in kept] == ["easy", "easy", "hard", "hard", "open", "open"]
    assert len({(r.problem_id, r.sample) for r in kept}) == 6
    assert report.generated == len(world.draws) == 24
    assert report.kept + sum(report.dropped.values()) == 24
    assert report.dropped == {"a program failed": 12, "wrong answer": 6}
    assert report.curves["share of right responses by iteration"] == [(1, 4 / 12), (2, 4 / 12)]
    assert len((tmp_path / "out.dropped").read_text().splitlines()) == 18
    assert list((tmp_path / "work").iterdir()) == []


def test_harder_problems_get_more_samples_and_no_iteration_more_than_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    given = [p for p in read_problems(tmp_path / "given.parquet") if p.id != "open"]
    easy = [Problem(f"easy-{n}", "easy?", "8") for n in range(5)]
    write_problems(tmp_path / "given.parquet", [*given, *easy])  # the champion solves these: 8 problems
    world.run(config=CONFIG.model_copy(update={"hardest": 3}))
    later = [name for policy, name in world.draws if policy == "policy"]
    assert later.count("hard") == later.count("never") == 12  # three times as many; four would be too many
    assert len(later) <= len(world.draws) - len(later)


@pytest.mark.parametrize("fail_at", [0, 5, 9, 14, 20])
def test_a_killed_stage_draws_at_most_one_shard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    monkeypatch.setattr(tir_sampling, "SHARD_RESPONSES", 2)  # a problem's
    world = World(tmp_path, monkeypatch)
    script = [(r.problem_id, r.sample, r.temperature) for r in _kept(world, "whole")]
    whole = len(world.draws)
    world.draws.clear()
    world.trained.clear()
    world.fail_at = fail_at
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert not (tmp_path / "out.parquet").exists()
    world.fail_at = -1
    again = [(r.problem_id, r.sample, r.temperature) for r in _kept(world, "out")]
    assert again == script
    assert whole <= len(world.draws) < whole + 2
    assert len(world.trained) == 1


def _kept(world: World, name: str) -> list[Response]:
    world.run(name)
    return list(read_responses(world.folder / f"{name}.parquet"))


def test_other_settings_do_not_go_on_with_a_killed_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.fail_at = 9
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.fail_at = -1
    world.draws.clear()
    world.run(config=CONFIG.model_copy(update={"keep": 1}))
    assert world.draws[0] == ("champion", "easy")
    assert json.loads((tmp_path / "out.dropped").read_text().splitlines()[0])["drop_reason"]


def test_several_iterations_need_a_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfig, match=r"tir.iterations=2 .* set tir.iterations to 1"):
        World(tmp_path, monkeypatch).run(train=None)
