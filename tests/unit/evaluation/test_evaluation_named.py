"""Named benchmarks of a round: what its settings name, and what the gate decides on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation import gate
from mathloop.evaluation.benchmarks import ENVIRONMENT
from mathloop.evaluation.benchmarks.named import NamedBenchmarks
from mathloop.evaluation.config import BenchmarksConfig, GateConfig
from mathloop.evaluation.differences import paired_difference, weighted_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.orderings import check_orderings
from mathloop.evaluation.roles import role_scores
from mathloop.records import Problem, Response, read_problems, write_problems
from mathloop.reports.scores import benchmarks_section
from mathloop.settings import parse_settings
from mathloop.synthesis.references import add_measured
from pipelines.profile import load_profile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Benchmarks near, of 20 problems, and far, of 8; a profile beside them that names both."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for name, count in (("near", 20), ("far", 8)):
        rows = [{"problem": f"{name}: {n} + {n * n}?", "answer": n + n * n} for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / f"{name}.yaml").write_text(f"path: {name}.jsonl\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: tiny\nbenchmarks: {measure: [near], exclude: [far.jsonl], limit: 6}\n"
        "gate: {weights: {near: 2, held-out: 0}}\n"
    )
    return tmp_path


def test_a_profiles_benchmarks_are_beside_it(folder: Path) -> None:
    settings = load_profile(str(folder / "mine.yaml"))
    named = NamedBenchmarks(settings.benchmarks)
    assert named.names == ["near", "far"]
    assert settings.benchmarks.exclude == (str(folder / "far.jsonl"),)
    digests = named.check(settings.gate.weights)
    assert set(digests) == {"near", "far"}
    assert len({*digests.values()}) == 2
    measured, excluded = list(named.measured()), list(named.excluded())
    assert [problem.source for problem in measured] == ["near"] * 6
    # All are kept out of training data, the fourteen that are not measured among them.
    assert [problem.source for problem in excluded] == ["far"] * 8 + ["near"] * 14
    assert len({problem.id for problem in (*measured, *excluded)}) == 28
    assert measured == list(NamedBenchmarks(settings.benchmarks).measured())
    (folder / "near.jsonl").write_text(
        (folder / "near.jsonl").read_text() + '{"problem": "9?", "answer": 9}\n'
    )
    assert named.check({})["near"] != digests["near"]


def test_a_round_tells_repeated_statements_and_keeps_them(folder: Path, tmp_path: Path) -> None:
    rows = [{"problem": f"{n % 3} + 1?", "answer": 1 + n % 3 + n // 5} for n in range(6)]
    (folder / "near.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = tmp_path / "held.parquet"
    write_problems(held, [Problem("1", "7?", "7")])
    values, notes = add_measured(
        held, NamedBenchmarks(BenchmarksConfig(measure=(str(folder / "near.yaml"),)))
    )
    assert values == {"problems of near": 6.0}
    assert notes == [
        "near: 3 problems repeat the statement of an earlier one (near/near-4 like near/near-1, "
        "near/near-5 like near/near-2, near/near-6 like near/near-3), 1 of them with another answer"
    ]
    assert len(list(read_problems(held))) == 7


def test_a_plain_list_is_what_is_measured() -> None:
    assert parse_settings({"benchmarks": ["gsm8k", "math500"]}).benchmarks.measure == ("gsm8k", "math500")
    assert parse_settings({"benchmarks": {"exclude": ["gsm8k"]}}).benchmarks.exclude == ("gsm8k",)
    assert parse_settings({}).benchmarks == BenchmarksConfig()


@pytest.mark.parametrize(
    ("config", "weights", "expected"),
    [
        ({"measure": ("neer",)}, {}, "there is no benchmark 'neer', did you mean 'near'; known: "),
        ({"measure": ("near", "near.yaml")}, {}, "benchmarks: near is named twice"),
        ({"measure": ("near",)}, {"far": 2}, "gate.weights: far is no benchmark .* measured: held-out, near"),
    ],
)
def test_wrong_names_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, config: dict, weights: dict, expected: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(BadConfig, match=expected) as error:
        NamedBenchmarks(BenchmarksConfig(**config, folders=(str(folder),))).check(weights)
    assert "\n" not in str(error.value)


def test_a_benchmark_without_data_ends_a_run_before_it_begins(folder: Path) -> None:
    (folder / "near.jsonl").unlink()
    with pytest.raises(BadData, match=r"near.jsonl"):
        NamedBenchmarks(load_profile(str(folder / "mine.yaml")).benchmarks).check({})


def test_weights_are_numbers_from_zero_up() -> None:
    with pytest.raises(ValidationError, match="expected weights from 0 up"):
        GateConfig(weights={"near": -1})


def outcomes(gains: dict[str, tuple[int, float, float]]) -> Outcomes:
    """Benchmark → (problems, champion's accuracy, challenger's), right answers first."""
    problems, responses = [], []
    for name, (count, champion, challenger) in gains.items():
        for number in range(count):
            name_of = f"{number}-{name}" if name == "held-out" else f"{name}/{number}"
            problems.append(Problem(name_of, "?", "1", source=name))
            for model, accuracy in (("champion", champion), ("challenger", challenger)):
                right = number < accuracy * count
                responses += [
                    Response(name_of, -1, mode, "t", "1", right, model=model) for mode in ("cot", "tir")
                ]
    return Outcomes(problems, responses)


SETS = {"held-out": (40, 0.5, 0.5), "near": (400, 0.2, 0.4), "far": (20, 0.8, 0.5)}


def test_each_benchmark_weighs_the_same_however_long_it_is() -> None:
    decision = gate.decide(outcomes(SETS), GateConfig(), seed=0)
    assert decision["difference"] == pytest.approx((0 + 0.2 - 0.3) / 3)
    assert decision["n"] == 460
    assert not decision["promote"]
    assert "on 460 problems of held-out, near and far, 95 %" in decision["reason"]
    shown = {
        name: (one["n"], round(one["difference"], 6), one["mark"])
        for name, one in decision["benchmarks"].items()
    }
    assert shown == {
        "held-out": (40, 0.0, "within noise"),
        "near": (400, 0.2, "holds"),
        "far": (20, -0.3, "fails"),
    }
    assert decision["benchmarks"]["far"]["champion"] == pytest.approx(0.8)


def test_weights_say_what_decides() -> None:
    weights = {"far": 0.0, "near": 3.0}
    decision = gate.decide(outcomes(SETS), GateConfig(weights=weights), seed=0)
    assert decision["difference"] == pytest.approx(0.15)
    assert decision["promote"]
    assert decision["n"] == 440
    assert "on 440 problems of held-out (weight 1) and near (weight 3), 95 %" in decision["reason"]
    assert decision["benchmarks"]["far"]["weight"] == 0
    assert decision["challenger"]["score"] == pytest.approx((0.5 + 3 * 0.4) / 4)
    assert decision["difference"] == pytest.approx(
        decision["challenger"]["score"] - decision["champion"]["score"]
    )
    scores = role_scores(outcomes(SETS), weights)
    assert scores["challenger_greedy"] == pytest.approx(100 * decision["challenger"]["score"], abs=1e-3)
    alone = gate.decide(outcomes(SETS), GateConfig(weights={"far": 0, "held-out": 0}), seed=0)
    assert "on 400 problems of near, 95 %" in alone["reason"]
    with pytest.raises(BadConfig, match=r"gate.weights: every benchmark has the weight 0"):
        gate.decide(outcomes(SETS), GateConfig(weights=dict.fromkeys(SETS, 0.0)), seed=0)


def test_a_benchmark_without_tools_is_compared_in_cot_alone() -> None:
    every = outcomes({"held-out": (40, 0.5, 0.5), "near": (20, 0.2, 0.4)})
    rows = [
        Response(name, -1, mode, "t", "1", right, model=model)
        for name, champion, challenger in [(f"near/{n}", n < 4, n < 8) for n in range(20)]
        + [(f"{n}-held-out", n < 20, n < 20) for n in range(40)]
        for model, right in (("champion", champion), ("challenger", challenger))
        for mode in ("cot", "tir")
        if mode == "cot" or not name.startswith("near/")
    ]
    problems = [Problem(f"near/{n}", "?", "1", source="near") for n in range(20)]
    problems += [Problem(f"{n}-held-out", "?", "1", source="held-out") for n in range(40)]
    found = gate.decide(cot_alone := Outcomes(problems, rows), GateConfig(), seed=0)
    both = gate.decide(every, GateConfig(), seed=0)
    assert found["benchmarks"]["near"]["champion"] == pytest.approx(0.2), "and not half of it"
    assert found["benchmarks"]["near"]["difference"] == pytest.approx(0.2)
    assert found["difference"] == pytest.approx(both["difference"])
    assert found["challenger"]["modes"] == {"cot": pytest.approx(0.45), "tir": pytest.approx(0.5)}
    scores = role_scores(cot_alone)
    assert scores == {"champion_greedy": 35.0, "challenger_greedy": 45.0}
    assert found["challenger"]["score"] == pytest.approx(0.45)
    near_alone = GateConfig(weights={"held-out": 0})
    assert gate.decide(cot_alone, near_alone, seed=0)["challenger"]["modes"] == {"cot": pytest.approx(0.4)}
    # A challenger that is silent where the champion was asked is wrong there, as before.
    silent = [one for one in rows if one.model == "champion" or one.mode == "cot"]
    assert gate.decide(Outcomes(problems, silent), GateConfig(), seed=0)["challenger"]["modes"]["tir"] == 0
    shown = rows + [
        Response(one.problem_id, -1, one.mode, "t", "1", one.correct, model="sft")
        for one in rows
        if one.model == "champion"
    ]
    claim = next(o for o in check_orderings(Outcomes(problems, shown)) if o.stage == "grpo")
    assert claim.difference.value == pytest.approx((20 * 0.2) / 60)
    assert claim.greater_value == pytest.approx(28 / 60)


def test_without_named_benchmarks_the_gate_is_as_before() -> None:
    one = outcomes({"held-out": (40, 0.5, 0.7)})
    decision = gate.decide(one, GateConfig(), seed=3)
    assert "benchmarks" not in decision
    assert " of " not in decision["reason"]
    ours, theirs = (one.scores(model, "cot", 1)["greedy"] for model in ("challenger", "champion"))
    before = paired_difference(ours, theirs, seed=3, clusters=one.clusters, resamples=10_000)
    assert (decision["low"], decision["high"], decision["n"]) == (before.low, before.high, 40)


def test_the_interval_of_a_weighted_mean_is_that_of_independent_benchmarks() -> None:
    random = np.random.default_rng(1)
    sizes, share = {"a": 300, "b": 80}, {"a": 0.75, "b": 0.25}
    names = [name for name, size in sizes.items() for _ in range(size)]
    ours, theirs = random.random(380), random.random(380)
    found, own = weighted_difference(
        ours, theirs, names, {"a": 3, "b": 1}, seed=0, clusters=list(range(380)), resamples=20_000
    )
    parts = {name: (ours - theirs)[np.array(names) == name] for name in sizes}
    expected = sum(share[name] * part.mean() for name, part in parts.items())
    spread = sum((share[name] * part.std()) ** 2 / len(part) for name, part in parts.items()) ** 0.5
    assert found.value == pytest.approx(expected)
    assert (found.low, found.high) == pytest.approx(
        (expected - 1.96 * spread, expected + 1.96 * spread), abs=0.1 * spread
    )
    assert {name: one.n for name, one in own.items()} == sizes


def test_the_report_shows_each_benchmark() -> None:
    decision = gate.decide(outcomes(SETS), GateConfig(weights={"far": 0}), seed=0)
    shown = re.sub(r"<[^>]+>", " ", str(benchmarks_section(decision)))
    for row in (r"near\s+1\s+400\s+20.0\s+40.0\s+\+20.0", r"far\s+0\s+20\s+80.0\s+50.0\s+\S30.0"):
        assert re.search(row, shown), shown
    assert benchmarks_section({"benchmarks": None, "reason": ""}) is None
