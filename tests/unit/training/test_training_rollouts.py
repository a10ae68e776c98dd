"""Hand-made rollouts: their rewards, advantages and token weights, and the log of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mathloop.errors import BadConfig
from mathloop.models.packing import Sample
from mathloop.records import Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Rollout
from mathloop.training import rollouts
from mathloop.training.config import GRPOConfig
from mathloop.training.dealing import parts_per_group
from mathloop.training.objectives.grpo import GRPO
from mathloop.training.objectives.objective import BatchSize
from mathloop.training.ranks import Ranks
from mathloop.training.rollout_log import join_rollouts, log_rollouts
from mathloop.training.rollouts import Batch, choose, collect, draw, parts_of

PROBLEMS = [Problem("p", "3 + 4?", answer="7"), Problem("q", "1 + 1?", answer="2")]
# (answer, tokens of which the interpreter wrote those marked, reward model's score, how it ended)
DRAWN = [
    ("7", "ooo", 1.0, "stop"),
    ("8", "ooxxo", -1.0, "tool_limit"),
    ("9", "oooooooo", 0.5, "length"),
    ("2", "oo", 0.0, "stop"),
    ("2", "o", 0.0, "stop"),
    ("2", "ooxx", 0.0, "stop"),
]


class Scripted:
    """Gives DRAWN, whatever it is asked."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        self.asked: dict[str, Any] = {}

    def sample(self, problems: Sequence[Problem], **asked: Any) -> list[Rollout]:
        self.asked = {"problems": list(problems), **asked}
        made = []
        for i, (answer, written, _, end) in enumerate(DRAWN):
            problem = self.problems[i // 3]
            own = [letter == "o" for letter in written]
            response = Response(
                problem.id, i % 3, "cot", f"\\boxed{{{answer}}}", answer, finish_reason=end, tokens=sum(own)
            )
            logprobs = [-0.5 - 0.1 * i if mine else 0.0 for mine in own]
            made.append(Rollout(response, [1, 2, 3], list(range(10, 10 + len(own))), logprobs, own))
        return [r for r in made if r.response.problem_id in {p.id for p in problems}]


def drawn(monkeypatch: pytest.MonkeyPatch, ranks: Ranks, **given: Any) -> tuple[Batch, Scripted]:
    scores = {i: score for i, (_, _, score, _) in enumerate(DRAWN)}
    monkeypatch.setattr(
        rollouts,
        "score",
        lambda model, tokenizer, dialogues, **how: [
            scores[(0 if problem == PROBLEMS[0].problem else 3) + i % 3]
            for i, (problem, _, _) in enumerate(dialogues)
        ],
    )
    config = GRPOConfig(
        problems_per_step=2, group_size=3, alpha=0.5, sampling=SamplingConfig(max_tokens=8), **given
    )
    sampler = Scripted(PROBLEMS)
    made = draw(PROBLEMS, "cot", sampler, config, ranks, step=4, seed=9)  # type: ignore[arg-type]
    batch = collect(PROBLEMS, "cot", made, (None, None), GRPO, config, ranks, step=4)  # type: ignore[arg-type]
    return batch, sampler


ALONE = Ranks(0, 1, torch.device("cpu"))


def shaped(i: int) -> float:
    right = DRAWN[i][0] == PROBLEMS[i // 3].answer
    return 1 / (1 + math.exp(-0.5 * DRAWN[i][2])) + right - 1


def standard(rewards: list[float]) -> list[float]:
    mean = sum(rewards) / 3
    spread = math.sqrt(sum((r - mean) ** 2 for r in rewards) / 2)
    return [(r - mean) / spread for r in rewards]


def weights(keep: Sequence[int]) -> list[list[float]]:
    """Expected of every token: 1 over its response's tokens and over all six responses."""
    return [
        [0.0] * 3 + [1 / written.count("o") / 6 if o == "o" and i in keep else 0.0 for o in written]
        for i, (_, written, _, _) in enumerate(DRAWN)
    ]


def assert_weights(batch: Batch, expected: list[list[float]]) -> None:
    size = BatchSize(6, sum(batch.lengths), 8)
    for sample, length, row in zip(batch.samples, batch.lengths, expected, strict=True):
        assert sample.prompt == 3
        assert [mask * GRPO.token_weight(length, size) for mask in sample.weights] == pytest.approx(row)


def test_a_batch_is_verified_scored_and_weighted(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, sampler = drawn(monkeypatch, ALONE)
    assert sampler.asked["problems"] == PROBLEMS
    assert (sampler.asked["samples"], sampler.asked["mode"]) == (3, "cot")
    expected = standard([shaped(i) for i in range(3)]) + [0.0] * 3  # the second group has no variance
    assert batch.advantages.tolist() == pytest.approx(expected, abs=1e-6)
    assert batch.zero_variance == 1
    assert batch.lengths == [3, 3, 8, 2, 1, 2]
    assert_weights(batch, weights([0, 1, 2]))
    assert batch.sampler_logprobs == [[-0.5] * 3, [-0.6] * 3, [-0.7] * 8, [], [], []]
    assert batch.metrics == pytest.approx(
        {
            "reward": sum(shaped(i) for i in range(6)) / 6,
            "verifier accuracy": 4 / 6,
            "RM score": 0.5 / 6,
            "response tokens": (3 + 3 + 8 + 2 + 1 + 2) / 6,
            "truncated share": 1 / 6,
            "zero-variance share": 3 / 6,
            "entropy": (0.5 + 0.6 + 0.7 + 0.8 + 0.9 + 1.0) / 6,
        },
        abs=1e-6,
    )


def test_a_response_masked_for_its_length_still_counts_in_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, _ = drawn(monkeypatch, ALONE, overlong="mask")
    assert batch.advantages[:3].tolist() == pytest.approx(standard([shaped(i) for i in range(3)]), abs=1e-6)
    assert_weights(batch, weights([0, 1]))
    assert batch.sampler_logprobs[2] == []
    assert batch.lengths == [3, 3, 0, 2, 1, 2]


def test_punishment_grows_towards_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, _ = drawn(monkeypatch, ALONE, overlong="punish", overlong_buffer=4)
    excess = [0.0, 1 / 4, 1.0, 0.0, 0.0, 0.0]  # 3, 5 and 8 tokens of 8; the buffer begins after 4
    rewards = [shaped(i) - excess[i] for i in range(6)]
    assert [row["shaped_reward"] for row in batch.rows] == pytest.approx(rewards, abs=1e-6)
    assert batch.advantages[:3].tolist() == pytest.approx(standard(rewards[:3]), abs=1e-6)


def test_two_ranks_share_the_groups_and_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = drawn(monkeypatch, ALONE)
    parts = [drawn(monkeypatch, Ranks(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    assert [sampler.asked["problems"] for _, sampler in parts] == [[PROBLEMS[0]], [PROBLEMS[1]]]
    assert len({sampler.asked["seed"] for _, sampler in parts}) == 2
    assert [s for part, _ in parts for s in part.samples] == whole.samples
    assert [n for part, _ in parts for n in part.lengths] == whole.lengths
    for name, value in whole.metrics.items():
        assert sum(part.metrics[name] for part, _ in parts) == pytest.approx(value, abs=1e-6), name


def test_every_response_is_kept_in_order_of_steps_and_ranks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batch, _ = drawn(monkeypatch, ALONE)

    def keep(step: int, rank: int, world: int) -> list[dict[str, Any]]:
        for row in batch.rows:
            row["step"] = step
        log_rollouts(tmp_path, batch, step, rank, world)
        join_rollouts(tmp_path, tmp_path / "all" / "rollouts.parquet")
        return list(pq.read_table(tmp_path / "all" / "rollouts.parquet").to_pylist())

    for step, rank in [(2, 1), (2, 0), (2, 0), (11, 0)]:
        rows = keep(step, rank, 2)
    assert [row["step"] for row in rows] == [2] * 12 + [11] * 6
    # After a kill one process does step 2 again: what two had kept of it and later ones is gone.
    assert [row["step"] for row in keep(2, 0, 1)] == [2] * 6
    first = rows[0]
    assert (first["problem_id"], first["problem"], first["gold"]) == ("p", "3 + 4?", "7")
    assert (first["text"], first["answer"], first["correct"]) == ("\\boxed{7}", "7", True)
    assert first["reward"] == 1.0
    assert first["shaped_reward"] == pytest.approx(shaped(0), abs=1e-6)
    assert [row["advantage"] for row in rows[:6]] == pytest.approx(batch.advantages.tolist())
    assert [row["finish_reason"] for row in rows[:6]] == [end for *_, end in DRAWN]


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=3, max_size=3), max_size=5),
    st.integers(16, 90),
    st.integers(1, 20),
)
def test_micro_batches_hold_each_learned_response_once_within_the_budget(
    groups: list[list[tuple[int, bool]]], budget: int, prompt: int
) -> None:
    samples = [
        Sample([0] * (prompt + own), [0.0] * prompt + [float(used)] * own, prompt)
        for group in groups
        for own, used in group
    ]
    batch = Batch(samples, [], torch.zeros(len(samples)), [], 3, {}, 0, [], [])
    chosen = range(0, len(groups), 2)
    micro_batches = batch.cut(chosen, budget)
    learned = [i for g in chosen for i in range(3 * g, 3 * g + 3) if any(samples[i].weights)]
    assert sorted(i for micro in micro_batches for i in micro) == learned
    for micro in micro_batches:
        total = sum(len(samples[i].tokens) - prompt for i in micro) + prompt * len({i // 3 for i in micro})
        assert total <= budget or len(micro) == 1


def test_problems_and_mode_are_a_function_of_seed_and_step() -> None:
    pool = [Problem(str(i), "", answer="1") for i in range(10)]
    config = GRPOConfig(problems_per_step=4, tir_share=0.25)
    drawn = [choose(pool, step, config, 5) for step in range(400)]
    assert drawn == [choose(pool, step, config, 5) for step in range(400)]
    assert drawn != [choose(pool, step, config, 6) for step in range(400)]
    assert sorted(p.id for chosen, _ in drawn[:5] for p in chosen) == sorted(2 * [p.id for p in pool])
    assert 70 < sum(mode == "tir" for _, mode in drawn) < 130
    assert {choose(pool, step, GRPOConfig(tir_share=1.0), 5)[1] for step in range(20)} == {"tir"}
    assert {choose(pool, step, GRPOConfig(tir_share=0.0), 5)[1] for step in range(20)} == {"cot"}


@pytest.mark.parametrize("mini_batches", [1, 2, 8])
def test_the_papers_groups_are_dealt_evenly_to_any_number_of_ranks(mini_batches: int) -> None:
    """128 groups of 32 (Paper §3.3) on up to 64 ranks: each response once, mini-batches as on one rank."""
    config = GRPOConfig(problems_per_step=128, group_size=32, mini_batches=mini_batches)
    for world in (1, 8, 32, 64, 3 * 4):
        if world == 12:
            with pytest.raises(BadConfig, match=r"among 12 processes, which would cut .* into 3 parts: make"):
                parts_per_group(config, world)
            continue
        size = 32 // parts_per_group(config, world)
        dealt = [parts_of(config, Ranks(rank, world, torch.device("cpu"))) for rank in range(world)]
        responses = sorted((p.problem, p.part * size + i) for own in dealt for p in own for i in range(size))
        assert responses == [(problem, i) for problem in range(128) for i in range(32)]
        for own in dealt:
            assert all(part.mini_batch == part.problem % mini_batches for part in own)
            shares = [sum(part.mini_batch == m for part in own) * size for m in range(mini_batches)]
            assert set(shares) == {4096 // mini_batches // world}
