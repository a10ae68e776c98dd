"""The evaluation of a round's models: which are asked, under which names, and the scores of their roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mathloop.evaluation import evaluate, passes
from mathloop.evaluation.config import EvaluationConfig
from mathloop.records import Problem, Response, read_responses, write_problems
from mathloop.registry import Champion
from mathloop.storage import open_store

COUNT = 10
SKILL = {"base": 3, "champion": 5, "sft": 6, "challenger": 8}
"""Model's folder → how many of the problems it solves."""


class Fake:
    """Solves the first few problems, in CoT and TIR alike."""

    def __init__(self, folder: Path) -> None:
        self.right = SKILL[folder.name]

    def fits(self, problem: Problem, mode: str) -> bool:
        return len(problem.problem) < 100

    def stream(self, problems: list[Problem], **asked: Any) -> Iterator[list[SimpleNamespace]]:
        for problem in problems:
            answer = "1" if int(problem.id) < self.right else "2"
            yield [
                SimpleNamespace(
                    response=Response(problem.id, sample, asked["mode"], "t", answer, tokens=3),
                    prompt_tokens=[],
                )
                for sample in range(asked["samples"])
            ]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that were loaded, in order."""
    names: list[str] = []

    @contextmanager
    def load(folder: Path, config: Any) -> Iterator[Fake]:
        names.append(folder.name)
        yield Fake(folder)

    monkeypatch.setattr(evaluate, "load_sampler", load)
    return names


def run_round(folder: Path, champion: Champion) -> Any:
    write_problems(folder / "benchmark.parquet", [Problem(str(n), "?", "1") for n in range(COUNT)])
    store = open_store(str(folder / "store"))
    (folder / "pretrained").mkdir()
    (folder / "pretrained" / "weights").write_text("base")
    store.publish(folder / "pretrained", champion.base)
    return evaluate.run_round(
        store_url=store.url,
        champion=champion.to_json().decode(),
        benchmark=folder / "benchmark.parquet",
        models={role: folder / role for role in ("sft", "challenger", "champion")},
        work=folder / "work",
        reward_model=folder / "none",
        out=folder / "results.parquet",
        config=EvaluationConfig(samples=2),
        seed=3,
    )


def test_models_are_labeled_by_their_role_and_scored(loaded: list[str], tmp_path: Path) -> None:
    later = Champion(2, "rounds/r2/policy", None, "base/r0/policy", "r2", 1, {}, "")
    report = run_round(tmp_path, later)
    assert loaded == ["base", "sft", "challenger", "champion"]
    rows = list(read_responses(tmp_path / "results.parquet"))
    assert {row.model for row in rows} == set(SKILL)
    assert report.generated == len(rows) == 4 * 2 * COUNT * 3
    assert report.scores == {
        **dict.fromkeys(("champion_greedy", "champion_maj", "champion_pass"), 50.0),
        **dict.fromkeys(("challenger_greedy", "challenger_maj", "challenger_pass"), 80.0),
    }


def test_a_first_rounds_champion_is_the_base_model_and_is_asked_once(
    loaded: list[str], tmp_path: Path
) -> None:
    first = Champion(0, "base/r0/policy", None, "base/r0/policy", "r0", None, {}, "")
    report = run_round(tmp_path, first)
    assert loaded == ["champion", "sft", "challenger"]
    assert report.scores["champion_greedy"] == 50.0
    assert not (tmp_path / "work").exists()


def test_a_problem_that_does_not_fit_is_not_drawn_and_counts_as_wrong(
    loaded: list[str], tmp_path: Path
) -> None:
    problems = [Problem("0", "?", "1"), Problem("1", "?" * 200, "1"), Problem("2", "?", "1")]
    write_problems(tmp_path / "benchmark.parquet", problems)
    evaluate.run(
        benchmark=tmp_path / "benchmark.parquet",
        models={"champion": tmp_path / "champion"},
        reward_model=tmp_path / "none",
        out=tmp_path / "results.parquet",
        config=EvaluationConfig(samples=2),
        seed=3,
    )
    rows = list(read_responses(tmp_path / "results.parquet"))
    assert [(row.problem_id, row.sample, row.correct) for row in rows[3:9]] == [
        *(("0", 0, True), ("0", 1, True)),
        *(("1", 0, False), ("1", 1, False)),
        *(("2", 0, True), ("2", 1, True)),
    ]
    assert "context" in rows[5].reason


class Counting(Fake):
    """Says how many responses of it are alive at most."""

    alive = most = 0

    def stream(self, problems: list[Problem], **asked: Any) -> Iterator[list[SimpleNamespace]]:
        for rollouts in super().stream(problems, **asked):
            for rollout in rollouts:
                rollout.response = Tracked(**vars_of(rollout.response))
            yield rollouts


class Tracked(Response):
    """A response that is counted until nobody holds it."""

    __slots__ = ("__weakref__",)

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        Counting.alive += 1
        Counting.most = max(Counting.most, Counting.alive)

    def __del__(self) -> None:
        Counting.alive -= 1


def vars_of(response: Response) -> dict[str, Any]:
    return {field.name: getattr(response, field.name) for field in fields(response)}


def test_no_pass_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 15,000 responses to 1,500 problems a few hundred are alive at once, and all are written."""

    @contextmanager
    def load(folder: Path, config: Any) -> Iterator[Counting]:
        yield Counting(folder)

    monkeypatch.setattr(evaluate, "load_sampler", load)
    monkeypatch.setattr(passes, "SHARD", 400)
    Counting.alive = Counting.most = 0
    count = 1_500
    write_problems(tmp_path / "benchmark.parquet", (Problem(str(n), "?", "1") for n in range(count)))
    report = evaluate.run(
        benchmark=tmp_path / "benchmark.parquet",
        models={"champion": tmp_path / "champion"},
        reward_model=tmp_path / "none",
        out=tmp_path / "results.parquet",
        config=EvaluationConfig(samples=4),
        seed=3,
    )
    assert report.generated == 2 * count * 5
    assert Counting.most <= 400
