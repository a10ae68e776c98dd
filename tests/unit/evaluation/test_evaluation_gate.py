"""The gate promotes what is better, and nothing else."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathloop.errors import BadData
from mathloop.evaluation import gate
from mathloop.evaluation.bootstrap import bootstrap_interval
from mathloop.evaluation.config import GateConfig
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import role_scores
from mathloop.records import Problem, Response, write_problems, write_responses

COUNT = 120


def problems():
    return [Problem(str(index), "?", "1") for index in range(COUNT)]


def answers(model, accuracy, seed=0, samples=2):
    """Responses right with the given chance; easy problems are easy for every model, as in life."""
    rows = []
    for index in range(COUNT):
        for mode in ("cot", "tir"):
            for sample in range(-1, samples):
                ease = random.Random(f"{seed}{index}{mode}{sample}").random()
                right = ease < accuracy
                rows.append(Response(str(index), sample, mode, "t", "1", right, reward=0.5, model=model))
    return rows


def decide(rows, **settings):
    return gate.decide(Outcomes(problems(), rows), GateConfig(**settings), seed=0)


def test_a_clearly_better_challenger_is_promoted():
    decision = decide(answers("champion", 0.4) + answers("challenger", 0.6))
    assert decision["promote"]
    assert 0 < decision["low"] <= decision["difference"] <= decision["high"]
    assert decision["difference"] == pytest.approx(
        decision["challenger"]["score"] - decision["champion"]["score"]
    )
    assert decision["n"] == COUNT


def test_a_copy_of_the_champion_is_refused():
    decision = decide(answers("champion", 0.5) + answers("challenger", 0.5))
    assert not decision["promote"]
    assert decision["difference"] == decision["low"] == decision["high"] == 0


def test_a_damaged_challenger_is_refused():
    decision = decide(answers("champion", 0.5) + answers("challenger", 0.0))
    assert not decision["promote"]
    assert decision["high"] < 0


def test_luck_is_not_enough():
    """Three problems in a hundred and twenty, in one mode: better, but the interval touches zero."""
    rows = answers("champion", 0.5)
    lucky = [replace(row, model="challenger", correct=row.correct or int(row.problem_id) < 3) for row in rows]
    decision = decide(rows + lucky)
    assert decision["difference"] > 0
    assert not decision["promote"]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_one_reward_that_is_not_finite_refuses_a_better_challenger(reward):
    better = answers("challenger", 0.9)
    better[7] = replace(better[7], reward=reward)
    decision = decide(answers("champion", 0.2) + better)
    assert decision["low"] > 0
    assert not decision["promote"]
    assert "1 rewards of challenger are not finite" in decision["reason"]


def test_unanswered_problems_refuse_a_better_challenger():
    holed = [
        row for row in answers("challenger", 0.9) if row.problem_id not in ("3", "4") or row.mode == "tir"
    ]
    decision = decide(answers("champion", 0.2) + holed)
    assert not decision["promote"]
    assert "2 problems unanswered in cot" in decision["reason"]


def test_a_challenger_silent_in_one_mode_is_compared_on_both():
    half = [row for row in answers("challenger", 0.9) if row.mode == "tir"]
    decision = decide(answers("champion", 0.8) + half)
    assert decision["challenger"]["modes"]["cot"] == 0
    assert not decision["promote"]


def test_the_margin_is_a_bar_for_the_lower_end():
    rows = answers("champion", 0.4) + answers("challenger", 0.6)
    low = decide(rows)["low"]
    assert decide(rows, margin=low - 0.001)["promote"]
    assert not decide(rows, margin=low)["promote"]


def test_without_champion_rows_the_base_model_is_the_bar():
    decision = decide(answers("base", 0.3) + answers("challenger", 0.6))
    assert decision["champion"]["model"] == "base"
    assert decision["promote"]
    with_champion = decide(answers("base", 0.3) + answers("champion", 0.6) + answers("challenger", 0.6))
    assert not with_champion["promote"]


def test_nothing_to_compare_is_an_error_and_never_a_promotion():
    with pytest.raises(BadData, match="found challenger"):
        decide(answers("challenger", 0.9))
    with pytest.raises(BadData, match="found champion"):
        decide(answers("champion", 0.9))
    bare = [replace(row, reward=None) for row in answers("champion", 0.1)]
    with pytest.raises(BadData, match="'rm'"):
        decide(bare + answers("challenger", 0.9), metric="rm")


@pytest.mark.slow
@settings(max_examples=25)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_trading_places_turns_the_sign(one, other, seed):
    there = decide(answers("champion", one, seed) + answers("challenger", other, seed), resamples=500)
    back = decide(answers("champion", other, seed) + answers("challenger", one, seed), resamples=500)
    assert there["difference"] == pytest.approx(-back["difference"])
    assert (there["low"], there["high"]) == pytest.approx((-back["high"], -back["low"]))
    assert not (there["promote"] and back["promote"])


def test_the_paired_interval_equals_a_plain_loop():
    differences = np.array([1.0, 0.0, -0.5, 0.5, 0.0, 1.0, 0.0, 0.0, 0.5, -1.0])
    low, high = bootstrap_interval(differences[:, None], seed=3, resamples=20_000)
    chance = random.Random(1)
    means = sorted(sum(chance.choices(list(differences), k=10)) / 10 for _ in range(20_000))
    assert low[0] == pytest.approx(means[500], abs=0.06)
    assert high[0] == pytest.approx(means[19_499], abs=0.06)


def test_blocks_of_resamples_make_the_same_interval_as_one(monkeypatch):
    values = np.random.default_rng(0).random((50, 3))
    whole = bootstrap_interval(values, seed=1, resamples=300)
    monkeypatch.setattr("mathloop.evaluation.bootstrap._BLOCK", 50 * 7)
    np.testing.assert_allclose(bootstrap_interval(values, seed=1, resamples=300), whole)


def test_a_run_reads_files_and_leaves_one_decision(tmp_path):
    write_problems(tmp_path / "benchmark.parquet", problems())
    write_responses(tmp_path / "results.parquet", answers("champion", 0.4) + answers("challenger", 0.6))
    paths = {"benchmark": tmp_path / "benchmark.parquet", "results": tmp_path / "results.parquet"}
    report = gate.run(**paths, out=tmp_path / "gate.json", config=GateConfig(), seed=7)
    decision = json.loads((tmp_path / "gate.json").read_text())
    assert decision["promote"] is True
    assert report.inputs == 2 * COUNT * 2 * 3
    assert report.values["low"] == decision["low"]
    assert decision["reason"] in report.notes
    gate.run(**paths, out=tmp_path / "again.json", config=GateConfig(), seed=7)
    assert (tmp_path / "again.json").read_text() == (tmp_path / "gate.json").read_text()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".parquet", ".parquet"]


def test_variations_of_one_problem_count_as_one_draw() -> None:
    """Against the slow, obvious way; and copies of problems teach a bootstrap nothing."""
    random = np.random.default_rng(0)
    values, names = random.random((12, 2)), list("aabbbcdefffg")
    low, high = bootstrap_interval(values, seed=5, clusters=names, resamples=4_000)
    members = [[i for i, name in enumerate(names) if name == one] for one in sorted(set(names))]
    means = []
    for _ in range(4_000):
        drawn = [i for one in random.integers(0, len(members), len(members)) for i in members[one]]
        means.append(values[drawn].mean(axis=0))
    np.testing.assert_allclose(np.quantile(means, [0.025, 0.975], axis=0), [low, high], atol=0.02)
    one, copies = values[:, :1], np.repeat(values[:, :1], 3, axis=0)
    alone = bootstrap_interval(one, seed=5)
    np.testing.assert_allclose(
        bootstrap_interval(copies, seed=5, clusters=[i // 3 for i in range(36)]), alone
    )


def test_a_runs_scores_are_what_the_gate_compared_in_percent_under_few_fixed_names(tmp_path):
    write_problems(tmp_path / "benchmark.parquet", problems())
    rows = answers("champion", 0.4) + answers("challenger", 0.6) + answers("base", 0.1) + answers("sft", 0.9)
    write_responses(tmp_path / "results.parquet", rows)
    paths = {"benchmark": tmp_path / "benchmark.parquet", "results": tmp_path / "results.parquet"}
    report = gate.run(**paths, out=tmp_path / "gate.json", config=GateConfig(), seed=7)
    decision = json.loads((tmp_path / "gate.json").read_text())
    kinds = ("greedy", "maj", "rm", "weighted", "pass")
    roles = [f"{role}_{kind}" for role in ("champion", "challenger") for kind in kinds]
    assert list(report.scores) == [*roles, "difference", "low", "high", "promoted"]
    for role in ("champion", "challenger"):
        assert report.scores[f"{role}_greedy"] == pytest.approx(100 * decision[role]["score"], abs=1e-3)
    for name in ("difference", "low", "high"):
        assert report.scores[name] == pytest.approx(100 * decision[name], abs=1e-3)
    assert report.scores["promoted"] == 1


def test_role_scores_are_means_over_modes_of_plain_counts():
    rows = answers("champion", 0.5)
    scores = role_scores(Outcomes(problems(), rows))
    assert set(scores) == {f"champion_{kind}" for kind in ("greedy", "maj", "rm", "weighted", "pass")}
    for name, indices in (("greedy", [-1]), ("pass", [0, 1])):
        shares = []
        for mode in ("cot", "tir"):
            solved = {
                row.problem_id for row in rows if row.mode == mode and row.sample in indices and row.correct
            }
            shares.append(len(solved) / COUNT)
        assert scores[f"champion_{name}"] == pytest.approx(100 * sum(shares) / 2, abs=1e-3)


def test_scores_name_roles_whatever_k_was_and_leave_out_what_was_not_measured():
    two = role_scores(Outcomes(problems(), answers("base", 0.4) + answers("challenger", 0.6)))
    four = role_scores(
        Outcomes(problems(), answers("base", 0.4, samples=4) + answers("challenger", 0.6, samples=4))
    )
    # A first round's champion is its base model.
    assert list(two) == list(four)
    assert {name.partition("_")[0] for name in two} == {"champion", "challenger"}
    bare = [replace(row, reward=None) for row in answers("champion", 0.5)]
    assert "champion_rm" not in role_scores(Outcomes(problems(), bare))
    assert role_scores(Outcomes(problems(), answers("sft", 0.5))) == {}


def test_a_mode_in_which_the_challenger_is_silent_counts_in_its_score_as_in_the_gate():
    half = [row for row in answers("challenger", 0.9) if row.mode == "tir"]
    rows = answers("champion", 0.8) + half
    decision, scores = decide(rows), role_scores(Outcomes(problems(), rows))
    assert scores["challenger_greedy"] == pytest.approx(100 * decision["challenger"]["score"], abs=1e-3)
