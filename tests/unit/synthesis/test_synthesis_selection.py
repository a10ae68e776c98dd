"""Which responses SFT learns from, and which problems GRPO gets, on cases done by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.records import (
    Drops,
    Problem,
    Response,
    read_problems,
    read_responses,
    read_rows,
    write_problems,
)
from mathloop.sampling.judging import judge
from mathloop.synthesis import cot, reward_data, selection, tir
from mathloop.synthesis.config import CoTConfig, RewardDataConfig, SelectionConfig, TIRConfig
from mathloop.synthesis.cot import select
from tests.unit.synthesis.scripted import script

GOLD, OPEN = Problem("p", "3 + 4?", answer="7"), Problem("p", "3 + 4?")


def response(text: str, answer: str | None = "7", **given: Any) -> Response:
    return Response("p", 0, "cot", text, answer, **given)


def chosen(
    problem: Problem,
    responses: list[Response],
    *,
    keep: int = 8,
    agreement: float = 0.5,
    weighted: bool = False,
) -> tuple[list[str], dict[str, int]]:
    """The texts kept, and the counts of the others by reason."""
    drops = Drops()
    numbered = [replace(judge(problem.answer, r), sample=i) for i, r in enumerate(responses)]
    kept = select(problem, numbered, drops, keep=keep, agreement=agreement, weighted=weighted)
    assert all(r.correct for r in kept)
    return [r.text for r in kept], dict(drops.counts)


def test_the_right_ones_stay_in_order() -> None:
    given = [response("a"), response("b", "8"), response("c", "7.0"), response("d", None), response("e")]
    assert chosen(GOLD, given) == (["a", "c", "e"], {"wrong answer": 2})
    assert chosen(GOLD, given[1:2]) == ([], {"wrong answer": 1})
    assert chosen(GOLD, []) == ([], {})


def test_without_gold_the_vote_decides() -> None:
    given = [response("a", "8"), response("b"), response("c", "14/2"), response("d", None)]
    kept, dropped = chosen(OPEN, given, agreement=0.66)  # two of three that answered
    assert kept == ["b", "c"]
    assert dropped == {"differs from the majority answer": 2}
    assert chosen(OPEN, given, agreement=0.67) == ([], {"no majority": 4})
    assert chosen(OPEN, given[:2], agreement=0.5)[0] == ["a"]  # the least share is enough
    assert chosen(OPEN, given[3:], agreement=0.0) == ([], {"no majority": 1})


def test_without_gold_rewards_weigh_the_votes() -> None:
    given = [response("a", "8", reward=-3.0), response("b", "8", reward=-3.0), response("c", reward=3.0)]
    assert chosen(OPEN, given, weighted=True)[0] == ["c"]
    assert chosen(OPEN, given)[0] == ["a", "b"]


def test_a_text_stays_once() -> None:
    given = [response("a"), response("b"), response("a"), response("a"), response("b")]
    again = {"duplicate of another response": 3}
    assert chosen(GOLD, given) == (["a", "b"], again)
    assert chosen(GOLD, given, keep=1) == (["a"], again | {"beyond the keep limit": 1})


@pytest.mark.parametrize("finish_reason", ["length", "tool_limit"])
def test_a_cut_off_response_is_not_learned(finish_reason: Any) -> None:
    given = [response("a", finish_reason=finish_reason), response("a"), response("b", "9")]
    assert chosen(GOLD, given) == (["a"], {"truncated": 1, "wrong answer": 1})
    voters = [response("a", finish_reason=finish_reason), response("b"), response("c", "9")]
    assert chosen(OPEN, voters)[0] == ["b"]  # it still has a vote


def test_the_best_by_reward_stay() -> None:
    rewards = {"a": 0.1, "b": -2.0, "c": 3.0, "d": 0.2, "e": -0.5}
    given = [response(text, reward=reward) for text, reward in rewards.items()]
    given.append(response("wrong", "8", reward=9.0))
    assert chosen(GOLD, given, keep=3, weighted=True) == (
        ["c", "d", "a"],
        {"wrong answer": 1, "beyond the keep limit": 2},
    )
    assert chosen(GOLD, given, keep=3)[0] == ["a", "b", "c"]


@given(
    st.lists(
        st.builds(
            response,
            st.sampled_from("abcd"),
            st.sampled_from(["7", "8", "7.0", None]),
            reward=st.floats(-9, 9),
            finish_reason=st.sampled_from(["stop", "stop", "length"]),
        ),
        max_size=12,
    ),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([GOLD, OPEN]),
)
def test_each_response_is_kept_or_counted_once(
    responses: list[Response], keep: int, weighted: bool, problem: Problem
) -> None:
    kept, dropped = chosen(problem, responses, keep=keep, weighted=weighted)
    assert len(kept) + sum(dropped.values()) == len(responses)
    assert len(set(kept)) == len(kept) <= keep


def test_problems_with_two_to_five_of_eight_right_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [Problem(f"p{right}", f"problem {right}", answer="7") for right in range(9)]

    script(
        monkeypatch,
        selection,
        lambda problem, sample: response("", "7" if sample < int(problem.id[1:]) else "8"),
    )
    write_problems(tmp_path / "given.jsonl", [*problems, Problem("open", "no answer is known")])
    report = selection.run(
        problems=tmp_path / "given.jsonl",
        policy=tmp_path,
        out=tmp_path / "kept.jsonl",
        config=SelectionConfig(),
        seed=0,
        dropped=tmp_path / "dropped",
    )
    assert [p.id for p in read_problems(tmp_path / "kept.jsonl")] == ["p2", "p3", "p4", "p5"]
    assert report.dropped == {
        "no gold answer": 1,
        "fewer than 2 of 8 right": 2,
        "more than 5 of 8 right": 3,
    }
    assert (report.inputs, report.kept, report.generated) == (10, 4, 72)
    assert list(report.curves.values()) == [[(right, 1) for right in range(9)]]
    written = [(row["id"], row["drop_reason"], row.get("right")) for row in read_rows(tmp_path / "dropped")]
    assert written == [
        ("open", "no gold answer", None),
        *((f"p{right}", "fewer than 2 of 8 right", right) for right in (0, 1)),
        *((f"p{right}", "more than 5 of 8 right", right) for right in (6, 7, 8)),
    ]


@pytest.mark.parametrize("stage", ["cot", "tir"])
def test_every_response_is_kept_or_written_with_the_reason_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    texts = ["a", "b", "a", "c", "d"]
    answers = ["7", "7", "7", "8", "7"]
    run: Any = cot.run if stage == "cot" else tir.run
    config = CoTConfig(samples=5, keep=1) if stage == "cot" else TIRConfig(samples=5, keep=1)
    script(
        monkeypatch,
        cot if stage == "cot" else tir,
        lambda problem, sample: response(
            texts[sample], answers[sample], tool_calls=int(texts[sample] != "d")
        ),
    )
    write_problems(tmp_path / "problems.jsonl", [GOLD])
    arguments: dict[str, Any] = {"reward_model": None} if stage == "cot" else {}
    report = run(
        problems=tmp_path / "problems.jsonl",
        policy=tmp_path,
        out=tmp_path / "kept.jsonl",
        config=config,
        seed=0,
        dropped=tmp_path / "dropped",
        **arguments,
    )
    rows = list(read_rows(tmp_path / "dropped"))
    kept = list(read_responses(tmp_path / "kept.jsonl"))
    assert [response.text for response in kept] == ["a"]
    assert all((row["problem"], row["gold"]) == ("3 + 4?", "7") for row in rows)
    assert Counter(row["drop_reason"] for row in rows) == report.dropped
    assert report.generated == len(kept) + len(rows) == (5 if stage == "cot" else 10)
    beyond, again = "beyond the keep limit", "duplicate of another response"
    expected = {("a", again), ("b", beyond), ("c", "wrong answer")}
    expected |= {("d", beyond)} if stage == "cot" else {("b", again), ("d", "no Python was run")}
    assert {(row["text"], row["drop_reason"]) for row in rows} == expected


def test_reward_data_writes_the_problems_that_nobody_can_grade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, reward_data, lambda problem, sample: response(""))
    write_problems(tmp_path / "given.jsonl", [GOLD, replace(OPEN, id="open")])
    report = reward_data.run(
        problems=tmp_path / "given.jsonl",
        policy=tmp_path,
        out=tmp_path / "responses.jsonl",
        config=RewardDataConfig(),
        seed=0,
        dropped=tmp_path / "dropped",
    )
    assert report.dropped == {"no gold answer": 1}
    assert [problem.id for problem in read_problems(tmp_path / "dropped")] == ["open"]


STAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "cot": (cot, {"config": CoTConfig(samples=2, keep=2), "reward_model": None}),
    "tir": (tir, {"config": TIRConfig(samples=2, keep=2)}),
    "selection": (selection, {"config": SelectionConfig(samples=2, least=1, most=2)}),
    "reward data": (reward_data, {"config": RewardDataConfig(samples=2)}),
}


@pytest.mark.parametrize("stage", STAGES)
def test_problems_beyond_the_context_are_dropped_before_anything_is_drawn(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, arguments = STAGES[stage]
    asked: list[str] = []

    def answer(problem: Problem, sample: int) -> Response:
        asked.append(problem.id)
        return response("", tool_calls=1)

    script(monkeypatch, module, answer, context=20)
    given = [
        Problem("short", "3 + 4?", "7"),
        Problem("long", "3 + 4? " * 5, "7"),
        Problem("b", "4 + 3?", "7"),
    ]
    write_problems(tmp_path / "given.jsonl", given)
    report = module.run(
        problems=tmp_path / "given.jsonl",
        policy=tmp_path,
        out=tmp_path / "out.parquet",
        seed=0,
        dropped=tmp_path / "dropped",
        **arguments,
    )
    assert "long" not in asked
    assert report.dropped["too long for the model's context"] == 1
    assert [row["id"] for row in read_rows(tmp_path / "dropped") if "long" in row["drop_reason"]] == ["long"]


def test_tir_keeps_the_temperatures_apart_and_joins_them_by_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def answer(problem: Problem, sample: int) -> Response:
        drawn.append(problem.id)
        return response(f"{problem.id} {len(drawn)}", tool_calls=1)

    script(monkeypatch, tir, answer)
    write_problems(tmp_path / "given.jsonl", [Problem(name, "3 + 4?", "7") for name in "vwxyz"])
    tir.run(
        problems=tmp_path / "given.jsonl",
        policy=tmp_path,
        out=tmp_path / "out.parquet",
        config=TIRConfig(samples=2, temperatures=(0.7, 1.0), keep=4),
        seed=0,
    )
    assert "".join(drawn) == 2 * "vvwwxxyyzz"
    rows = [(r.problem_id, r.sample, r.temperature, r.text) for r in read_responses(tmp_path / "out.parquet")]
    expected = []
    for place, name in enumerate("vwxyz"):
        numbers = (2 * place + 1, 2 * place + 2, 2 * place + 11, 2 * place + 12)
        for sample, (temperature, number) in enumerate(zip((0.7, 0.7, 1.0, 1.0), numbers, strict=True)):
            expected.append((name, sample, temperature, f"{name} {number}"))
    assert rows == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.jsonl", "out.parquet"]
